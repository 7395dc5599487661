//! The log: to stderr or the journal, in a form for its reader.
//!
//! On a terminal each line has its time (UTC) and level. Under systemd each record goes to the
//! journal with its fields (`SOLOIST_NODE=attic`), so that `journalctl SOLOIST_NODE=attic` works;
//! if the journal's socket cannot be reached, each line begins with its level as `<N>`
//! (sd-daemon(3)). `[log] format = "json"` writes one object per line. No log file is written,
//! because the box runs from an SD card. The last lines are kept in memory for the page.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use serde_json::json;
use simplelog::{ConfigBuilder, WriteLogger};
use time::OffsetDateTime;
use time::macros::format_description;

/// Lines that the page can look back on, and the longest of them.
const TAIL_LINES: usize = 500;
const TAIL_LINE_BYTES: usize = 500;
/// Where the journal takes whole records (systemd's native protocol).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How each record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As its reader wants it: the journal with fields, a terminal with text.
    #[default]
    Auto,
    /// A line of text.
    Text,
    /// A JSON object in a line.
    Json,
}

static FORMAT: AtomicU8 = AtomicU8::new(Format::Auto as u8);
static TAIL: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Starts the log at `level`. To be called once, before anything is logged; a second call only
/// sets the level.
pub fn start(level: LevelFilter) {
    let config = ConfigBuilder::new()
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Debug)
        .build();
    let journal = if is_journal() {
        Some(UnixDatagram::unbound().and_then(|socket| {
            // A journal that does not keep up must not hold mining up: then lines are lost.
            socket.set_nonblocking(true)?;
            socket.connect(JOURNAL)?;
            Ok(socket)
        }))
    } else {
        None
    };
    let text = WriteLogger::new(LevelFilter::Trace, config, io::stderr());
    let logger =
        Logger { text, is_journal: journal.is_some(), journal: journal.and_then(Result::ok) };
    // An error means that a logger is set already.
    let _ = log::set_boxed_logger(Box::new(logger));
    set_level(level);
}

/// Changes the level of the running log.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Changes the form of the running log.
pub fn set_format(format: Format) {
    FORMAT.store(format as u8, Ordering::Relaxed);
}

/// The last lines, the newest last.
pub fn tail() -> String {
    let tail = TAIL.lock().unwrap_or_else(PoisonError::into_inner);
    tail.iter().map(String::as_str).collect()
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

struct Logger {
    text: Box<WriteLogger<io::Stderr>>,
    is_journal: bool,
    journal: Option<UnixDatagram>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let fields = Fields::of(record);
        let now = SystemTime::now();
        keep(&tail_line(record, &fields, now));
        // There is nowhere to complain if stderr is gone.
        let stderr = |text: &str| drop(io::stderr().write_all(text.as_bytes()));
        match FORMAT.load(Ordering::Relaxed) {
            json if json == Format::Json as u8 => stderr(&json_line(record, &fields, now)),
            auto if auto == Format::Auto as u8 && self.is_journal => match &self.journal {
                Some(socket) => match socket.send(&journal_record(record, &fields)) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                        stderr(&journal_lines(record, &fields));
                    }
                    _ => {}
                },
                None => stderr(&journal_lines(record, &fields)),
            },
            _ => self.text.log(
                &Record::builder()
                    .metadata(record.metadata().clone())
                    .args(format_args!("{}{}", record.args(), fields.text()))
                    .build(),
            ),
        }
    }

    fn flush(&self) {}
}

/// What a record says besides its words, such as `node=attic request=17`.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(record: &Record<'_>) -> Fields {
        let mut fields = Fields::default();
        // Ours never fails.
        let _ = record.key_values().visit(&mut fields);
        fields
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = write!(text, " {key}={value}");
            text
        })
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push((key.as_str().to_owned(), value.to_string()));
        Ok(())
    }
}

fn priority(record: &Record<'_>) -> u8 {
    match record.level() {
        log::Level::Error => 3,
        log::Level::Warn => 4,
        log::Level::Info => 6,
        log::Level::Debug | log::Level::Trace => 7,
    }
}

/// The record with its priority before each of its lines.
fn journal_lines(record: &Record<'_>, fields: &Fields) -> String {
    let priority = priority(record);
    let text = format!("{}{}", record.args(), fields.text());
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

/// The record for the journal's socket: `KEY=value` lines, and with its length what has lines in it.
fn journal_record(record: &Record<'_>, fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |key: &str, value: &str| {
        out.extend_from_slice(key.as_bytes());
        match value.contains('\n') {
            true => {
                out.push(b'\n');
                out.extend_from_slice(&(value.len() as u64).to_le_bytes());
            }
            false => out.push(b'='),
        }
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    add("MESSAGE", &record.args().to_string());
    add("PRIORITY", &priority(record).to_string());
    add("SYSLOG_IDENTIFIER", "soloist");
    add("SOLOIST_TARGET", record.target());
    for (key, value) in &fields.0 {
        let key: String = key
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        add(&format!("SOLOIST_{key}"), value);
    }
    out
}

fn json_line(record: &Record<'_>, fields: &Fields, now: SystemTime) -> String {
    let mut object = serde_json::Map::new();
    for (key, value) in &fields.0 {
        object.insert(key.clone(), json!(value));
    }
    // Last, so that no field can pass for one of these.
    object.insert("time".to_owned(), json!(timestamp(now)));
    object.insert("level".to_owned(), json!(record.level().as_str().to_ascii_lowercase()));
    object.insert("target".to_owned(), json!(record.target()));
    object.insert("message".to_owned(), json!(record.args().to_string()));
    format!("{}\n", serde_json::Value::Object(object))
}

fn tail_line(record: &Record<'_>, fields: &Fields, now: SystemTime) -> String {
    let (time, level) = (timestamp(now), record.level());
    let mut line = format!("{time} {level:5} {}{}", record.args(), fields.text());
    // What comes from outside cannot begin a line of its own.
    line = line.replace(['\n', '\r'], " ");
    if line.len() > TAIL_LINE_BYTES {
        let end = (0..=TAIL_LINE_BYTES).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line.push('\n');
    line
}

fn keep(line: &str) {
    let mut tail = TAIL.lock().unwrap_or_else(PoisonError::into_inner);
    while tail.len() >= TAIL_LINES {
        tail.pop_front();
    }
    tail.push_back(line.to_owned());
}

/// ISO 8601, UTC.
fn timestamp(now: SystemTime) -> String {
    let unix = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    i128::try_from(unix.as_nanos())
        .ok()
        .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
        .and_then(|at| at.format(format).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fields() -> Fields {
        Fields(vec![("node".into(), "attic".into()), ("why".into(), "two\nlines".into())])
    }

    #[test]
    fn each_line_has_its_priority() {
        let line = |level| {
            let none = Fields::default();
            journal_lines(&Record::builder().level(level).args(format_args!("a\nb")).build(), &none)
        };
        assert_eq!(line(log::Level::Error), "<3>a\n<3>b\n");
        assert_eq!(line(log::Level::Warn), "<4>a\n<4>b\n");
        assert_eq!(line(log::Level::Info), "<6>a\n<6>b\n");
        assert_eq!(line(log::Level::Trace), "<7>a\n<7>b\n");
    }

    #[test]
    fn the_journal_gets_fields_and_none_can_be_smuggled_in() {
        let record = Record::builder().level(log::Level::Info).args(format_args!("hello")).build();
        let bytes = journal_record(&record, &fields());
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.starts_with("MESSAGE=hello\nPRIORITY=6\nSYSLOG_IDENTIFIER=soloist\n"),
            "{text}"
        );
        assert!(text.contains("\nSOLOIST_NODE=attic\n"), "{text}");
        let with_length = b"SOLOIST_WHY\n\x09\0\0\0\0\0\0\0two\nlines\n";
        assert!(bytes.ends_with(with_length), "{text}");
    }

    #[test]
    fn json_and_the_tail() {
        let record = Record::builder()
            .level(log::Level::Warn)
            .target("t")
            .args(format_args!("said \"no\"\nand went"))
            .build();
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let line = json_line(&record, &fields(), at);
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], "said \"no\"\nand went");
        assert_eq!((&read["level"], &read["node"]), (&json!("warn"), &json!("attic")));
        assert_eq!(read["time"], "2023-11-14T22:13:20.123Z");
        let line = tail_line(&record, &fields(), at);
        assert_eq!(
            line,
            "2023-11-14T22:13:20.123Z WARN  said \"no\" and went node=attic why=two lines\n"
        );
    }
}
