//! Which certificates are trusted for nodes with https.
//!
//! Without a file from the owner: the authorities that the system trusts, or Mozilla's list if the
//! system has none. With a file, exactly its content: a server that shows a certificate of the
//! file, whatever its name, or a certificate that an authority in the file has signed for the name
//! in the URL.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use futures_rustls::rustls::client::WebPkiServerVerifier;
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::node::fault::{RpcError, TlsFault};

/// More bytes than any file of certificates has.
const MAX_FILE: u64 = 1 << 20;

/// Who is trusted: what the owner's file holds if there is one, else the system's authorities. Reads files.
///
/// # Errors
/// The file cannot be used.
pub fn client(certificate: Option<&Path>) -> Result<Arc<ClientConfig>, RpcError> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| RpcError::Tls(TlsFault::Other(error.to_string())))?;
    let config = match certificate {
        None => versions.with_root_certificates(roots()),
        Some(path) => {
            let pinned = Pinned::read(path, provider)
                .map_err(|why| RpcError::Certificate { path: path.display().to_string(), why })?;
            // "Dangerous" is any verifier of one's own.
            versions.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
        }
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

fn roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    // What cannot be read of them is left out: the rest is still better than nothing.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

/// Trusts what the owner's file holds and nothing else.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    /// For what an authority in the file has signed.
    chains: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn read(path: &Path, provider: Arc<CryptoProvider>) -> Result<Pinned, String> {
        let mut pem = Vec::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        file.take(MAX_FILE).read_to_end(&mut pem).map_err(|error| error.to_string())?;
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        if certificates.is_empty() {
            return Err("there is no certificate in it".into());
        }
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
        Ok(Pinned { certificates, chains: chains.build().ok(), provider })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Byte for byte the owner's: neither its name nor its date can make it another.
        if self.certificates.iter().any(|certificate| certificate == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chains {
            Some(chains) => chains.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    // That the other side has the certificate's key.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a handshake's error means. `host` is the URL's, `certificate` the owner's file.
pub fn fault(error: &io::Error, host: &str, certificate: Option<&Path>) -> TlsFault {
    use CertificateError as C;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, certificate) {
        (Some(rustls::Error::InvalidMessage(_)), _) => TlsFault::Plain,
        (Some(rustls::Error::InvalidCertificate(why)), file) => match (why, file) {
            (C::NotValidForName | C::NotValidForNameContext { .. }, _) => {
                TlsFault::Name(host.to_owned())
            }
            (
                C::Expired
                | C::ExpiredContext { .. }
                | C::NotValidYet
                | C::NotValidYetContext { .. },
                _,
            ) => TlsFault::Date,
            (_, Some(file)) => TlsFault::NotPinned(file.display().to_string()),
            (_, None) => TlsFault::Untrusted,
        },
        (Some(other), _) => TlsFault::Other(other.to_string()),
        (None, _) if error.kind() == io::ErrorKind::UnexpectedEof => {
            TlsFault::Other("the other side ended it".into())
        }
        (None, _) => TlsFault::Other(error.to_string()),
    }
}
