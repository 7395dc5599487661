//! The node behind the server: mines blocks on demand, and fills its mempool. Bitcoin Core on
//! regtest; nothing needs a wallet, because every coin here can be spent by anybody.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::miner::{hex, sha256d};

/// P2WSH of `OP_TRUE` on regtest.
const ADDRESS: &str = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85";
/// `0 <sha256 of OP_TRUE>`: its script.
const SCRIPT: [u8; 34] = [
    0x00, 0x20, 0x4a, 0xe8, 0x15, 0x72, 0xf0, 0x6e, 0x1b, 0x88, 0xfd, 0x5c, 0xed, 0x7a, 0x1a, 0x00,
    0x09, 0x45, 0x43, 0x2e, 0x83, 0xe1, 0x55, 0x1e, 0x6f, 0x72, 0x1e, 0xe9, 0xc0, 0x0b, 0x8c, 0xc3,
    0x32, 0x60,
];

/// A node's RPC.
#[derive(Clone, Debug)]
pub struct Node {
    host: String,
    credentials: String,
}

impl Node {
    /// From `USER:PASSWORD@HOST:PORT`; a password may be a path to a cookie file, written as
    /// `COOKIE-FILE@HOST:PORT`.
    pub fn new(text: &str) -> io::Result<Node> {
        let wrong = || io::Error::other("a node is USER:PASSWORD@HOST:PORT or COOKIE@HOST:PORT");
        let (credentials, host) = text.rsplit_once('@').ok_or_else(wrong)?;
        let credentials = match credentials.contains(':') {
            true => credentials.to_owned(),
            false => std::fs::read_to_string(credentials)?.trim().to_owned(),
        };
        Ok(Node { host: host.to_owned(), credentials })
    }

    /// One call.
    pub fn call(&self, method: &str, params: &Value) -> io::Result<Value> {
        let answer = self.raw(method, params)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].take()),
            error => Err(io::Error::other(format!("{method}: {error}"))),
        }
    }

    /// The bytes of an answer, unread.
    fn raw(&self, method: &str, params: &Value) -> io::Result<Vec<u8>> {
        self.post(&json!({"method": method, "params": params, "id": 0}).to_string())
    }

    fn post(&self, body: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.host)?;
        stream.set_nodelay(true)?;
        // In one piece: many small ones would wait for one another.
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            base64(self.credentials.as_bytes()),
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n");
        Ok(answer.split_off(body.ok_or_else(|| io::Error::other("no HTTP answer"))? + 4))
    }

    /// Mines one block. With `keep_mempool` it is an empty one, and what waits goes on waiting.
    pub fn mine(&self, keep_mempool: bool) -> io::Result<()> {
        match keep_mempool {
            true => self.call("generateblock", &json!([ADDRESS, []])),
            false => self.call("generatetoaddress", &json!([1, ADDRESS])),
        }
        .map(drop)
    }

    /// Mines blocks for anybody.
    pub fn mine_many(&self, count: u32) -> io::Result<()> {
        self.call("generatetoaddress", &json!([count, ADDRESS])).map(drop)
    }

    /// The tip.
    pub fn tip(&self) -> io::Result<Value> {
        self.call("getbestblockhash", &json!([]))
    }

    /// How long the node takes for the first template on a new tip, answer read whole.
    pub fn template_time(&self, keep_mempool: bool) -> io::Result<Duration> {
        self.mine(keep_mempool)?;
        let started = Instant::now();
        self.raw("getblocktemplate", &json!([{"rules": ["segwit"]}]))?;
        Ok(started.elapsed())
    }

    /// Fills the mempool up to so many transactions of about 190 bytes.
    pub fn fill(&self, count: usize) -> io::Result<()> {
        let waiting = || -> io::Result<usize> {
            let info = self.call("getmempoolinfo", &json!([]))?;
            Ok(info["size"].as_u64().unwrap_or(0) as usize)
        };
        let wanted = count.saturating_sub(waiting()?);
        let splits = wanted.div_ceil(SPLIT);
        if wanted == 0 {
            return Ok(());
        }
        let first = self.call("getblockcount", &json!([]))?.as_u64().unwrap_or(0) + 1;
        self.call("generatetoaddress", &json!([splits + 100, ADDRESS]))?;
        let mut coins = Vec::new();
        let mut splitters = Vec::new();
        for height in first..first + splits as u64 {
            let hash = self.call("getblockhash", &json!([height]))?;
            let block = self.call("getblock", &json!([hash, 2]))?;
            let coinbase = &block["tx"][0];
            let value = coinbase["vout"][0]["value"].as_f64().unwrap_or(0.0) * 1e8;
            let txid = txid(coinbase["txid"].as_str().unwrap_or_default());
            let each = (value as u64 - 100_000) / SPLIT as u64;
            let (tx, id) = spend(txid, 0, &vec![each; SPLIT], 0);
            splitters.push(hex(&tx));
            coins.extend((0..SPLIT).map(|at| (id, at as u32, each)));
        }
        // Blocks may hold what is too large to be relayed.
        for tx in splitters {
            self.call("generateblock", &json!([ADDRESS, [tx]]))?;
        }
        coins.truncate(wanted);
        for some in coins.chunks(500) {
            let send = |(id, at, value): &([u8; 32], u32, u64)| {
                let (tx, _) = spend(*id, *at, &[value - 500 - u64::from(*at)], 60);
                json!({"method": "sendrawtransaction", "params": [hex(&tx), 0], "id": 0})
            };
            self.post(&Value::Array(some.iter().map(send).collect()).to_string())?;
        }
        match waiting()? {
            size if size >= count => Ok(()),
            size => Err(io::Error::other(format!("only {size} transactions in the mempool"))),
        }
    }
}

/// Outputs of a transaction that splits a coinbase.
const SPLIT: usize = 500;

/// A transaction that spends an `OP_TRUE` coin to `OP_TRUE` coins, with so many bytes of padding,
/// and its id.
fn spend(txid: [u8; 32], at: u32, values: &[u64], padding: usize) -> (Vec<u8>, [u8; 32]) {
    let outputs = values.len() + usize::from(padding > 0);
    let mut body = vec![1];
    body.extend_from_slice(&txid);
    body.extend_from_slice(&at.to_le_bytes());
    body.push(0);
    body.extend_from_slice(&0xffff_fffd_u32.to_le_bytes());
    match u8::try_from(outputs).ok().filter(|n| *n < 0xfd) {
        Some(n) => body.push(n),
        None => {
            body.push(0xfd);
            body.extend_from_slice(&(outputs as u16).to_le_bytes());
        }
    }
    for value in values {
        body.extend_from_slice(&value.to_le_bytes());
        body.push(SCRIPT.len() as u8);
        body.extend_from_slice(&SCRIPT);
    }
    if padding > 0 {
        body.extend_from_slice(&0_u64.to_le_bytes());
        body.extend_from_slice(&[padding as u8 + 2, 0x6a, padding as u8]);
        body.extend_from_slice(&vec![0x55; padding]);
    }
    let (version, lock_time) = (2_u32.to_le_bytes(), 0_u32.to_le_bytes());
    let id = sha256d(&[&version[..], &body, &lock_time].concat());
    // Marker, flag, and a witness of one element: the script `OP_TRUE`.
    let tx = [&version[..], &[0, 1], &body, &[1, 1, 0x51], &lock_time].concat();
    (tx, id)
}

fn txid(shown: &str) -> [u8; 32] {
    let mut id = [0; 32];
    for (at, byte) in crate::miner::unhex(shown).into_iter().rev().enumerate().take(32) {
        id[at] = byte;
    }
    id
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            let digit = number >> (18 - 6 * place) & 63;
            out.push(if place <= chunk.len() { DIGITS[digit as usize] as char } else { '=' });
        }
    }
    out
}
