//! The program: arguments, config, log, and then the command. Everything else is in the library.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::io;
use std::process::ExitCode;

use soloist::cli::{self, Command};
use soloist::commands;
use soloist::config::{self, Flags};
use soloist::exit::{self, Exit};
use soloist::safe_start::SafeStart;
use soloist::{bench, check, daemon, import, ledger, logger, os};

fn main() -> ExitCode {
    #[cfg(panic = "unwind")]
    abort_on_panic();
    let exit = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(flags)) => run(&flags),
        Ok(Command::Check(flags)) => check::run(&flags),
        Ok(Command::CheckLedger { flags, repair, hand_over }) => {
            return commands::ledger::in_data(&flags, |data| {
                ledger::check::run(&ledger::check::Check { data, repair, hand_over }, os::now())
            });
        }
        Ok(Command::SaveCache(flags)) => {
            return commands::ledger::in_data(&flags, ledger::child::serve);
        }
        Ok(Command::Backup { file, passphrase, flags }) => {
            commands::ledger::backup(os::now(), &file, passphrase.as_deref(), &flags)
        }
        Ok(Command::Restore(restore)) => commands::ledger::restore(os::now(), &restore),
        Ok(Command::Export { what, flags }) => commands::ledger::export(os::now(), what, &flags),
        Ok(Command::PairKeepalived { flags, connections }) => {
            commands::pair::keepalived(&flags, &connections)
        }
        Ok(Command::PairReady(page)) => commands::pair::ready(page),
        Ok(Command::PairTickle(file)) => commands::pair::tickle(&file),
        Ok(Command::PairCode) => commands::pair::code(),
        Ok(Command::CheckBoard) => {
            os::boards::tell();
            Exit::Ok
        }
        Ok(Command::Import(args)) => import::run(os::now(), &args),
        #[cfg(feature = "demo")]
        Ok(Command::Demo(args)) => soloist::demo::run(&args),
        Ok(Command::Bench) => {
            let expected = os::boards::Board::of_this_machine().and_then(|board| board.expected());
            bench::run(expected.as_ref(), &mut io::stdout()).map_or(Exit::Output, |()| Exit::Ok)
        }
        Ok(Command::Version) => print(exit::version()),
        Ok(Command::Help(text)) => print(text.trim_end()),
        Err(error) => {
            exit::complain(error);
            Exit::Usage
        }
    };
    exit.if_heard().into()
}

/// As a release, which unwinds nothing, so that systemd starts the program anew: see `[profile.dev]`.
#[cfg(panic = "unwind")]
fn abort_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        std::process::abort();
    }));
}

/// Starts an early log, so that a mistake in the config is heard, then does what the config says.
fn run(flags: &Flags) -> Exit {
    logger::start(log::LevelFilter::Info);
    let start = SafeStart::begin(flags, config::runtime_dir(), os::uptime());
    let loaded = match start.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.0.iter().for_each(|problem| log::error!("{problem}"));
            return Exit::Config;
        }
    };
    logger::set_level(loaded.config.log.level);
    logger::set_format(loaded.config.log.format);
    match &loaded.file {
        Some(file) => log::info!("{}, with {}", exit::version(), file.display()),
        None => log::info!("{}, with the settings of the command line", exit::version()),
    }
    loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let exit = daemon::run(loaded, flags);
    if exit == Exit::Ok {
        start.ended();
    }
    exit
}

fn print(text: &str) -> Exit {
    exit::say(text);
    Exit::Ok
}
