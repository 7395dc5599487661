//! The board's state, as the kernel shows it. Mining needs nothing of it: values that cannot be
//! read are `None`.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};
use serde::Serialize;

use super::ProcessView;

/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own are (kernel, iostats.rst).
const SECTOR: u64 = 512;
/// What is written within a day is told from this long after the start.
const WRITTEN_FROM: Duration = Duration::from_secs(600);
/// Distance of the marks by which a day's writing is told.
const MARK_EVERY: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Files that are counted below the ledger's directory. It has a few dozen.
const FILES_MAX: usize = 1000;

/// What was read at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The board, as far as the kernel shows it.
    pub board: BoardView,
    /// Ledger, journal and their copies, bytes.
    pub ledger_bytes: u64,
    /// When the newest snapshot of the ledger was written, Unix seconds.
    pub snapshot_at: Option<u64>,
    /// The daemon's own process.
    pub process: ProcessView,
    /// The domains of this network, in which the router or a VPN gives names.
    pub search_domains: Vec<String>,
    /// The machine has a clock that goes on without power, and shows the same time.
    pub rtc_agrees: bool,
}

/// The board that we run on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BoardView {
    /// `Raspberry Pi 4 Model B Rev 1.5`, in the words of the firmware; empty if there are none.
    pub model: String,
    /// Seconds since the kernel started.
    pub uptime_s: Option<u64>,
    /// Use of all cores together since the last reading, 0 to 1.
    pub cpu: Option<f64>,
    /// Temperature of the processor, °C.
    pub temperature_c: Option<f64>,
    /// The supply is too weak now.
    pub undervoltage: Option<bool>,
    /// The supply was too weak since the board started.
    pub undervoltage_seen: Option<bool>,
    /// The processor is slowed down now, by heat or weak supply.
    pub throttled: Option<bool>,
    /// Memory, bytes.
    pub memory_total: Option<u64>,
    /// Memory that programs can still have, bytes.
    pub memory_available: Option<u64>,
    /// Size of the file system of the data directory, bytes.
    pub disk_total: Option<u64>,
    /// Free there for us, bytes.
    pub disk_free: Option<u64>,
    /// Written to its disk within 24 h, by all programs, extrapolated at first; bytes.
    pub disk_written_day: Option<u64>,
    /// Of these the bytes that Soloist wrote itself; the ledger counts them.
    pub own_written_day: Option<u64>,
    /// Whether the clock is set by the network, where systemd-timesyncd cares for it.
    pub clock_synced: Option<bool>,
    /// How far our clock is from the network's, seconds; positive: ours is ahead. The nodes tell.
    pub clock_offset_s: Option<f64>,
    /// It is our clock that is wrong, and not a node's.
    pub clock_odd: bool,
}

/// The file system below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes free on it for programs without special rights.
    pub free: u64,
    /// It is mounted read-only.
    pub read_only: bool,
}

impl Disk {
    /// Asks the kernel. Quick, but it may hang on a dying card: call it on a pool thread.
    ///
    /// # Errors
    /// The directory is not there, or the disk does not answer.
    pub fn of(dir: &Path) -> io::Result<Disk> {
        let stat = statvfs(dir)?;
        #[allow(clippy::useless_conversion)] // The widths differ between platforms.
        let bytes = |blocks| u64::from(blocks).saturating_mul(u64::from(stat.fragment_size()));
        Ok(Disk {
            size: bytes(stat.blocks()),
            free: bytes(stat.blocks_available()),
            read_only: stat.flags().contains(FsFlags::ST_RDONLY),
        })
    }
}

/// Reads the board; remembers what a rate needs. Blocks as long as the card does: for a pool thread.
#[derive(Debug)]
pub struct Board {
    data: PathBuf,
    model: String,
    cpu: Option<CpuTimes>,
    /// Bytes written so far, and when that was: about one mark an hour.
    marks: VecDeque<(Instant, u64)>,
}

impl Board {
    /// For a data directory, which may not exist yet.
    pub fn new(data: PathBuf) -> Board {
        Board { data, model: model(), cpu: None, marks: VecDeque::new() }
    }

    /// Reads everything.
    pub fn read(&mut self, now: Instant) -> Reading {
        let memory = text("/proc/meminfo");
        let throttled = text("/sys/devices/platform/soc/soc:firmware/get_throttled");
        let throttled = u32::from_str_radix(throttled.trim().trim_start_matches("0x"), 16).ok();
        let bit = |bit: u32| throttled.map(|flags| flags & 1 << bit != 0);
        let disk = self.data.ancestors().find_map(|dir| Disk::of(dir).ok());
        let (ledger_bytes, snapshot_at) = ledger(&self.data.join("ledger"));
        let board = BoardView {
            model: self.model.clone(),
            uptime_s: text("/proc/uptime").split('.').next().and_then(|s| s.parse().ok()),
            cpu: self.cpu(),
            temperature_c: temperature(),
            undervoltage: bit(0).or_else(undervoltage),
            undervoltage_seen: bit(16),
            throttled: bit(2),
            memory_total: kilobytes(&memory, "MemTotal:"),
            memory_available: kilobytes(&memory, "MemAvailable:"),
            disk_total: disk.map(|disk| disk.size),
            disk_free: disk.map(|disk| disk.free),
            disk_written_day: self.written(now),
            clock_synced: clock_synced(Path::new("/run/systemd/timesync")),
            ..BoardView::default()
        };
        Reading {
            board,
            ledger_bytes,
            snapshot_at,
            process: ProcessView::read(),
            search_domains: super::search_domains(),
            rtc_agrees: rtc_agrees(&text("/sys/class/rtc/rtc0/since_epoch"), super::now().unix),
        }
    }

    fn cpu(&mut self) -> Option<f64> {
        let times = CpuTimes::parse(&text("/proc/stat"))?;
        let before = self.cpu.replace(times)?;
        times.busy_since(before)
    }

    fn written(&mut self, now: Instant) -> Option<u64> {
        let device = self.data.ancestors().find_map(|dir| fs::metadata(dir).ok())?.dev();
        let bytes = sectors_written(&text("/proc/diskstats"), device)? * SECTOR;
        written_per_day(&mut self.marks, now, bytes)
    }
}

/// Jiffies of all cores, by `/proc/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTimes {
    idle: u64,
    all: u64,
}

impl CpuTimes {
    fn parse(stat: &str) -> Option<CpuTimes> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        // user nice system idle iowait irq softirq steal; what follows is counted in user already.
        let times: Vec<u64> = line.split_whitespace().take(8).flat_map(str::parse).collect();
        let idle = times.get(3)?.saturating_add(*times.get(4)?);
        Some(CpuTimes { idle, all: times.iter().fold(0, |sum, time| sum.saturating_add(*time)) })
    }

    fn busy_since(self, before: CpuTimes) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(before.idle).min(all);
        Some(1.0 - idle as f64 / all as f64)
    }
}

/// Keeps hourly marks of the counter and tells what a day adds to it.
fn written_per_day(marks: &mut VecDeque<(Instant, u64)>, now: Instant, bytes: u64) -> Option<u64> {
    let age = |at: Instant| now.saturating_duration_since(at);
    if marks.back().is_some_and(|(_, last)| *last > bytes) {
        // The counter began anew: another disk.
        marks.clear();
    }
    if marks.back().is_none_or(|(at, _)| age(*at) >= MARK_EVERY) {
        marks.push_back((now, bytes));
    }
    while marks.get(1).is_some_and(|(at, _)| age(*at) >= DAY) {
        marks.pop_front();
    }
    let (at, first) = marks.front()?;
    let passed = age(*at);
    let share = DAY.as_secs_f64() / passed.as_secs_f64();
    (passed >= WRITTEN_FROM).then_some(((bytes - first) as f64 * share) as u64)
}

/// Of the disk or partition with this number (`st_dev`). `None` for what is no disk, as tmpfs.
fn sectors_written(diskstats: &str, device: u64) -> Option<u64> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    diskstats.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let number = |field: Option<&str>| field?.parse::<u64>().ok();
        let ours = number(fields.next())? == major && number(fields.next())? == minor;
        if ours { number(fields.nth(7)) } else { None }
    })
}

/// Raspberry Pi OS and others show `/proc/device-tree`, PCs the DMI tables.
fn model() -> String {
    ["/proc/device-tree/model", "/sys/devices/virtual/dmi/id/product_name"]
        .into_iter()
        .map(|path| text(path).trim_end_matches(['\0', '\n']).trim().to_owned())
        .find(|model| !model.is_empty())
        .unwrap_or_default()
}

/// The zone that is named after the processor, else the first one.
fn temperature() -> Option<f64> {
    let mut zones: Vec<PathBuf> = fs::read_dir("/sys/class/thermal")
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("thermal_zone"))
        .map(|entry| entry.path())
        .collect();
    zones.sort();
    let of_processor = |zone: &&PathBuf| {
        let name = text(zone.join("type")).to_lowercase();
        ["cpu", "soc", "x86_pkg"].iter().any(|part| name.contains(part))
    };
    let zone = zones.iter().find(of_processor).or(zones.first())?;
    let milli: f64 = text(zone.join("temp")).trim().parse().ok()?;
    Some(milli / 1000.0)
}

/// By the driver `rpi_volt` of kernels that do not come from Raspberry Pi.
fn undervoltage() -> Option<bool> {
    let sensors = fs::read_dir("/sys/class/hwmon").ok()?;
    let path = sensors
        .flatten()
        .map(|entry| entry.path())
        .find(|path| text(path.join("name")).trim() == "rpi_volt")?;
    Some(text(path.join("in0_lcrit_alarm")).trim() == "1")
}

/// systemd-timesyncd leaves a file there when it has set the clock.
fn clock_synced(dir: &Path) -> Option<bool> {
    dir.is_dir().then(|| dir.join("synchronized").exists())
}

/// A Pi 5 without a battery has such a clock too: it begins in 1970.
fn rtc_agrees(since_epoch: &str, unix: u64) -> bool {
    since_epoch.trim().parse().is_ok_and(|shown: u64| shown.abs_diff(unix) < 120)
}

/// Bytes below the ledger's directory, and the time of its newest snapshot.
fn ledger(dir: &Path) -> (u64, Option<u64>) {
    let (mut bytes, mut snapshot) = (0, None);
    let mut left = FILES_MAX;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if left == 0 {
                return (bytes, snapshot);
            }
            left -= 1;
            if data.is_dir() {
                dirs.push(entry.path());
            } else {
                bytes += data.len();
                if entry.path().extension().is_some_and(|extension| extension == "backup") {
                    snapshot = snapshot.max(u64::try_from(data.mtime()).ok());
                }
            }
        }
    }
    (bytes, snapshot)
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn text(path: impl AsRef<Path>) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let stat = |idle: u64| format!("cpu  100 0 50 {idle} 10 0 0 0 7 0\ncpu0 1 1 1 1\n");
        let before = CpuTimes::parse(&stat(800)).unwrap();
        assert_eq!(before, CpuTimes { idle: 810, all: 960 });
        let after = CpuTimes { idle: 860, all: 1160 };
        assert_eq!(after.busy_since(before), Some(0.75));
        assert_eq!(before.busy_since(before), None, "no time has passed");
        assert_eq!(CpuTimes::parse("intr 1"), None);

        let memory = "MemTotal:        1000 kB\nMemAvailable:     250 kB\n";
        assert_eq!(kilobytes(memory, "MemAvailable:"), Some(256_000));
        assert_eq!(kilobytes(memory, "Swap:"), None);

        let disks = " 179  0 mmcblk0 9 9 9 9 9 9 4000 9\n 179  2 mmcblk0p2 1 2 3 4 5 6 77 8 0 9\n";
        let device = nix::sys::stat::makedev(179, 2);
        assert_eq!(sectors_written(disks, device), Some(77));
        assert_eq!(sectors_written(disks, nix::sys::stat::makedev(0, 33)), None);
    }

    #[test]
    fn a_days_writing_is_extrapolated_at_first_and_then_counted() {
        let start = Instant::now();
        let mut marks = VecDeque::new();
        let mut at = |hours: f64, bytes: u64| {
            written_per_day(&mut marks, start + Duration::from_secs_f64(hours * 3600.0), bytes)
        };
        assert_eq!(at(0.0, 500), None);
        assert_eq!(at(0.1, 600), None, "too early to tell");
        assert_eq!(at(0.5, 600), Some(4800));
        for hour in 1..48u32 {
            at(f64::from(hour), 600 + 100 * u64::from(hour));
        }
        assert_eq!(at(48.0, 5400), Some(2400));
        assert_eq!(at(49.0, 3), None, "another disk");
    }

    #[test]
    fn this_machine_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = dir.path().join("ledger/snapshots");
        fs::create_dir_all(&snapshots).unwrap();
        fs::write(snapshots.join("2026-11-21.backup"), [0; 100]).unwrap();
        fs::write(dir.path().join("ledger/journal"), [0; 11]).unwrap();
        let mut board = Board::new(dir.path().join("not/there/yet"));
        let reading = board.read(Instant::now());
        let shown = &reading.board;
        assert!(shown.uptime_s > Some(0) && shown.memory_available > Some(0));
        assert!(shown.disk_free <= shown.disk_total && shown.disk_total > Some(0));
        assert!(reading.process.resident_bytes > 0);
        assert_eq!((reading.ledger_bytes, reading.snapshot_at), (0, None));
        let (bytes, at) = ledger(&dir.path().join("ledger"));
        assert_eq!(bytes, 111);
        assert!(at > Some(1_000_000_000));
        assert_eq!(clock_synced(&dir.path().join("timesync")), None);
        assert_eq!(clock_synced(dir.path()), Some(false));
        fs::write(dir.path().join("synchronized"), "").unwrap();
        assert_eq!(clock_synced(dir.path()), Some(true));
    }
}
