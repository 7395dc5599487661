//! The log: to stderr, in the form that its reader expects.
//!
//! On a terminal each line has its time (UTC) and level. Under systemd the journal keeps the time,
//! and the level goes before the line as `<N>` (sd-daemon(3)), so that `journalctl -p warning`
//! works. No log file is ever written: the box runs from an SD card.

use std::io::{self, Write};
use std::os::fd::AsFd;

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};
use time::macros::format_description;

/// Starts the log at `level`. To be called once, before anything is logged; a second call only
/// sets the level.
pub fn start(level: LevelFilter) {
    if is_journal() {
        // An error means that a logger is set already.
        let _ = log::set_boxed_logger(Box::new(Journal));
    } else {
        let config = ConfigBuilder::new()
            .set_time_format_custom(format_description!(
                "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z"
            ))
            .set_thread_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Debug)
            .build();
        let _ = WriteLogger::init(LevelFilter::Trace, config, io::stderr());
    }
    set_level(level);
}

/// Changes the level of the running log.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Whether stderr goes to the journal: systemd names the device and inode of the stream that it
/// made; a shell below a unit inherits the variable, but its stderr may go elsewhere.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    match nix::sys::stat::fstat(io::stderr().as_fd()) {
        Ok(stat) => stream == format!("{}:{}", stat.st_dev, stat.st_ino),
        Err(_) => false,
    }
}

struct Journal;

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // There is nowhere to complain if stderr is gone.
            let _ = io::stderr().write_all(journal_lines(record).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// The record with its priority before each of its lines.
fn journal_lines(record: &Record<'_>) -> String {
    let priority = match record.level() {
        log::Level::Error => 3,
        log::Level::Warn => 4,
        log::Level::Info => 6,
        log::Level::Debug | log::Level::Trace => 7,
    };
    let text = record.args().to_string();
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_priority() {
        let line = |level| {
            journal_lines(&Record::builder().level(level).args(format_args!("a\nb")).build())
        };
        assert_eq!(line(log::Level::Error), "<3>a\n<3>b\n");
        assert_eq!(line(log::Level::Warn), "<4>a\n<4>b\n");
        assert_eq!(line(log::Level::Info), "<6>a\n<6>b\n");
        assert_eq!(line(log::Level::Trace), "<7>a\n<7>b\n");
    }
}
