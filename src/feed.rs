//! The update feed and the updates that it names, fetched by HTTP or HTTPS: the sockets and files of
//! [`crate::update`]. Every call blocks: it is for a pool thread.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_io::Timer;
use sha2::{Digest, Sha256};

use crate::fsutil;
use crate::os::board::Disk;
use crate::timeout::within;
use crate::update::{self, Fault, Feed, Fetched, Release, SIGNATURE_MAX};
use crate::web;

/// The public key of this system, by which updates and feeds are signed.
pub const SYSTEM_KEY: &str = "/usr/share/soloist/update.pub";
/// Bytes of a file with a public key.
const KEY_MAX: u64 = 4096;

/// Longest time for the feed, and for its signature.
const FEED_AT_MOST: Duration = Duration::from_secs(30);
/// Longest time for an update.
const UPDATE_AT_MOST: Duration = Duration::from_secs(45 * 60);
/// Longest time without a byte of it.
const SILENCE_AT_MOST: Duration = Duration::from_secs(60);

/// What stays free on the card, beside an update and the system's own copy of it, bytes.
const SPARE: u64 = 32 << 20;
/// So many bytes of an update are on the card before more are written: a solved block waits behind no more.
const AT_ONCE: u64 = 1 << 20;
/// How often is looked whether a download may go on.
const LOOK: Duration = Duration::from_millis(100);

/// Where a feed is, and who is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address of `feed.json`.
    pub url: String,
    /// The file of the public key that it is signed by.
    pub key: PathBuf,
    /// The only certificate that is trusted for HTTPS; `None` for what the system trusts.
    pub certificate: Option<PathBuf>,
}

/// Fetches the feed and its signature, and reads it if it is signed by the right key.
///
/// # Errors
/// See [`Fault`].
pub fn fetch(source: &Source) -> Result<Fetched, Fault> {
    let key = fsutil::read_bounded(&source.key, KEY_MAX);
    let no_key = |error: io::Error| Fault::NoKey(format!("{}: {error}", source.key.display()));
    let key = String::from_utf8(key.map_err(no_key)?).map_err(|_| Fault::BadKey)?;
    let feed = fetch_whole(source, "", update::feed::FEED_MAX)?;
    // A page in the place of both would be told as a wrong signature.
    if is_web_page(&feed) {
        return Err(Fault::WebPage);
    }
    let signature =
        fetch_whole(source, ".minisig", SIGNATURE_MAX).map_err(|fault| match fault {
            Fault::Status(404) | Fault::TooLong(_) => Fault::NoSignature,
            other => other,
        })?;
    update::verify(&key, &feed, &signature)?;
    let text = String::from_utf8(feed).map_err(|_| Fault::NotJson)?;
    Ok(Fetched { feed: Feed::read(text.as_bytes())?, text })
}

fn fetch_whole(source: &Source, end: &str, limit: usize) -> Result<Vec<u8>, Fault> {
    let url = format!("{}{end}", source.url);
    let mut bytes = Vec::new();
    let take = async |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    let fetch = web::fetch(&url, source.certificate.as_deref(), limit as u64, FEED_AT_MOST, take);
    let fetched = async_io::block_on(within(FEED_AT_MOST, fetch));
    fetched.unwrap_or(Err(Fault::Slow(FEED_AT_MOST)))?;
    Ok(bytes)
}

fn is_web_page(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    text.trim_ascii_start().starts_with(b"<")
}

/// A download, as those see it who wait for it.
#[derive(Debug, Default)]
pub struct Download {
    /// Bytes that have come.
    pub bytes: AtomicU64,
    /// Whether it shall wait: a block is on its way to the card.
    pub waits: AtomicBool,
    /// Whether it is given up.
    pub is_over: AtomicBool,
}

/// Where an update lies in the data directory: a directory of its own.
pub fn place(data: &Path) -> PathBuf {
    data.join("update")
}

/// Fetches an update and its signature into their [`place`], where the system takes them from. What lay
/// there before is removed. Nothing about the signature is known then.
///
/// # Errors
/// See [`Fault`]; nothing is left then.
pub fn download(
    release: &Release,
    certificate: Option<&Path>,
    data: &Path,
    progress: &Download,
) -> Result<(), Fault> {
    let done = discard(data).map_err(write_fault).and_then(|()| {
        let dir = place(data);
        DirBuilder::new().mode(0o700).create(&dir).map_err(write_fault)?;
        has_room(&dir, release.size)?;
        async_io::block_on(within(
            UPDATE_AT_MOST,
            fetch_update(release, certificate, &dir, progress),
        ))
        .unwrap_or(Err(Fault::Slow(UPDATE_AT_MOST)))
    });
    if done.is_err() {
        discard(data).ok();
    }
    done
}

/// Removes what was fetched.
///
/// # Errors
/// The system's.
pub fn discard(data: &Path) -> io::Result<()> {
    match fs::remove_dir_all(place(data)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The system makes a copy of it, which nobody else can change, before it looks at its signature.
fn has_room(dir: &Path, size: u64) -> Result<(), Fault> {
    let needed = size.saturating_mul(2).saturating_add(SPARE);
    let free = Disk::of(dir).map_err(write_fault)?.free;
    if free < needed { Err(Fault::NoRoom { needed, free }) } else { Ok(()) }
}

async fn fetch_update(
    release: &Release,
    certificate: Option<&Path>,
    dir: &Path,
    progress: &Download,
) -> Result<(), Fault> {
    let path = dir.join("soloist.update");
    let mut file = create(&path)?;
    let mut hash = Sha256::new();
    let (mut count, mut unsynced) = (0_u64, 0_u64);
    let take = async |piece: &[u8]| {
        may_go_on(progress).await?;
        file.write_all(piece).map_err(write_fault)?;
        hash.update(piece);
        count += piece.len() as u64;
        unsynced += piece.len() as u64;
        if unsynced >= AT_ONCE {
            file.sync_data().map_err(write_fault)?;
            unsynced = 0;
        }
        progress.bytes.store(count, Ordering::Relaxed);
        Ok(())
    };
    web::fetch(&release.url, certificate, release.size, SILENCE_AT_MOST, take).await?;
    if count != release.size {
        return Err(Fault::Length { wanted: release.size, got: count });
    }
    if hash.finalize()[..] != release.sha256 {
        return Err(Fault::Hash);
    }
    file.sync_all().map_err(write_fault)?;
    let mut signature = create(&dir.join("soloist.update.minisig"))?;
    let take = async |piece: &[u8]| signature.write_all(piece).map_err(write_fault);
    let url = format!("{}.minisig", release.url);
    web::fetch(&url, certificate, SIGNATURE_MAX as u64, SILENCE_AT_MOST, take).await?;
    signature.sync_all().map_err(write_fault)
}

fn create(path: &Path) -> Result<File, Fault> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(write_fault)
}

async fn may_go_on(progress: &Download) -> Result<(), Fault> {
    while progress.waits.load(Ordering::Relaxed) && !progress.is_over.load(Ordering::Relaxed) {
        Timer::after(LOOK).await;
    }
    if progress.is_over.load(Ordering::Relaxed) { Err(Fault::Cut) } else { Ok(()) }
}

fn write_fault(error: io::Error) -> Fault {
    Fault::Write(error.to_string())
}
