//! A safe start: settings with which Soloist cannot run are replaced by the last ones that worked.
//!
//! Settings have worked when Soloist ran with them for ten minutes. Then a copy of their file is
//! kept in the data directory, below a line with the file's name: settings of another file must not
//! be used where Soloist runs twice on one machine. At the next start the copy replaces settings
//! that have a mistake, that lack an address or a node (a damaged card emptied the file, or an
//! editor is just writing it), or with which Soloist ended three times within ten minutes (a crash,
//! a port that is in use). The page says so. The owner's file is never changed by this.
//!
//! Without this an emptied file would stop the miners, and open the set-up to anybody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, Config, Flags, Incomplete, Loaded, Problems};
use crate::fsutil::{self, Rights};

/// After so long with the same settings these are kept as working ones.
pub const WORKS_AFTER: Duration = Duration::from_secs(600);
/// So many starts without an end in order, within [`WITHIN`], are too many.
const TOO_MANY: usize = 3;
const WITHIN: Duration = Duration::from_secs(600);

/// One start of the daemon.
#[derive(Debug)]
pub struct SafeStart<'a> {
    flags: &'a Flags,
    /// Where starts are noted, in memory that outlives the daemon; `None` without systemd.
    notes: Option<PathBuf>,
    /// Starts before this one that did not end in order.
    failed: usize,
}

impl<'a> SafeStart<'a> {
    /// Notes this start. `uptime` is the time since the machine was switched on.
    pub fn begin(
        flags: &'a Flags,
        runtime_dir: Option<PathBuf>,
        uptime: Duration,
    ) -> SafeStart<'a> {
        let notes = runtime_dir.map(|dir| dir.join("starts"));
        let mut failed = 0;
        if let Some(file) = &notes {
            let earlier = recent(&fs::read_to_string(file).unwrap_or_default(), uptime);
            failed = earlier.len();
            let lines: Vec<String> = earlier.iter().map(u64::to_string).collect();
            let text = format!("{}\n{}\n", lines.join("\n"), uptime.as_secs());
            // Without the note only the safe start itself is lost.
            if let Err(error) = fsutil::replace(file, text.as_bytes(), Rights::Keep(0o666)) {
                log::debug!("{error}");
            }
        }
        SafeStart { flags, notes, failed }
    }

    /// The settings to run with: those of the file, or in their place the ones that last worked.
    ///
    /// # Errors
    /// Those of [`config::load_for_run`], where none have worked yet.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let loaded = config::load_for_run(self.flags);
        let why = match &loaded {
            Err(problems) => problems.0.first().map(ToString::to_string).unwrap_or_default(),
            Ok(loaded) if !loaded.config.is_set_up() => format!(
                "it names nobody who is paid, or no node. To begin anew, remove {} as well.",
                good_copy(self.flags).display()
            ),
            Ok(_) if self.failed >= TOO_MANY => {
                format!("Soloist ended {} times within ten minutes with them.", self.failed)
            }
            Ok(_) => return loaded,
        };
        let Some(good) = self.last_good(why.clone()) else { return loaded };
        match &loaded {
            Err(problems) => problems.0.iter().for_each(|problem| log::error!("{problem}")),
            Ok(_) => log::error!("The config is not used: {why}"),
        }
        log::error!("Soloist runs with the settings that last worked.");
        Ok(good)
    }

    /// The daemon ended in order.
    pub fn ended(&self) {
        if let Some(file) = &self.notes {
            let _ = fs::remove_file(file);
        }
    }

    /// `None` where none are kept, they are the same as the file's, or nobody could mine with them.
    fn last_good(&self, instead_why: String) -> Option<Loaded> {
        let file = config::file_for_run(self.flags)?;
        let copy = fs::read_to_string(good_copy(self.flags)).ok()?;
        let text = copy.strip_prefix(&heading(&file))?;
        if fs::read(&file).is_ok_and(|now| now == text.as_bytes()) {
            return None;
        }
        let config = config::try_text(self.flags, &file, text, Incomplete::Refused).ok()?;
        Some(Loaded {
            config,
            file: Some(file),
            warnings: Vec::new(),
            instead_why: Some(instead_why),
        })
    }
}

/// Keeps a copy of the settings' file as the ones that work; true if it was not there already. It
/// holds the same secrets, and is for the daemon's eyes only. A file that gives something else than
/// what is `running` was changed since, and has yet to show that it works.
///
/// # Errors
/// The system's.
pub fn keep(flags: &Flags, file: &Path, running: &Config) -> io::Result<bool> {
    let text = fs::read_to_string(file)?;
    if !config::try_text(flags, file, &text, Incomplete::Refused)
        .is_ok_and(|config| config == *running)
    {
        return Ok(false);
    }
    let text = heading(file) + &text;
    let copy = good_copy(flags);
    if fs::read(&copy).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(false);
    }
    config::save(&copy, &text)?;
    Ok(true)
}

/// The first line of a copy.
fn heading(file: &Path) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    format!("# This last worked as {}\n", file.display())
}

fn good_copy(flags: &Flags) -> PathBuf {
    config::data_dir(flags).join("soloist.toml.good")
}

/// The starts of the last while, seconds since the machine was switched on. What cannot be read, or
/// lies ahead, does not count.
fn recent(notes: &str, uptime: Duration) -> Vec<u64> {
    let now = uptime.as_secs();
    let starts = notes.lines().filter_map(|line| line.trim().parse::<u64>().ok());
    starts.filter(|at| *at <= now && now - at < WITHIN.as_secs()).take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_starts_of_the_last_ten_minutes_count() {
        let at = |notes, now| recent(notes, Duration::from_secs(now));
        assert_eq!(at("5\n100\n650\n", 700), [650]);
        assert_eq!(at("5\n100\n", 604), [5, 100]);
        assert_eq!(at("800\nx\n-1\n\u{0}\n99999999999999999999999\n", 700), [] as [u64; 0]);
        assert_eq!(at(&"1\n".repeat(1000), 2).len(), 16);
    }

    #[test]
    fn a_start_is_noted_and_an_end_in_order_forgets_it() {
        let dir = tempfile::tempdir().unwrap();
        let flags = Flags::default();
        let begin = |second| {
            SafeStart::begin(&flags, Some(dir.path().to_owned()), Duration::from_secs(second))
        };
        assert_eq!(begin(10).failed, 0);
        assert_eq!(begin(11).failed, 1);
        assert_eq!(begin(12).failed, 2);
        let third = begin(13);
        assert_eq!(third.failed, 3);
        assert_eq!(begin(2000).failed, 0, "long ago");
        third.ended();
        assert_eq!(begin(2001).failed, 0);
        assert_eq!(SafeStart::begin(&flags, None, Duration::ZERO).failed, 0);
    }
}
