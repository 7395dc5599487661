//! Checks the file of the certificate that is trusted for a node's https.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use futures_rustls::rustls::RootCertStore;
use futures_rustls::rustls::pki_types::CertificateDer;
use futures_rustls::rustls::pki_types::pem::PemObject;

use super::problem::{At, Problem, Wrong};

/// A certificate's file as it was written, for whoever can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// The file.
    pub path: PathBuf,
    pub(super) at: At,
    pub(super) key: String,
}

/// More than any certificate with its chain has.
const MAX_FILE: u64 = 256 * 1024;

impl CertificateFile {
    /// Reads the file and looks for a certificate in it.
    ///
    /// # Errors
    /// What is wrong with it, where it was written, and what to write instead.
    pub(super) fn check(&self) -> Result<(), Problem> {
        read(&self.path).and_then(|text| holds_certificates(&text)).map_err(|(what, instead)| {
            Problem { at: self.at.clone(), key: self.key.clone(), what, instead }
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Wrong> {
    let wrong = |why: String| {
        let what = format!("{} cannot be read ({why})", path.display());
        (what, "Write the path of a PEM file that the user of soloist can read.".to_owned())
    };
    let data = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    // Whatever else it is (a pipe, say) might never end.
    if !data.is_file() {
        return Err(wrong("it is not a file".to_owned()));
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    match read {
        Err(error) => Err(wrong(error.to_string())),
        Ok(length) if length as u64 > MAX_FILE => Err(wrong("it is too long".to_owned())),
        Ok(_) => Ok(text),
    }
}

/// The parser's own words are not shown: they may quote the file, which may hold a key.
fn holds_certificates(text: &[u8]) -> Result<(), Wrong> {
    const INSTEAD: &str = "Write the path of the certificate's own file: text that begins with \
                           -----BEGIN CERTIFICATE-----.";
    let wrong = |what: &str| Err((what.to_owned(), INSTEAD.to_owned()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let added = certificate.is_ok_and(|certificate| store.add(certificate).is_ok());
        if !added {
            return wrong("a certificate in the file is damaged");
        }
    }
    if !store.is_empty() {
        return Ok(());
    }
    let has = |words: &[u8]| text.windows(words.len()).any(|part| part == words);
    match has(b"PRIVATE KEY-----") {
        true => wrong("the file holds a key, but no certificate"),
        false => wrong("the file holds no certificate in PEM form"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> (String, String) {
        let own = rcgen::generate_simple_self_signed(["node.local".to_owned()]).unwrap();
        (own.cert.pem(), own.signing_key.serialize_pem())
    }

    #[test]
    fn certificates_are_told_from_all_else() {
        let (cert, key) = pem();
        let of = |text: &str| holds_certificates(text.as_bytes()).map_err(|(what, _)| what);
        assert_eq!(of(&cert), Ok(()));
        assert_eq!(of(&format!("Words before it.\n{cert}\n{cert}{key}")), Ok(()));
        let (other, _) = pem();
        assert_eq!(of(&format!("{cert}{other}")), Ok(()));
        for (text, word) in [
            (key.as_str(), "a key, but no certificate"),
            ("", "no certificate in PEM form"),
            ("0\u{82}\u{1}", "no certificate in PEM form"),
            (&cert.replace("MII", "AAA"), "damaged"),
            (&cert[..cert.len() / 2], "damaged"),
        ] {
            let what = of(text).unwrap_err();
            assert!(what.contains(word), "{what}");
        }
    }

    #[test]
    fn only_files_of_some_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("long");
        std::fs::write(&long, vec![b'x'; MAX_FILE as usize + 1]).unwrap();
        for (path, word) in [
            (&dir.path().join("none"), "No such file"),
            (&long, "too long"),
            (&"/dev/zero".into(), "not a file"),
        ] {
            let (what, _) = read(path).unwrap_err();
            assert!(what.contains(word), "{what}");
        }
    }
}
