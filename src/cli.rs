//! The command line: arguments → [`Command`], and the help texts.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::commands::ledger::{Restore, What};
use crate::config::{BadFlag, Flags};

/// The command that the user gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `soloist run`; also without the word `run`.
    Run(Flags),
    /// `soloist check`
    Check(Flags),
    /// `soloist check --board`
    CheckBoard,
    /// `soloist import`
    Import(crate::import::Args),
    /// `soloist ledger check`
    CheckLedger {
        /// Where the ledger is: `--data`, or else the config's data directory.
        flags: Flags,
        /// `--repair`: move damaged files aside and rebuild them.
        repair: bool,
        /// `--hand-over`: used by the daemon, see [`crate::ledger::child`].
        hand_over: bool,
    },
    /// `soloist ledger cache`: used by the daemon, see [`crate::ledger::child`].
    SaveCache(Flags),
    /// `soloist backup`
    Backup {
        /// The file to write.
        file: PathBuf,
        /// The file whose first line is the passphrase.
        passphrase: Option<PathBuf>,
        /// `--data` and `--config`.
        flags: Flags,
    },
    /// `soloist restore`
    Restore(Restore),
    /// `soloist export`
    Export {
        /// Which part of the ledger, and in which format.
        what: What,
        /// `--data` and `--config`.
        flags: Flags,
    },
    /// `soloist pair keepalived`
    PairKeepalived {
        /// `--config`
        flags: Flags,
        /// The file of the other box's connections.
        connections: PathBuf,
    },
    /// `soloist pair ready`: `/health/ready` of the page at this address.
    PairReady(SocketAddr),
    /// `soloist pair tickle`: the connections of this file.
    PairTickle(PathBuf),
    /// `soloist pair code`
    PairCode,
    /// `soloist demo`
    #[cfg(feature = "demo")]
    Demo(crate::demo::Args),
    /// `soloist bench`
    Bench,
    /// `soloist version`
    Version,
    /// `--help`, with the text to print.
    Help(&'static str),
}

/// A command line that is not understood. `Display` says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Reads the arguments, without the program's name.
///
/// # Errors
/// An unknown word or flag, a flag without its value, or a flag in the wrong place.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut args = args.into_iter().peekable();
    // The first word is the command, unless it is a flag: `soloist --config FILE` runs.
    let word = args.next_if(|first| !first.to_string_lossy().starts_with('-'));
    let word = word.map(|word| word.to_string_lossy().into_owned());
    let mut parser = Parser::from_args(args);
    match word.as_deref() {
        None => match flags(&mut parser, HELP)? {
            Given::Flags(flags) => Ok(Command::Run(flags)),
            Given::Board => Ok(Command::CheckBoard),
            Given::Help => Ok(Command::Help(HELP)),
            Given::Version => Ok(Command::Version),
        },
        Some("run") => match flags(&mut parser, &RUN_HELP)? {
            Given::Flags(flags) => Ok(Command::Run(flags)),
            Given::Board => Ok(Command::CheckBoard),
            Given::Help => Ok(Command::Help(&RUN_HELP)),
            Given::Version => Ok(Command::Version),
        },
        Some("check") => match flags(&mut parser, &CHECK_HELP)? {
            Given::Flags(flags) => Ok(Command::Check(flags)),
            Given::Board => Ok(Command::CheckBoard),
            Given::Help => Ok(Command::Help(&CHECK_HELP)),
            Given::Version => Ok(Command::Version),
        },
        Some("ledger") => ledger(&mut parser),
        Some("backup") => match transfer(&mut parser, BACKUP_HELP)? {
            None => Ok(Command::Help(BACKUP_HELP)),
            Some(Restore { settings: true, .. }) => {
                Err(UsageError("--settings belongs to soloist restore.".to_owned()))
            }
            Some(Restore { file, passphrase, flags, .. }) => {
                Ok(Command::Backup { file, passphrase, flags })
            }
        },
        Some("restore") => match transfer(&mut parser, RESTORE_HELP)? {
            None => Ok(Command::Help(RESTORE_HELP)),
            Some(Restore { settings: true, flags: Flags { config: None, .. }, .. }) => {
                Err(UsageError("--settings needs --config: where are they to be put?".to_owned()))
            }
            Some(restore) => Ok(Command::Restore(restore)),
        },
        Some("export") => export(&mut parser),
        Some("import") => import(&mut parser),
        Some("pair") => pair(&mut parser),
        #[cfg(feature = "demo")]
        Some("demo") => demo(&mut parser),
        Some("bench") => match only_help(&mut parser)? {
            true => Ok(Command::Help(BENCH_HELP)),
            false => Ok(Command::Bench),
        },
        Some("version") => match only_help(&mut parser)? {
            true => Ok(Command::Help(VERSION_HELP)),
            false => Ok(Command::Version),
        },
        Some("help") => Ok(Command::Help(HELP)),
        Some(other) => Err(UsageError(format!(
            "There is no command '{}'. Say: soloist --help",
            other.escape_default()
        ))),
    }
}

/// `soloist ledger check`, and the daemon's own `soloist ledger cache`.
fn ledger(parser: &mut Parser) -> Result<Command, UsageError> {
    const CHECK: &str = "Say: soloist ledger check";
    let mut flags = Flags::default();
    let (mut what, mut repair, mut hand_over) = (None, false, false);
    while let Some(arg) = parser.next().map_err(in_words)? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(LEDGER_HELP)),
            Value(word) if what.is_none() && (word == "check" || word == "cache") => {
                what = Some(word);
            }
            Long("repair") => repair = true,
            Long("hand-over") => hand_over = true,
            Short('c') | Long("config") => flags.config = Some(value(parser, "--config")?.into()),
            Long("data") => give(parser, "--data", &mut flags)?,
            other => return Err(unknown(&other, "")),
        }
    }
    match what {
        Some(word) if word == "cache" => Ok(Command::SaveCache(flags)),
        Some(_) => Ok(Command::CheckLedger { flags, repair, hand_over }),
        None => Err(UsageError(format!("What to do with the ledger is missing. {CHECK}"))),
    }
}

/// The flags of `backup` and `restore`; `None` when help was asked for.
fn transfer(parser: &mut Parser, help: &str) -> Result<Option<Restore>, UsageError> {
    let mut restore = Restore::default();
    while let Some(arg) = parser.next().map_err(in_words)? {
        let flags = &mut restore.flags;
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Value(file) if restore.file.as_os_str().is_empty() => restore.file = file.into(),
            Long("settings") => restore.settings = true,
            Long("passphrase-file") => {
                restore.passphrase = Some(value(parser, "--passphrase-file")?.into());
            }
            Short('c') | Long("config") => flags.config = Some(value(parser, "--config")?.into()),
            Long("data") => give(parser, "--data", flags)?,
            other => return Err(unknown(&other, "")),
        }
    }
    if restore.file.as_os_str().is_empty() {
        let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap_or_default();
        return Err(UsageError(format!("The backup's file is missing. {usage}")));
    }
    Ok(Some(restore))
}

/// `soloist export WHAT`
fn export(parser: &mut Parser) -> Result<Command, UsageError> {
    let (mut what, mut flags) = (None, Flags::default());
    while let Some(arg) = parser.next().map_err(in_words)? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(EXPORT_HELP)),
            Value(word) if what.is_none() => {
                what = Some(match word.to_str() {
                    Some("blocks") => What::Blocks,
                    Some("workers") => What::Workers,
                    Some("hours") => What::Hours,
                    Some("days") => What::Days,
                    Some("json") => What::Json,
                    _ => return Err(UsageError(EXPORT_WHAT.to_owned())),
                });
            }
            Short('c') | Long("config") => flags.config = Some(value(parser, "--config")?.into()),
            Long("data") => give(parser, "--data", &mut flags)?,
            other => return Err(unknown(&other, "")),
        }
    }
    let what = what.ok_or_else(|| UsageError(EXPORT_WHAT.to_owned()))?;
    Ok(Command::Export { what, flags })
}

/// `soloist import`: the first unit of the box calls it.
fn import(parser: &mut Parser) -> Result<Command, UsageError> {
    let (mut from, mut template, mut into, mut data) = (None, None, None, None);
    while let Some(arg) = parser.next().map_err(in_words)? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(IMPORT_HELP)),
            Long("from") => from = Some(value(parser, "--from")?.into()),
            Long("template") => template = Some(value(parser, "--template")?.into()),
            Long("into") => into = Some(value(parser, "--into")?.into()),
            Long("data") => data = Some(value(parser, "--data")?.into()),
            other => return Err(unknown(&other, "")),
        }
    }
    match (from, template, into) {
        (Some(from), Some(template), Some(into)) => {
            Ok(Command::Import(crate::import::Args { from, template, into, data }))
        }
        _ => Err(UsageError("--from, --template and --into are all needed.".to_owned())),
    }
}

/// `soloist pair`: keepalived and its unit call it, and owners for a code.
fn pair(parser: &mut Parser) -> Result<Command, UsageError> {
    let (mut words, mut flags, mut connections) = (Vec::new(), Flags::default(), None);
    while let Some(arg) = parser.next().map_err(in_words)? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(PAIR_HELP)),
            Value(word) if words.len() < 2 => words.push(word),
            Short('c') | Long("config") => flags.config = Some(value(parser, "--config")?.into()),
            Long("connections") => {
                connections = Some(PathBuf::from(value(parser, "--connections")?));
            }
            other => return Err(unknown(&other, "")),
        }
    }
    let connections = connections.unwrap_or_else(|| CONNECTIONS.into());
    let mut words = words.iter().map(|word| word.to_str());
    match (words.next().flatten(), words.next()) {
        (Some("keepalived"), None) => Ok(Command::PairKeepalived { flags, connections }),
        (Some("tickle"), None) => Ok(Command::PairTickle(connections)),
        (Some("code"), None) => Ok(Command::PairCode),
        (Some("ready"), page) => match page.flatten().and_then(|page| page.parse().ok()) {
            Some(page) => Ok(Command::PairReady(page)),
            None => Err(UsageError(PAIR_READY.to_owned())),
        },
        _ => Err(UsageError("What to do is missing. Say: soloist pair --help".to_owned())),
    }
}

enum Given {
    Flags(Flags),
    Board,
    Help,
    Version,
}

/// The flags that `run` and `check` share.
fn flags(parser: &mut Parser, help: &str) -> Result<Given, UsageError> {
    let mut flags = Flags::default();
    while let Some(arg) = parser.next().map_err(in_words)? {
        match arg {
            Short('h') | Long("help") => return Ok(Given::Help),
            Short('V') | Long("version") => return Ok(Given::Version),
            Short('c') | Long("config") => flags.config = Some(value(parser, "--config")?.into()),
            // Only for `check`: about the machine, whatever its settings are.
            Long("board") if help.contains("--board") => return Ok(Given::Board),
            Long(name) if let Some(flag) = Flags::known(name) => give(parser, flag, &mut flags)?,
            other => return Err(unknown(&other, help)),
        }
    }
    Ok(Given::Flags(flags))
}

#[cfg(feature = "demo")]
fn demo(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut args =
        crate::demo::Args { seconds: None, http: None, listen: None, log: log::LevelFilter::Warn };
    while let Some(arg) = parser.next().map_err(in_words)? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(DEMO_HELP)),
            Long("seconds") => {
                let seconds = parsed_text(parser, "--seconds", "a whole number, 1 or more")?;
                args.seconds = Some(std::num::NonZeroU32::get(seconds).into());
            }
            Long("http") => {
                args.http = Some(parsed_text(parser, "--http", "IP:PORT, like 127.0.0.1:8080")?);
            }
            Long("listen") => {
                let like = "IP:PORT, like 127.0.0.1:3333";
                args.listen = Some(parsed_text(parser, "--listen", like)?);
            }
            Long("log") => {
                args.log = parsed_text(parser, "--log", "off, error, warn, info, debug or trace")?;
            }
            other => return Err(unknown(&other, DEMO_HELP)),
        }
    }
    Ok(Command::Demo(args))
}

/// A flag's value as a number, an address or the like.
#[cfg(feature = "demo")]
fn parsed_text<T: std::str::FromStr>(
    parser: &mut Parser,
    flag: &str,
    like: &str,
) -> Result<T, UsageError> {
    let text = text(parser, flag)?;
    text.parse().map_err(|_| UsageError(format!("The value of {flag} is {like}.")))
}

/// The flags of a command that has none of its own. Returns whether help was asked for.
fn only_help(parser: &mut Parser) -> Result<bool, UsageError> {
    match parser.next().map_err(in_words)? {
        None => Ok(false),
        Some(Short('h') | Long("help")) => Ok(true),
        Some(other) => Err(unknown(&other, "")),
    }
}

/// A flag that a setting declares, with its value.
fn give(parser: &mut Parser, flag: &str, flags: &mut Flags) -> Result<(), UsageError> {
    let value = text(parser, flag)?;
    flags.give(flag, value).map_err(|bad| {
        UsageError(match bad {
            BadFlag::LacksNode => {
                format!("{flag} belongs to a node. Write it after the --node that it is about.")
            }
            BadFlag::Unknown => format!("There is no flag {flag}. Say: soloist --help"),
        })
    })
}

fn value(parser: &mut Parser, flag: &str) -> Result<OsString, UsageError> {
    parser.value().map_err(|_| UsageError(format!("{flag} needs a value after it.")))
}

fn text(parser: &mut Parser, flag: &str) -> Result<String, UsageError> {
    let value = value(parser, flag)?;
    value.string().map_err(|_| UsageError(format!("The value of {flag} is not UTF-8 text.")))
}

/// An unknown word or flag. A stray word is not repeated: it may be a part of a password that a
/// shell has split.
fn unknown(arg: &lexopt::Arg<'_>, help: &str) -> UsageError {
    let what = match arg {
        Long(flag) => format!("There is no flag --{}.", flag.escape_default()),
        Short(flag) => format!("There is no flag -{}.", flag.escape_default()),
        Value(_) => "There is a word too many.".to_owned(),
    };
    let flag = match arg {
        Long(flag) if help.contains("--node") => alike(flag),
        _ => None,
    };
    match flag {
        Some(flag) => UsageError(format!("{what} Did you mean --{flag}?")),
        None => UsageError(format!("{what} Say: soloist --help")),
    }
}

/// The flag for a name that other programs or our own config file use.
fn alike(flag: &str) -> Option<&'static str> {
    Some(match flag {
        "rpc" | "rpc-url" | "rpc_url" | "nodes" | "url" => "node",
        "address" | "payout-address" | "wallet" => "payout",
        "stratum" | "bind" | "port" => "listen",
        "web" | "status" | "page" => "http",
        "rpc-cookie" | "cookie-path" => "cookie",
        "rpc-cert" | "cert-path" | "certificate" => "cert",
        "zmq-hashblock" => "zmq",
        "p2p-addr" | "p2p_addr" | "p2p-port" => "p2p",
        "data-dir" | "datadir" | "dir" => "data",
        "conf" | "file" => "config",
        "level" | "log-level" | "debug" => "log",
        _ => return None,
    })
}

/// The parser's own errors, without the values that they would quote.
fn in_words(_: lexopt::Error) -> UsageError {
    UsageError("The command line is not understood. Say: soloist --help".to_owned())
}

#[cfg(feature = "demo")]
macro_rules! demo_line {
    () => {
        "  demo     Show everything on this machine, with built-in nodes and a built-in miner\n"
    };
}
#[cfg(not(feature = "demo"))]
macro_rules! demo_line {
    () => {
        ""
    };
}

const HELP: &str = concat!(
    "\
Soloist connects your miners to your Bitcoin nodes. A block that it finds pays you.

Usage: soloist [COMMAND] [FLAGS]

Commands:
  run      Serve miners (the default without a command)
  check    Read the config, ask every node, and say whether a block could be mined now
  ledger   Check whether the ledger of shares and blocks is sound
  backup   Write the ledger and the settings into one file
  restore  Replace the ledger by such a backup
  export   Print blocks, workers or history as CSV or JSON
  bench    Measure how fast this machine hashes
",
    demo_line!(),
    "\
\x20 version  Print the version

'soloist COMMAND --help' shows the flags of a command.
To start quickly: soloist run --node http://user:password@192.168.1.10:8332 --payout ADDRESS
"
);

/// The flags that `run` and `check` share: their own, and those that the settings declare.
fn flags_help() -> String {
    let settings = Flags::help();
    format!(
        "\
Flags (they override the config file for this run and are not written back):
  -c, --config FILE       The config file (default ./soloist.toml or /etc/soloist/soloist.toml)
{settings}  -h, --help              This text
"
    )
}

static RUN_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Serve miners with work from your nodes, until a signal ends it. SIGHUP reads the config file again.

Usage: soloist run [FLAGS]

{}
Exit codes: 0 ended by a signal, 64 wrong usage, 69 cannot listen, 73 cannot write, 78 wrong config
",
        flags_help()
    )
});

static CHECK_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Read the config, ask every node, and say in plain words who is paid, what a block would carry now,
how each node is, by which ways a block would reach it, and whether the MQTT broker takes us.
Changes nothing.

Usage: soloist check [FLAGS]
       soloist check --board    Print which board this is, and what Soloist knows about it

{}
Exit codes: 0 a block could be mined now, 64 wrong usage, 69 no node can give work now,
            78 wrong config, or an address of another chain
",
        flags_help()
    )
});

const IMPORT_HELP: &str = "\
Import the settings file that the owner wrote on the boot partition of the box. Its settings
override those of the box, [wifi] becomes a file for wpa_supplicant, and the owner's file is reset
to its original content. With --data, a backup of an old card beside it (soloist-backup* or
soloist-*.backup) is restored if the ledger there has counted nothing yet; soloist-passphrase.txt
opens its encrypted settings. Neither is read twice. A certificate beside it that rpc_cert_path
names (NAME.pem or NAME.crt) is imported too.

Usage: soloist import --from FILE --template FILE --into DIR [--data DIR]

Exit codes: 0 done or nothing to do, 64 wrong usage, 73 cannot write,
            78 the file has a mistake: problems.txt beside it says which
";

const LEDGER_HELP: &str = "\
Check whether the ledger of shares and blocks is sound and its snapshots can be restored. Without
--repair a copy is checked and nothing changes. With --repair no other Soloist may run.

Usage: soloist ledger check [FLAGS]

Flags:
      --data DIR     Where the ledger is (default: as the config says)
  -c, --config FILE  The config file (default ./soloist.toml or /etc/soloist/soloist.toml)
      --repair       Move damaged files aside and rebuild them
  -h, --help         This text

Exit codes: 0 all is well, 1 damage was found, 2 the ledger cannot be used, 64 wrong usage,
            78 wrong config
";

const BACKUP_HELP: &str = "\
Write the ledger and the settings into one file of less than 1 MB. Safe while Soloist runs.
It includes passwords, PIN and notifications only with a passphrase, and always the key by which
miners of Stratum V2 know this box. It does not include solved blocks that no node has accepted
yet: they stay in the spool.

Usage: soloist backup FILE [FLAGS]

Flags:
      --passphrase-file FILE  Its first line, of at least 10 characters, is the passphrase that
                              encrypts all settings; - is standard input
      --data DIR              Where the ledger is (default: as the config says)
  -c, --config FILE           The config file (default ./soloist.toml or
                              /etc/soloist/soloist.toml)
  -h, --help                  This text

Exit codes: 0 written and read back, 64 wrong usage, 69 there is no ledger, 73 cannot write,
            78 wrong config
";

const RESTORE_HELP: &str = "\
Replace the ledger and the key of Stratum V2 by those of a backup. Stop Soloist first. What was
there before is kept under another name. A damaged backup changes nothing.

Usage: soloist restore FILE [FLAGS]

Flags:
      --settings              Replace the file of --config by the backup's settings; the previous
                              file is kept beside it. Without this flag the settings are written
                              beside the ledger
      --passphrase-file FILE  The passphrase of the encrypted settings; - is standard input
      --data DIR              Where the ledger is (default: as the config says)
  -c, --config FILE           The config file (default ./soloist.toml or
                              /etc/soloist/soloist.toml)
  -h, --help                  This text

Exit codes: 0 restored, 64 wrong usage, 65 damaged backup or wrong passphrase, 69 Soloist is
            running, 73 cannot write, 78 wrong config
";

const EXPORT_WHAT: &str =
    "What to export is missing: blocks, workers, hours, days or json. Say: soloist export --help";

const EXPORT_HELP: &str = "\
Print the content of the ledger to standard output. Safe while Soloist runs; the last ten minutes
may be missing.

Usage: soloist export blocks|workers|hours|days|json [FLAGS]

  blocks, workers     Found blocks; sums of all workers (CSV)
  hours, days         History of the last 90 days by hour, and of all time by day (CSV)
  json                Everything

Flags:
      --data DIR      Where the ledger is (default: as the config says)
  -c, --config FILE   The config file (default ./soloist.toml or /etc/soloist/soloist.toml)
  -h, --help          This text

Exit codes: 0 printed, 64 wrong usage, 69 there is no ledger, 74 cannot print, 78 wrong config
";

/// Where the daemon's unit keeps the connections of the other box's miners.
const CONNECTIONS: &str = "/run/soloist/pair-connections";

const PAIR_READY: &str =
    "soloist pair ready is given where the page is served: IP:PORT, like 127.0.0.1:80.";

const PAIR_HELP: &str = "\
For two boxes as one (docs/two-boxes.md). All but code is called by soloist-pair.service and by
keepalived.

Usage: soloist pair code
       soloist pair keepalived [FLAGS]
       soloist pair ready IP:PORT
       soloist pair tickle [FLAGS]

  code          Print a new random code: the secret below [pair], the same on both boxes
  keepalived    Print the configuration of keepalived for the settings below [pair]
  ready         Whether miners may be sent to this box, as /health/ready of its page says
  tickle        Tell the miners that were connected to the other box that these connections are
                dead, after the address came to this one. Needs CAP_NET_RAW

Flags:
  -c, --config FILE       The config file (default ./soloist.toml or /etc/soloist/soloist.toml)
      --connections FILE  The connections of the other box's miners: IP:PORT of the box and of the
                          miner on each line (default /run/soloist/pair-connections)
  -h, --help              This text

Exit codes: 0 printed, ready, or told, 64 wrong usage, 69 no address is shared, not ready, or
            nothing can be sent, 75 no way to the other box yet, 78 wrong config
";

#[cfg(feature = "demo")]
const DEMO_HELP: &str = "\
Show everything on this machine: two small nodes, the daemon, and a miner on the CPU, without a
network. Blocks are found within seconds; after a while the first node is killed.

Usage: soloist demo [FLAGS]

Flags:
      --seconds N         End after N seconds, with a summary (default: until Ctrl-C)
      --http IP:PORT      Where the page is served (default 127.0.0.1:8080, or a free port)
      --listen IP:PORT    Where miners connect (default 127.0.0.1:3333, or a free port)
      --log LEVEL         How much of the daemon's log is shown (default warn)
  -h, --help              This text

Exit codes: 0 a block was accepted, 64 wrong usage, 69 no block was, or a port is in use
";

const BENCH_HELP: &str = "\
Measure how fast this machine hashes, with every backend that it can run. Takes a few seconds.

Usage: soloist bench
";

const VERSION_HELP: &str = "\
Print the version.

Usage: soloist version
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[cfg(feature = "demo")]
    #[test]
    fn the_demo_has_flags_of_its_own() {
        let args = crate::demo::Args {
            seconds: Some(20),
            http: Some(([127, 0, 0, 1], 8081).into()),
            listen: None,
            log: log::LevelFilter::Info,
        };
        let line = "demo --seconds 20 --http 127.0.0.1:8081 --log info";
        assert_eq!(parsed(line), Ok(Command::Demo(args)));
        assert!(
            matches!(parsed("demo --help"), Ok(Command::Help(text)) if text.contains("--seconds"))
        );
        for wrong in ["demo --seconds 0", "demo --seconds x", "demo --http here", "demo now"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn run_is_the_default() {
        assert_eq!(parsed(""), Ok(Command::Run(Flags::default())));
        assert_eq!(parsed("run"), parsed(""));
        let file = Flags::file("a.toml");
        assert_eq!(parsed("--config a.toml"), Ok(Command::Run(file.clone())));
        assert_eq!(parsed("run -c a.toml"), Ok(Command::Run(file.clone())));
        assert_eq!(parsed("check --config=a.toml"), Ok(Command::Check(file)));
    }

    #[test]
    fn flags_of_a_node_follow_it() {
        let Ok(Command::Run(flags)) = parsed(
            "run --node http://a:1 --zmq tcp://a:2 --node http://b:1 --cookie /c --payout bc1 \
             --listen 1.2.3.4:5 --listen [::]:5 --http 0.0.0.0:80 --data d --log debug --tag t",
        ) else {
            panic!("not understood")
        };
        let wanted = [
            ("--node", "http://a:1"),
            ("--zmq", "tcp://a:2"),
            ("--node", "http://b:1"),
            ("--cookie", "/c"),
            ("--payout", "bc1"),
            ("--listen", "1.2.3.4:5"),
            ("--listen", "[::]:5"),
            ("--http", "0.0.0.0:80"),
            ("--data", "d"),
            ("--log", "debug"),
            ("--tag", "t"),
        ];
        let wanted = wanted
            .into_iter()
            .fold(Flags::default(), |flags, (name, value)| flags.with(name, value));
        assert_eq!(flags, wanted);
    }

    #[test]
    fn the_ledger_is_checked_as_its_guard_asks() {
        let data = Flags::default().with("--data", "/d");
        let (flags, repair, hand_over) = (data.clone(), true, true);
        let repair = Command::CheckLedger { flags, repair, hand_over };
        assert_eq!(parsed("ledger check --repair --hand-over --data /d"), Ok(repair));
        let write = Command::SaveCache(data.clone());
        assert_eq!(parsed("ledger cache --data /d"), Ok(write));
        let look = Command::CheckLedger { flags: data, repair: false, hand_over: false };
        assert_eq!(parsed("ledger --data /d check"), Ok(look));
        assert_eq!(
            parsed("ledger --repair").unwrap_err(),
            "What to do with the ledger is missing. Say: soloist ledger check"
        );
        assert!(parsed("ledger check check").is_err());
    }

    #[test]
    fn backups_and_exports_say_where_and_what() {
        let backup = Command::Backup {
            file: "/mnt/a".into(),
            passphrase: Some("-".into()),
            flags: Flags::default().with("--data", "/d"),
        };
        assert_eq!(parsed("backup /mnt/a --passphrase-file - --data /d"), Ok(backup));
        let restore = Restore {
            file: "a".into(),
            settings: true,
            flags: Flags::file("c.toml"),
            ..Restore::default()
        };
        assert_eq!(parsed("restore a --settings -c c.toml"), Ok(Command::Restore(restore)));
        let flags = Flags::default();
        assert_eq!(parsed("export days"), Ok(Command::Export { what: What::Days, flags }));
        for wrong in
            ["backup", "restore", "backup a b", "backup a --settings", "restore a --settings"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parsed("export").unwrap_err(), EXPORT_WHAT);
        assert_eq!(parsed("export geheim").unwrap_err(), EXPORT_WHAT);
    }

    #[test]
    fn keepalived_asks_and_tickles() {
        let page = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(parsed("pair ready 127.0.0.1:80"), Ok(Command::PairReady(page)));
        assert_eq!(parsed("pair tickle"), Ok(Command::PairTickle(CONNECTIONS.into())));
        let tickle = Command::PairTickle("/x".into());
        assert_eq!(parsed("pair tickle --connections /x"), Ok(tickle));
        let (flags, connections) = (Flags::file("c"), CONNECTIONS.into());
        let keepalived = Command::PairKeepalived { flags, connections };
        assert_eq!(parsed("pair keepalived -c c"), Ok(keepalived));
        assert_eq!(parsed("pair ready").unwrap_err(), PAIR_READY);
        assert_eq!(parsed("pair code"), Ok(Command::PairCode));
        for wrong in ["pair", "pair code x", "pair ready here", "pair mine", "pair tickle a"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_command_has_help() {
        for line in [
            "--help",
            "-h",
            "help",
            "run --help",
            "check -h",
            "bench -h",
            "ledger --help",
            "ledger check -h",
            "backup --help",
            "restore -h",
            "export --help",
            "import -h",
            "pair tickle -h",
            "version --help",
        ] {
            let Ok(Command::Help(text)) = parsed(line) else { panic!("{line}") };
            assert!(text.contains("Usage: soloist"), "{line}");
            assert!(text.lines().all(|line| line.len() <= 100), "{line}");
        }
        assert_eq!(parsed("version"), Ok(Command::Version));
        assert_eq!(parsed("bench"), Ok(Command::Bench));
        assert!(parsed("bench --fast").is_err());
        assert_eq!(parsed("--version"), Ok(Command::Version));
    }

    /// Every flag in the help text is understood.
    #[test]
    fn every_flag_of_the_help_works() {
        let flags = RUN_HELP.split_whitespace().filter_map(|word| word.strip_prefix("--"));
        let mut flags: Vec<&str> = flags.filter(|flag| *flag != "help").collect();
        flags.sort();
        flags.dedup();
        assert!(flags.len() >= 11, "{flags:?}");
        for flag in flags {
            // A flag of a node follows the node.
            let parsed = parsed(&format!("run --node http://a --{flag} x"));
            assert!(matches!(parsed, Ok(Command::Run(_))), "{flag}: {parsed:?}");
        }
    }

    #[test]
    fn mistakes_are_told_without_values() {
        let error = |line: &str| parsed(line).unwrap_err();
        assert_eq!(error("mine"), "There is no command 'mine'. Say: soloist --help");
        assert_eq!(error("run --wallet x"), "There is no flag --wallet. Did you mean --payout?");
        assert_eq!(error("run --frob"), "There is no flag --frob. Say: soloist --help");
        assert_eq!(error("run --node"), "--node needs a value after it.");
        assert_eq!(
            error("run --zmq tcp://a:1"),
            "--zmq belongs to a node. Write it after the --node that it is about."
        );
        assert_eq!(error("run geheim"), "There is a word too many. Say: soloist --help");
        assert_eq!(error("version now"), "There is a word too many. Say: soloist --help");
        assert!(!error("check --x=geheim").contains("geheim"));
    }
}
