//! A figure held against a limit: what must hold between two builds that were measured in turn.

use std::io::{self, BufRead};

use serde_json::Value;

use crate::table::{median, show};

/// What must hold.
#[derive(Clone, Debug)]
pub struct Limit {
    /// A figure of the lines that has percentiles, such as `last_job_ms`.
    pub figure: String,
    /// Measured with a full mempool, or with an empty one.
    pub full: bool,
    /// The build that is held to it, and the one that it is held against.
    pub name: String,
    pub than: String,
    pub bound: Bound,
}

/// The most that the build's median may be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    Most(f64),
    /// So many times the other's median, and so many ms.
    Other {
        factor: f64,
        plus: f64,
    },
}

/// Reads lines from standard input and says whether the limit holds. Errors: it is broken, or there is
/// no figure.
pub fn hold(limit: &Limit) -> io::Result<()> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for line in io::stdin().lock().lines() {
        let Ok(line) = serde_json::from_str::<Value>(&line?) else { continue };
        let value = line[&limit.figure]["p50"].as_f64();
        let full = line.get("full_last_ms").is_some();
        let (Some(value), true) = (value, full == limit.full) else { continue };
        match line["name"].as_str() {
            Some(name) if name == limit.name => own.push(value),
            Some(name) if name == limit.than => others.push(value),
            _ => {}
        }
    }
    let Limit { figure, full, name, than, bound } = limit;
    let what = format!("{figure}{}", if *full { ", full mempool" } else { "" });
    let median = |name: &str, values: &[f64]| match values.is_empty() {
        true => Err(io::Error::other(format!("{what}: {name} has no figure"))),
        false => Ok(median(values)),
    };
    let own = median(name, &own)?;
    let (words, most) = match *bound {
        Bound::Most(most) => (format!("at most {}", show(most)), most),
        Bound::Other { factor, plus } => {
            let other = median(than, &others)?;
            let plus_words = if plus > 0.0 { format!(" + {plus} ms") } else { String::new() };
            let words = format!("{than} {}, at most {factor} times that{plus_words}", show(other));
            (words, other * factor + plus)
        }
    };
    let verdict = if own <= most { "holds" } else { "BROKEN" };
    println!("{verdict}: {what}: {name} {}; {words}", show(own));
    if own <= most { Ok(()) } else { Err(io::Error::other(format!("{what} is over its limit"))) }
}
