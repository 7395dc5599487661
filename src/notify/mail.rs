//! E-mail: one message to one mail server, by lettre.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::SmtpTransport;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, Transport};

use super::send::SendError;
use super::sink::{Encryption, Mail};

/// Hands a message to its server. Blocks: each step, of which there are about ten, may take `patience`.
///
/// # Errors
/// See [`SendError`]. What the server said is told as its number alone: its words may repeat a name.
pub(super) fn deliver(
    mail: &Mail,
    trusted: &[Certificate],
    patience: Duration,
) -> Result<(), SendError> {
    let message = Message::builder()
        .from(mailbox(&mail.name, &mail.from)?)
        .to(mail.to.parse().map_err(|_| SendError::Url)?)
        .subject(mail.subject.as_str())
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text.clone())
        .map_err(|_| SendError::Url)?;
    let mut parameters =
        TlsParameters::builder(mail.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
    for certificate in trusted {
        parameters = parameters.add_root_certificate(certificate.clone());
    }
    let parameters = parameters.build().map_err(|error| SendError::Tls(io::Error::other(error)))?;
    let tls = match mail.encryption {
        Encryption::FromTheStart => Tls::Wrapper(parameters),
        Encryption::Demanded => Tls::Required(parameters),
        Encryption::Welcome => Tls::Opportunistic(parameters),
    };
    let mut server = SmtpTransport::builder_dangerous(mail.host.as_str())
        .port(mail.port)
        .tls(tls)
        // Its own name says nothing about the house.
        .hello_name(ClientId::Domain("soloist.local".to_owned()))
        .timeout(Some(patience));
    if let Some((user, password)) = &mail.login {
        server = server.credentials(Credentials::new(user.clone(), password.clone()));
    }
    server.build().send(&message).map(drop).map_err(|error| explain(&error))
}

/// The box's name before its address, as people see it.
fn mailbox(name: &str, address: &str) -> Result<Mailbox, SendError> {
    let address = address.parse().map_err(|_| SendError::Url)?;
    Ok(Mailbox::new(Some(name.to_owned()), address))
}

fn explain(error: &lettre::transport::smtp::Error) -> SendError {
    if let Some(code) = error.status() {
        let code = StatusCode::from_u16(code.into()).map_or(0, |code| code.as_u16());
        return SendError::Refused(code);
    }
    if error.is_timeout() || is_late(error) {
        return SendError::Timeout;
    }
    // The cause beneath: the system's words, or TLS's.
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    if error.is_tls() {
        return SendError::Tls(io::Error::other(cause));
    }
    if error.is_client() || error.is_response() {
        return SendError::Mail(cause);
    }
    SendError::Connect(io::Error::other(cause))
}

/// Whether a socket's own time limit lies beneath: it shows as "would block".
fn is_late(error: &lettre::transport::smtp::Error) -> bool {
    use io::ErrorKind::{TimedOut, WouldBlock};
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(error.kind(), WouldBlock | TimedOut)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread::{self, JoinHandle};

    use futures_rustls::rustls::crypto::ring;
    use futures_rustls::rustls::pki_types::PrivateKeyDer;
    use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A mail server for one connection. `refuse` is a command and the answer that it gets instead of
    /// consent; the server gives back all lines that it was sent.
    fn serve(refuse: Option<(&'static str, &'static str)>) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            talk(stream, refuse)
        });
        (port, thread)
    }

    fn talk(stream: impl Read + Write, refuse: Option<(&str, &str)>) -> Vec<String> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        fn say(stream: &mut BufReader<impl Read + Write>, text: &str) {
            stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).unwrap();
            stream.get_mut().flush().unwrap();
        }
        say(&mut stream, "220 mail.example.org ESMTP");
        let mut letter = false;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return lines;
            }
            let line = line.trim_end().to_owned();
            lines.push(line.clone());
            let refused = refuse.filter(|(command, _)| line.starts_with(command));
            match line.split([' ', ':']).next().unwrap_or_default() {
                _ if letter && line != "." => {}
                _ if refused.is_some() => say(&mut stream, refused.unwrap().1),
                "EHLO" => say(&mut stream, "250-mail.example.org\r\n250 AUTH PLAIN LOGIN"),
                "DATA" => {
                    letter = true;
                    say(&mut stream, "354 go on");
                }
                "AUTH" => say(&mut stream, "235 welcome"),
                "QUIT" => {
                    say(&mut stream, "221 bye");
                    return lines;
                }
                _ => {
                    letter = false;
                    say(&mut stream, "250 fine");
                }
            }
        }
    }

    fn mail(port: u16) -> Mail {
        Mail {
            host: "127.0.0.1".to_owned(),
            port,
            encryption: Encryption::Welcome,
            login: None,
            from: "box@example.org".to_owned(),
            to: "Anna <anna@example.org>".to_owned(),
            name: "solo".to_owned(),
            subject: "solo: Block found".to_owned(),
            text: "By γ: 3.125 BTC.\n.\nQUIT".to_owned(),
        }
    }

    #[test]
    fn a_letter_arrives_whole_at_a_server_without_encryption() {
        let (port, server) = serve(None);
        deliver(&mail(port), &[], PATIENCE).unwrap();
        let lines = server.join().unwrap();
        assert!(lines.contains(&"MAIL FROM:<box@example.org>".to_owned()), "{lines:?}");
        assert!(lines.contains(&"RCPT TO:<anna@example.org>".to_owned()), "{lines:?}");
        assert!(lines.contains(&"Subject: solo: Block found".to_owned()), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("Date: ")), "{lines:?}");
        // A line of one dot would end the letter, and what follows would be commands.
        let (end, quit) =
            (lines.iter().rposition(|l| l == "."), lines.iter().position(|l| l == "QUIT"));
        assert!(
            end.is_some() && lines.iter().filter(|line| *line == ".").count() == 1,
            "{lines:?}"
        );
        assert!(quit.is_none_or(|quit| quit != lines.len() - 1 || Some(quit) > end), "{lines:?}");
    }

    #[test]
    fn each_refusal_is_told_by_its_number_and_nothing_else() {
        for (command, answer, code) in [
            ("EHLO", "421 no anna@example.org here", 421),
            ("MAIL", "550 no anna@example.org here", 550),
            ("RCPT", "451 later, anna@example.org", 451),
            ("DATA", "554 spam from anna@example.org", 554),
        ] {
            let (port, server) = serve(Some((command, answer)));
            let error = deliver(&mail(port), &[], PATIENCE).unwrap_err();
            assert!(
                matches!(error, SendError::Refused(told) if told == code),
                "{command}: {error}"
            );
            assert!(!error.to_string().contains("anna"), "{error}");
            server.join().unwrap();
        }
    }

    #[test]
    fn a_password_is_never_sent_in_the_clear() {
        let (port, server) = serve(None);
        let login = Some(("anna".to_owned(), "geheim".to_owned()));
        let mail = Mail { encryption: Encryption::Demanded, login, ..mail(port) };
        let error = deliver(&mail, &[], PATIENCE).unwrap_err();
        assert!(matches!(error, SendError::Mail(_) | SendError::Tls(_)), "{error:?}");
        let lines = server.join().unwrap();
        assert!(!lines.iter().any(|line| line.starts_with("AUTH")), "{lines:?}");
    }

    /// A server that encrypts from the start, with a certificate for 127.0.0.1.
    fn serve_tls() -> (u16, Certificate, JoinHandle<Vec<String>>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let tls = ServerConnection::new(Arc::new(config)).unwrap();
            let stream: StreamOwned<ServerConnection, TcpStream> = StreamOwned::new(tls, stream);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| talk(stream, None)))
                .unwrap_or_default()
        });
        (port, Certificate::from_der(certificate.der().to_vec()).unwrap(), thread)
    }

    #[test]
    fn a_login_goes_over_tls_to_a_server_that_is_trusted() {
        let (port, certificate, server) = serve_tls();
        let login = Some(("anna".to_owned(), "geheim".to_owned()));
        let mail = Mail { encryption: Encryption::FromTheStart, login, ..mail(port) };
        deliver(&mail, &[certificate], PATIENCE).unwrap();
        let lines = server.join().unwrap();
        // BASE64 of "\0anna\0geheim", RFC 4616.
        assert!(lines.contains(&"AUTH PLAIN AGFubmEAZ2VoZWlt".to_owned()), "{lines:?}");
        assert!(lines.iter().any(|line| line == "DATA"), "{lines:?}");
    }

    #[test]
    fn where_nobody_listens_or_speaks_otherwise_it_is_told() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = deliver(&mail(closed), &[], PATIENCE).unwrap_err();
        assert!(matches!(error, SendError::Connect(_)), "{error:?}");
        assert!(error.to_string().contains("refused"), "{error}");

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let error = deliver(&mail(port), &[], PATIENCE).unwrap_err();
        assert!(matches!(error, SendError::Mail(_) | SendError::Connect(_)), "{error:?}");
        server.join().unwrap();

        // It takes the connection and says nothing.
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = mute.local_addr().unwrap().port();
        let error = deliver(&mail(port), &[], Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, SendError::Timeout), "{error:?}");
    }
}
