//! The boards that the image is made for: the files of `board/`, which the image builder reads too,
//! and which of them this machine is.
//!
//! ```
//! use soloist::os::boards::Board;
//!
//! let board = Board::of(b"raspberrypi,4-model-b\0brcm,bcm2711\0").expect("it is in board/");
//! assert_eq!(board.name, "Raspberry Pi 4");
//! assert_eq!(board.expected_backend(), "neon");
//! assert!(board.expected_headers_per_second() > Some(3e6));
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

use crate::bench::Expected;
use crate::exit::say;

const FILES: [&str; 5] = [
    include_str!("../../board/pi-zero-2w.toml"),
    include_str!("../../board/pi3.toml"),
    include_str!("../../board/pi4.toml"),
    include_str!("../../board/pi5.toml"),
    include_str!("../../board/qemu-virt.toml"),
];

/// Where the kernel shows the device tree. The environment variable goes over it in tests.
const DEVICE_TREE: &str = "/proc/device-tree";
const DEVICE_TREE_VARIABLE: &str = "SOLOIST_DEVICE_TREE";

/// One file of `board/`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// In words.
    pub name: String,
    /// By what the device tree's `compatible` begins with, one for each variant.
    pub compatible: Vec<String>,
    /// Whether anybody has seen Soloist run there.
    pub tried: String,
    /// Its processor.
    pub cpu: Cpu,
    memory: Memory,
    self_test: SelfTest,
    /// What the image needs for it.
    boot: Boot,
    /// Where the kernel shows its state.
    pub files: Files,
}

/// The processor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// The maker's name of a core.
    pub core: String,
    /// How many there are.
    pub cores: u32,
    /// The greatest clock; 0 for an emulated one.
    pub megahertz: u32,
    /// Instructions for hashing: `neon`, `sha2`.
    pub features: Vec<String>,
    /// For a program that is to run there alone (`-Ctarget-cpu`).
    pub target_cpu: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    megabytes: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct SelfTest {
    backend: String,
    headers_per_second: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boot {
    firmware: Vec<String>,
    device_trees: Vec<DeviceTree>,
    early_modules: Vec<String>,
    modules: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceTree {
    file: String,
    also: Vec<String>,
}

/// Files of the kernel. Not every kernel has all of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Of the processor, thousandths of °C.
    pub temperature: Option<PathBuf>,
    /// The firmware's flags about supply and throttling, hexadecimal.
    pub throttled: Option<PathBuf>,
    /// The directory of the green LED.
    pub led: Option<PathBuf>,
    /// The watchdog.
    pub watchdog: Option<PathBuf>,
    /// The longest span that the watchdog can wait; 0 for none.
    pub watchdog_seconds: u32,
}

impl Board {
    /// All that are known.
    pub fn all() -> Vec<Board> {
        FILES.iter().filter_map(|file| toml::from_str(file).ok()).collect()
    }

    /// The board with this `compatible` of a device tree: names ended by zero bytes, the most
    /// exact one first. `None` for one that is not in `board/`.
    pub fn of(compatible: &[u8]) -> Option<Board> {
        let names: Vec<&[u8]> = compatible.split(|byte| *byte == 0).collect();
        let known = Board::all();
        names.iter().find_map(|name| {
            let ours =
                |board: &&Board| board.compatible.iter().any(|ours| ours.as_bytes() == *name);
            known.iter().find(ours).cloned()
        })
    }

    /// The board that this machine is, if it is one of them.
    pub fn of_this_machine() -> Option<Board> {
        Board::of(&fs::read(device_tree().join("compatible")).ok()?)
    }

    /// The hash backend that should be in use, by its name.
    pub fn expected_backend(&self) -> &str {
        &self.self_test.backend
    }

    /// Block headers that one core should hash in a second, modelled from the clock. `None` where
    /// nothing can be expected, as of an emulator.
    pub fn expected_headers_per_second(&self) -> Option<f64> {
        let rate = self.self_test.headers_per_second;
        (rate > 0).then_some(f64::from(rate))
    }

    /// The same for `soloist bench`.
    pub fn expected(&self) -> Option<Expected> {
        let headers_per_second = self.expected_headers_per_second()?;
        let (board, backend) = (self.name.clone(), self.expected_backend().to_owned());
        Some(Expected { board, backend, headers_per_second })
    }

    /// What `soloist check --board` prints.
    pub fn story(&self) -> String {
        let Cpu { core, cores, megahertz, .. } = &self.cpu;
        let mut text = format!("Board            {} ({cores} × {core}", self.name);
        // Writing to a String cannot fail.
        let _ = match megahertz {
            0 => writeln!(text, ")"),
            _ => writeln!(text, ", {megahertz} MHz)"),
        };
        let _ = writeln!(text, "Tried            {}", self.tried);
        let _ = match self.expected_headers_per_second() {
            Some(rate) => writeln!(
                text,
                "Self-test        {:.2} MH/s per core by {}, modelled",
                rate / 1e6,
                self.expected_backend()
            ),
            None => writeln!(text, "Self-test        nothing is expected of it"),
        };
        let Files { temperature, throttled, led, watchdog, watchdog_seconds } = &self.files;
        let mut line = |name: &str, path: &Option<PathBuf>, about: String| {
            let found = match path {
                None => "none on this board".to_owned(),
                Some(path) if path.exists() => format!("{}{about}", path.display()),
                Some(path) => format!("{} is not shown by this kernel", path.display()),
            };
            let _ = writeln!(text, "{name:<17}{found}");
        };
        line("Temperature", temperature, degrees(temperature.as_deref()));
        line("Supply", throttled, String::new());
        line("LED", led, String::new());
        line("Watchdog", watchdog, format!(", at most {watchdog_seconds} s"));
        text
    }
}

/// Prints which board this is, for `soloist check --board`.
pub fn tell() {
    match Board::of_this_machine() {
        Some(board) => say(board.story().trim_end()),
        None => {
            let path = device_tree().join("model");
            let model = fs::read(path).unwrap_or_default();
            let model = String::from_utf8_lossy(&model);
            match model.trim_end_matches('\0') {
                "" => say("Board            none that Soloist knows: no device tree"),
                model => say(format_args!("Board            {model}: none that Soloist knows")),
            }
            say("It mines as well as on a known one; nothing is expected of its rate.");
        }
    }
}

fn device_tree() -> PathBuf {
    env::var_os(DEVICE_TREE_VARIABLE).map_or_else(|| DEVICE_TREE.into(), PathBuf::from)
}

fn degrees(path: Option<&Path>) -> String {
    let text = path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let milli = text.trim().parse::<f64>();
    milli.map(|milli| format!(": {:.1} °C", milli / 1000.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_understood_and_a_board_of_its_own() {
        let boards = Board::all();
        assert_eq!(boards.len(), FILES.len());
        for file in FILES {
            let board: Board = toml::from_str(file).unwrap_or_else(|error| panic!("{error}"));
            for name in &board.compatible {
                let compatible = format!("{name}\0brcm,bcm9999\0");
                assert_eq!(Board::of(compatible.as_bytes()), Some(board.clone()), "{name}");
            }
            assert!(["neon", "armv8"].contains(&board.expected_backend()), "{}", board.name);
            let sha2 = board.cpu.features.iter().any(|feature| feature == "sha2");
            assert_eq!(board.expected().is_some(), board.cpu.megahertz > 0, "{}", board.name);
            if board.cpu.megahertz > 0 {
                assert_eq!(board.expected_backend() == "armv8", sha2, "{}", board.name);
                // The cycles of README's table.
                let cycles = match board.cpu.core.as_str() {
                    "Cortex-A53" => 1409.0,
                    "Cortex-A72" => 583.0,
                    "Cortex-A76" => 116.0,
                    core => panic!("{core}"),
                };
                let modelled = f64::from(board.cpu.megahertz) * 1e6 / cycles;
                let stated = board.expected_headers_per_second().unwrap();
                assert!((stated / modelled - 1.0).abs() < 0.01, "{}: {modelled}", board.name);
            }
            assert_eq!(board.files.watchdog.is_some(), board.files.watchdog_seconds > 0);
            assert!(!board.memory.megabytes.is_empty() && !board.boot.modules.is_empty());
            assert!(board.boot.device_trees.iter().all(|tree| tree.file.ends_with(".dtb")));
        }
    }

    #[test]
    fn strangers_are_no_boards() {
        for compatible in [&b""[..], b"\0\0", b"raspberrypi,4-model", b"friendlyarm,nanopi\0"] {
            assert_eq!(Board::of(compatible), None);
        }
        // The exact name decides, not what it is built like.
        let board = Board::of(b"raspberrypi,3-model-b\0raspberrypi,4-model-b\0").unwrap();
        assert_eq!(board.name, "Raspberry Pi 3");
    }

    #[test]
    fn the_story_names_what_is_missing() {
        let mut board = Board::of(b"raspberrypi,5-model-b\0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("temp"), "48312\n").unwrap();
        board.files.temperature = Some(dir.path().join("temp"));
        board.files.led = Some(dir.path().join("none"));
        board.files.throttled = None;
        let story = board.story();
        assert!(story.contains("Raspberry Pi 5 (4 × Cortex-A76, 2400 MHz)"), "{story}");
        assert!(story.contains("20.69 MH/s per core by armv8"), "{story}");
        assert!(story.contains("temp: 48.3 °C"), "{story}");
        assert!(story.contains("none is not shown by this kernel"), "{story}");
        assert!(story.contains("Supply           none on this board"), "{story}");
    }
}
