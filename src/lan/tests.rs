use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::devices::{axeos, cgminer};

/// A device that answers each of these connections with these bytes, and then closes it. Returns what it
/// was sent.
fn device(answers: Vec<Vec<u8>>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serve = move || {
        let mut heard = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).unwrap();
            heard.push(String::from_utf8_lossy(&chunk[..count]).into_owned());
            // Whoever is not listened to any more is no fault here.
            stream.write_all(&answer).ok();
        }
        heard
    };
    (at, thread::spawn(serve))
}

fn http(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes()
}

fn place(at: SocketAddr) -> Place {
    Place { ip: at.ip(), port: Some(at.port()) }
}

#[test]
fn a_device_is_asked_as_a_device_wants_it() {
    let answer = http("200 OK\r\nTransfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n");
    let (at, heard) = device(vec![answer]);
    let answers = smol::block_on(ask(place(at), Api::Http)).unwrap();
    assert_eq!(answers, [Answer { to: axeos::INFO, body: b"{}".to_vec() }]);
    let heard = heard.join().unwrap().remove(0).to_ascii_lowercase();
    assert!(heard.starts_with("get /api/system/info http/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: {at}\r\n")), "{heard}");
    assert!(!heard.contains("origin"), "AxeOS refuses most of them");
}

#[test]
fn a_change_is_sent_with_its_length() {
    let (at, heard) = device(vec![http("200 OK\r\nContent-Length: 0", "")]);
    let body = r#"{"stratumPort":3333}"#;
    let reply = smol::block_on(request(at, Method::PATCH, "/api/system", body)).unwrap();
    assert_eq!(reply, Reply { status: 200, body: Vec::new() });
    let heard = heard.join().unwrap().remove(0).to_ascii_lowercase();
    assert!(heard.starts_with("patch /api/system http/1.1\r\n"), "{heard}");
    assert!(heard.contains("content-length: 20\r\n") && heard.contains("application/json"));
}

#[test]
fn what_is_no_answer_is_told_as_what_it_is() {
    let endless = |length: usize| http("200 OK", &"a".repeat(length));
    for (answer, fault) in [
        (http("302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0", ""), 302),
        (http("401 Unauthorized\r\nContent-Length: 12", "Unauthorized"), 401),
    ] {
        let (at, heard) = device(vec![answer]);
        assert_eq!(smol::block_on(ask(place(at), Api::Http)), Err(Fault::Status(fault)));
        heard.join().unwrap();
    }
    for (answer, fault) in [
        (endless(ANSWER_MAX + 1), Fault::TooLong),
        (http("200 OK\r\nContent-Length: 10000000", &"a".repeat(ANSWER_MAX * 2)), Fault::TooLong),
        (http("200 OK\r\nContent-Length: 100", "cut"), Fault::Broken),
        (b"SSH-2.0-nonsense\r\n".to_vec(), Fault::Broken),
        (Vec::new(), Fault::Broken),
    ] {
        let (at, heard) = device(vec![answer]);
        assert_eq!(smol::block_on(ask(place(at), Api::Http)), Err(fault));
        heard.join().unwrap();
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(smol::block_on(ask(place(closed), Api::Http)), Err(Fault::Closed(closed.port())));
}

#[test]
fn a_longest_answer_is_taken() {
    let (at, heard) = device(vec![http("200 OK", &"a".repeat(ANSWER_MAX))]);
    let answers = smol::block_on(ask(place(at), Api::Http)).unwrap();
    assert_eq!(answers[0].body.len(), ANSWER_MAX);
    heard.join().unwrap();
}

#[test]
fn each_command_of_cgminers_api_has_a_connection_of_its_own() {
    let answer = |to: &str| format!("{{\"answers\":\"{to}\"}}\0").into_bytes();
    let (at, heard) = device(cgminer::COMMANDS.iter().map(|to| answer(to)).collect());
    let answers = smol::block_on(ask(place(at), Api::Cgminer)).unwrap();
    for (place, to) in cgminer::COMMANDS.into_iter().enumerate() {
        assert_eq!(answers[place], Answer { to, body: answer(to) });
    }
    let heard = heard.join().unwrap();
    assert_eq!(heard[0], format!("{{\"command\":\"{}\"}}", cgminer::COMMANDS[0]));
}

#[test]
fn one_command_that_is_answered_is_enough_and_an_endless_one_ends() {
    let mut answers: Vec<Vec<u8>> = cgminer::COMMANDS.iter().map(|_| Vec::new()).collect();
    answers[1] = b"{}".to_vec();
    answers[0] = vec![b'a'; ANSWER_MAX * 2];
    let (at, heard) = device(answers);
    let answers = smol::block_on(ask(place(at), Api::Cgminer)).unwrap();
    assert_eq!(answers, [Answer { to: cgminer::COMMANDS[1], body: b"{}".to_vec() }]);
    heard.join().unwrap();
}
