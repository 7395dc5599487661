//! Any line: it is understood or refused, and what is answered is one line of JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use soloist::reject::Reject;
use soloist::stratum::message::{Message, Method, parse};
use soloist::stratum::reply;

fuzz_target!(|line: &[u8]| {
    let line = soloist::stratum::frame::text(line);
    let mut out = Vec::new();
    match parse(&line) {
        Ok(Message::Request(request)) => {
            reply::accepted(&mut out, request.id);
            if let Method::Submit(submit) = request.method {
                let mut extranonce2 = [0; 8];
                submit.extranonce2(&mut extranonce2);
            }
        }
        Ok(Message::Response(_)) => return,
        Err(bad) => reply::rejected(&mut out, bad.id, &Reject::Malformed(bad.fault)),
    }
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    let answer: serde_json::Value = serde_json::from_slice(&out).expect("an answer is JSON");
    assert!(answer["id"].is_null() || answer.get("id").is_some());
});
