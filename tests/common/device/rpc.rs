//! The API of cgminer: one connection for each question, an answer in JSON with a NUL behind it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Inner, Kind};

pub(super) fn answer(inner: &Inner, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    // No line ends a question: it is all that comes at once.
    let mut asked = vec![0; 4_096];
    let length = stream.read(&mut asked)?;
    asked.truncate(length);
    inner.state().requests.push(String::from_utf8_lossy(&asked).into_owned());
    let told = inner.state().firmware.info();
    let asked: Value = serde_json::from_slice(&asked).unwrap_or_default();
    let command = asked["command"].as_str().unwrap_or_default();
    let answer = match command.split('+').collect::<Vec<_>>()[..] {
        // Antminers take one at a time.
        [_, _, ..] if inner.kind == Kind::Antminer => unknown(),
        [one] => told.get(one).cloned().unwrap_or_else(unknown),
        ref several => {
            let answers = several.iter().map(|one| {
                let answer = told.get(*one).cloned().unwrap_or_else(unknown);
                ((*one).to_owned(), json!([answer]))
            });
            let mut answers: Map<String, Value> = answers.collect();
            answers.insert("id".to_owned(), json!(1));
            Value::Object(answers)
        }
    };
    let mut text = answer.to_string();
    if inner.kind == Kind::Antminer {
        // What theirs leave out.
        text = text.replace("},{", "}{");
    }
    stream.write_all(text.as_bytes())?;
    stream.write_all(&[0])?;
    stream.shutdown(Shutdown::Write)
}

fn unknown() -> Value {
    json!({"STATUS": [{"STATUS": "E", "When": 1, "Code": 14, "Msg": "Invalid command",
        "Description": "cgminer 4.11.1"}], "id": 1})
}
