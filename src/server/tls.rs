//! The box's own certificate: made at the first start, used by every port that speaks TLS.
//!
//! It is stored in a directory as two PEM files, `cert.pem` and `key.pem`. An owner with a better
//! one (for example from his own CA) replaces both; they are read again when they change, without a
//! restart. Our own certificate is self-signed on P-256; a miner is configured to trust this
//! certificate itself (AxeOS: "custom certificate"). It does not expire within the life of the box,
//! because a Pi may not know the date, and a miner that was given it by hand should never need
//! another.
//!
//! ```no_run
//! use soloist::server::tls::Certificate;
//! use std::path::Path;
//!
//! let names = ["soloist.local".to_owned(), "192.168.1.5".to_owned()];
//! let certificate = Certificate::load_or_make(Path::new("data/tls"), &names)?;
//! println!("{}", certificate.pem());
//! # Ok::<(), soloist::server::tls::TlsError>(())
//! ```

use std::cell::RefCell;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures_rustls::rustls::{self, ServerConfig};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::fsutil::{self, ReplaceError, Rights};
use crate::os;

/// The longest file that is read. A certificate with its chain has a few kilobytes.
const MAX_FILE: u64 = 256 * 1024;

/// Why there is no certificate to use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written. Usual cause: the rights of the directory, a full card.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file holds something else. Usual cause: it was damaged, or is not PEM.
    #[error("{}: {what}; remove it and its companion to have new ones made", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Certificate and key do not belong together. Usual cause: only one of the two was replaced.
    #[error("cert.pem and key.pem cannot be used together: {0}")]
    Pair(rustls::Error),
    /// None could be made. Usual cause: the system has no random numbers.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate with its key, as it lies on the card. See the module's description.
///
/// What was read last stays in use when later files cannot be read.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    current: RefCell<Current>,
}

#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Clone, Debug)]
struct Current {
    stamp: Option<Stamp>,
    pem: Arc<str>,
    config: Arc<ServerConfig>,
}

/// By which a changed file is known: when each was written, and its length.
type Stamp = [(SystemTime, u64); 2];

impl Certificate {
    /// Reads the files in `dir`, or makes them if neither is there: for `names`, which are host
    /// names and IP addresses as text. Touches the disk.
    ///
    /// # Errors
    /// See [`TlsError`]. Files that are there and cannot be used are not overwritten.
    pub fn load_or_make(dir: &Path, names: &[String]) -> Result<Certificate, TlsError> {
        let files = Files { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
        if !files.cert.exists() && !files.key.exists() {
            make(dir, &files, names)?;
        }
        let current = read(&files)?;
        Ok(Certificate { files, current: RefCell::new(current) })
    }

    /// What a TLS server needs now. If the files changed, they are read again first, on a pool
    /// thread; if they cannot be used, that is logged once and the last good ones stay.
    pub async fn config(&self) -> Arc<ServerConfig> {
        let (files, known) = (self.files.clone(), self.current.borrow().stamp);
        let changed = blocking::unblock(move || {
            let stamp = stamp(&files);
            (stamp != known).then(|| (stamp, read(&files)))
        });
        match changed.await {
            None => {}
            Some((_, Ok(fresh))) => {
                log::info!("{} was read again", self.files.cert.display());
                *self.current.borrow_mut() = fresh;
            }
            Some((stamp, Err(error))) => {
                log::error!("the changed certificate is not used: {error}");
                self.current.borrow_mut().stamp = stamp;
            }
        }
        self.current.borrow().config.clone()
    }

    /// The certificate that is in use, as PEM, for owners to paste into their miners.
    pub fn pem(&self) -> Arc<str> {
        self.current.borrow().pem.clone()
    }

    /// Where the certificate lies.
    pub fn path(&self) -> &Path {
        &self.files.cert
    }

    /// Those of `names` that the certificate was not made for: a client that goes there and
    /// compares names will refuse it.
    pub fn lacks(&self, names: &[String]) -> Vec<String> {
        let pem = self.pem();
        let Ok(cert) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return Vec::new() };
        let covers = |name: &&String| {
            let entry = subject_entry(name);
            cert.windows(entry.len()).any(|window| window == entry)
        };
        names.iter().filter(|name| !covers(name)).cloned().collect()
    }
}

/// By which names clients may come to this machine: its host name, `soloist.local` (the image's),
/// `localhost` and all its addresses.
pub fn local_names() -> Vec<String> {
    let mut names = vec!["soloist.local".to_owned()];
    if let Some(host) = os::hostname() {
        names.push(format!("{host}.local"));
        names.push(host);
    }
    names.extend(os::addresses().iter().map(IpAddr::to_string));
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let mut seen = Vec::new();
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(name.clone());
        is_new
    });
    names
}

/// How a subject alternative name stands in a certificate (RFC 5280): its tag, length and bytes.
fn subject_entry(name: &str) -> Vec<u8> {
    let (tag, bytes) = match name.parse() {
        Ok(IpAddr::V4(ip)) => (0x87, ip.octets().to_vec()),
        Ok(IpAddr::V6(ip)) => (0x87, ip.octets().to_vec()),
        Err(_) => (0x82, name.as_bytes().to_vec()),
    };
    [&[tag, bytes.len() as u8], bytes.as_slice()].concat()
}

fn make(dir: &Path, files: &Files, names: &[String]) -> Result<(), TlsError> {
    // What is no host name (one with an underscore's cousin, say) would spoil the whole.
    let is_name = |name: &&String| {
        !name.is_empty() && name.len() < 128 && name.is_ascii() && !name.contains([' ', '/'])
    };
    let names: Vec<String> = names.iter().filter(is_name).cloned().collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Soloist");
    // From before any clock that could be wrong, to the last year that every parser reads.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::File { path, error }
    };
    let write = |path: &Path, text: String, rights| {
        fsutil::replace(path, text.as_bytes(), rights)
            .map_err(|ReplaceError { path, source }| TlsError::File { path, error: source })
    };
    fsutil::create_directory(dir).map_err(at(dir))?;
    // The key first: a certificate stands for a pair that is whole.
    write(&files.key, key.serialize_pem(), Rights::Set(0o600))?;
    write(&files.cert, cert.pem(), Rights::Set(0o644))
}

fn stamp(files: &Files) -> Option<Stamp> {
    let of = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    Some([of(&files.cert)?, of(&files.key)?])
}

fn read(files: &Files) -> Result<Current, TlsError> {
    // Before the files themselves: what changes meanwhile is seen as changed.
    let stamp = stamp(files);
    let pem = text(&files.cert)?;
    let content = |path: &Path, what: String| TlsError::Content { path: path.to_owned(), what };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| content(&files.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(content(&files.cert, "there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(text(&files.key)?.as_bytes())
        .map_err(|error| content(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Pair)?;
    Ok(Current { stamp, pem: pem.into(), config: Arc::new(config) })
}

fn text(path: &Path) -> Result<String, TlsError> {
    let file = |error| TlsError::File { path: path.to_owned(), error };
    if fs::metadata(path).map_err(file)?.len() > MAX_FILE {
        let what = "it is too long".to_owned();
        return Err(TlsError::Content { path: path.to_owned(), what });
    }
    let bytes = fs::read(path).map_err(file)?;
    let what = "it is not text".to_owned();
    String::from_utf8(bytes).map_err(|_| TlsError::Content { path: path.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use std::os::unix::fs::PermissionsExt;

    fn names() -> Vec<String> {
        ["soloist.local", "192.168.1.5", "fd00::5"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_certificate_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = Certificate::load_or_make(&dir.path().join("tls"), &names()).unwrap();
        let again = Certificate::load_or_make(&dir.path().join("tls"), &[]).unwrap();
        assert_eq!(first.pem(), again.pem());
        assert!(first.pem().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(first.pem().len() < 1200, "a miner's form takes little: {}", first.pem().len());
        let key = fs::metadata(dir.path().join("tls/key.pem")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        assert_eq!(first.lacks(&names()), [""; 0]);
        let others = ["192.168.1.6".to_owned(), "other.local".to_owned()];
        assert_eq!(first.lacks(&others), others);
    }

    #[test]
    fn changed_files_are_read_again_and_bad_ones_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (dir.path().join("a"), dir.path().join("b"));
        let certificate = Certificate::load_or_make(&ours, &names()).unwrap();
        let config = block_on(certificate.config());
        assert!(Arc::ptr_eq(&config, &block_on(certificate.config())));
        // Only one of the two: they do not fit, and the old ones stay.
        Certificate::load_or_make(&other, &names()).unwrap();
        fs::copy(other.join("cert.pem"), ours.join("cert.pem")).unwrap();
        assert!(Arc::ptr_eq(&config, &block_on(certificate.config())));
        fs::copy(other.join("key.pem"), ours.join("key.pem")).unwrap();
        let fresh = block_on(certificate.config());
        assert!(!Arc::ptr_eq(&config, &fresh));
        assert_eq!(&*certificate.pem(), fs::read_to_string(other.join("cert.pem")).unwrap());
        fs::write(ours.join("cert.pem"), "nonsense").unwrap();
        assert!(Arc::ptr_eq(&fresh, &block_on(certificate.config())));
        fs::remove_file(ours.join("key.pem")).unwrap();
        assert!(Arc::ptr_eq(&fresh, &block_on(certificate.config())));
    }

    #[test]
    fn files_that_are_there_are_never_overwritten() {
        for (cert, key) in [(Some("x"), None), (None, Some("x")), (Some(""), Some(""))] {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in [("cert.pem", cert), ("key.pem", key)] {
                if let Some(text) = text {
                    fs::write(dir.path().join(name), text).unwrap();
                }
            }
            let error = Certificate::load_or_make(dir.path(), &names()).unwrap_err();
            println!("{error}");
            assert_eq!(fs::read_to_string(dir.path().join("cert.pem")).ok().as_deref(), cert);
            assert_eq!(fs::read_to_string(dir.path().join("key.pem")).ok().as_deref(), key);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Certificate::load_or_make(file.path(), &names()).is_err());
    }
}
