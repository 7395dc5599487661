//! The rules that hold on every connection, whatever the miner says.

use std::collections::HashSet;

use serde_json::Value;
use sv1_api::json_rpc;
use sv1_api::methods::server_to_client;

/// A miner that mines hears a line at least this often.
const LONGEST_SILENCE_MS: u64 = 30_000;
/// NerdMiner's JSON document has 4096 bytes.
const LONGEST_LINE: usize = 3_000;

/// What one miner has been told.
pub struct Watch {
    jobs: HashSet<String>,
    last_ntime: u32,
    prev_hash: String,
    extranonce_bytes: usize,
    difficulty: Option<f64>,
    /// A set_difficulty without its notify.
    announced: bool,
    asked: bool,
    subscribed: bool,
    last_line: u64,
}

impl Watch {
    pub fn new(now: u64) -> Watch {
        Watch {
            jobs: HashSet::new(),
            last_ntime: 0,
            prev_hash: String::new(),
            extranonce_bytes: 0,
            difficulty: None,
            announced: false,
            asked: false,
            subscribed: false,
            last_line: now,
        }
    }

    pub fn miner_says(&mut self, _line: &[u8]) {
        self.asked = true;
    }

    pub fn time_is(&self, now: u64) {
        if !self.jobs.is_empty() {
            assert!(now - self.last_line <= LONGEST_SILENCE_MS, "a silent pool is a dead pool");
        }
    }

    /// What belongs together was sent together.
    pub fn end_of_burst(&self) {
        assert!(!self.announced, "a set_difficulty alone");
    }

    pub fn we_say(&mut self, now: u64, line: &str) {
        self.time_is(now);
        self.last_line = now;
        assert!(self.asked, "nobody is spoken to before it speaks: {line}");
        assert!(line.len() <= LONGEST_LINE, "{} bytes: {line}", line.len());
        let message: Value = serde_json::from_str(line).expect("every line is JSON");
        match message["method"].as_str() {
            None => self.answer(&message),
            Some("mining.set_difficulty") => self.set_difficulty(&message["params"]),
            Some("mining.notify") => self.notify(&message["params"]),
            Some("client.show_message") => {
                assert!(!self.announced, "between a difficulty and its job: {line}");
                assert!(!self.jobs.is_empty(), "news before the first job: {line}");
                let [text] = &message["params"].as_array().unwrap()[..] else { panic!("{line}") };
                assert!(text.as_str().is_some_and(|text| text.len() <= 200), "{line}");
                return;
            }
            Some(other) => panic!("{other} is sent to nobody yet"),
        }
        self.second_opinion(line, &message);
    }

    fn answer(&mut self, message: &Value) {
        assert!(!self.announced, "a set_difficulty is followed by its notify: {message}");
        let keys: Vec<&str> = message.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 3, "{message}");
        assert!(keys.contains(&"id") && keys.contains(&"result") && keys.contains(&"error"));
        match &message["error"] {
            Value::Null => {}
            Value::Array(error) => {
                let [code, words, Value::Null] = &error[..] else { panic!("{message}") };
                let known = matches!(code.as_i64(), Some(20..=25 | -3));
                let words = words.as_str().unwrap();
                assert!(known && (1..=63).contains(&words.len()), "{message}");
                // AxeOS counts by the text: no number that may be another one next time.
                let changing = words.replace("extranonce2", "").replace("1 to 8 hex digits", "");
                assert!(!changing.contains(|c: char| c.is_ascii_digit()), "{message}");
                assert!(message["result"].is_null(), "{message}");
            }
            _ => panic!("{message}"),
        }
        if let Value::Array(subscription) = &message["result"]
            && let [_, extranonce1, extranonce2_size] = &subscription[..]
        {
            let size = extranonce2_size.as_u64().unwrap() as usize;
            assert!([4, 8].contains(&size), "{message}");
            self.extranonce_bytes = extranonce1.as_str().unwrap().len() / 2 + size;
            self.subscribed = true;
        }
    }

    fn set_difficulty(&mut self, params: &Value) {
        assert!(!self.announced, "two set_difficulty before a notify");
        self.announced = true;
        let [difficulty] = &params.as_array().unwrap()[..] else { panic!("{params}") };
        assert!(difficulty.is_number());
        let value = difficulty.as_f64().unwrap();
        assert!(value >= 0.0001, "{params}");
        assert!(value < 1.0 || difficulty.is_u64(), "integers from 1 up: {params}");
        assert!(!difficulty.to_string().contains('.') || !params.to_string().contains('e'));
        assert_ne!(self.difficulty, Some(value), "a change that is none");
        self.difficulty = Some(value);
    }

    fn notify(&mut self, params: &Value) {
        let Value::Array(params) = params else { panic!("{params}") };
        let [id, prev, coinbase1, coinbase2, branch, version, nbits, ntime, clean] = &params[..]
        else {
            panic!("{params:?}")
        };
        assert!(self.subscribed, "work for somebody without an extranonce1");
        assert!(self.difficulty.is_some(), "work without a difficulty");
        let id = id.as_str().unwrap();
        assert!((1..=8).contains(&id.len()) && lower_hex(id), "{id}");
        assert!(self.jobs.insert(id.to_owned()), "job id {id} twice");
        for field in [version, nbits, ntime] {
            let field = field.as_str().unwrap();
            assert!(field.len() == 8 && lower_hex(field), "{field}");
        }
        let ntime = u32::from_str_radix(ntime.as_str().unwrap(), 16).unwrap();
        let prev = prev.as_str().unwrap();
        assert!(prev.len() == 64 && lower_hex(prev), "{prev}");
        let new_header = prev != self.prev_hash || ntime > self.last_ntime;
        assert!(new_header, "ntime moves on, or NerdMiner repeats its headers");
        self.last_ntime = ntime;
        let clean = clean.as_bool().unwrap();
        assert!(clean || prev == self.prev_hash, "a new tip is a clean job");
        assert!(clean || !self.announced, "a new difficulty is a clean job");
        (self.prev_hash, self.announced) = (prev.to_owned(), false);

        let (head, tail) = (coinbase1.as_str().unwrap(), coinbase2.as_str().unwrap());
        assert!(lower_hex(head) && lower_hex(tail));
        assert!(head.len() / 2 < 384 && tail.len() / 2 < 384, "Bitaxe's buffers");
        let size = (head.len() + tail.len()) / 2 + self.extranonce_bytes;
        assert!(size <= 245, "coinbase of {size} bytes");
        assert_ne!(&head[8..12], "0001", "no witness in the coinbase");
        for hash in branch.as_array().unwrap() {
            let hash = hash.as_str().unwrap();
            assert!(hash.len() == 64 && lower_hex(hash), "{hash}");
        }
    }

    /// sv1_api, which we did not write, must understand the line. It knows integer ids only.
    fn second_opinion(&self, line: &str, message: &Value) {
        let is_call = message.get("method").is_some();
        if !is_call && !message["id"].is_u64() {
            return;
        }
        let read: json_rpc::Message = serde_json::from_str(line).expect("sv1_api reads it");
        match (read, message["method"].as_str()) {
            (json_rpc::Message::Notification(call), Some("mining.notify")) => {
                let notify = server_to_client::Notify::try_from(call).expect("a notify");
                let params = &message["params"];
                assert_eq!(notify.job_id, params[0].as_str().unwrap());
                assert_eq!(String::from(notify.prev_hash), params[1].as_str().unwrap());
                assert_eq!(String::from(notify.time), params[7].as_str().unwrap());
                assert_eq!(notify.clean_jobs, params[8].as_bool().unwrap());
            }
            (json_rpc::Message::Notification(call), Some("mining.set_difficulty")) => {
                let level = server_to_client::SetDifficulty::try_from(call).expect("a level");
                assert_eq!(Some(level.value), self.difficulty);
            }
            (json_rpc::Message::OkResponse(answer), None) => {
                assert!(message["error"].is_null(), "{line}");
                if let Some(parts) = message["result"].as_array().filter(|parts| parts.len() == 3) {
                    let read = server_to_client::Subscribe::try_from(&answer).expect("subscribe");
                    assert_eq!(read.extra_nonce2_size as u64, parts[2].as_u64().unwrap());
                }
                if message["result"].get("version-rolling").is_some() {
                    let read = server_to_client::Configure::try_from(&answer).expect("configure");
                    assert!(read.minimum_difficulty.is_none());
                }
            }
            (json_rpc::Message::ErrorResponse(answer), None) => {
                assert_eq!(
                    answer.error.map(|error| error.code.into()),
                    message["error"][0].as_i64()
                );
            }
            (read, _) => panic!("sv1_api takes {line} for {read:?}"),
        }
    }
}

fn lower_hex(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
}
