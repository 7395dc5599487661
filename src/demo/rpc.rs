//! The sandbox node's JSON-RPC: one request in, one answer out, in the words of Bitcoin Core.

use std::time::Duration;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Block, BlockHash};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chain::{Outcome, Proposal, SandboxChain};

/// A JSON-RPC 1.0 request.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// Given back unchanged.
    #[serde(default)]
    pub id: Value,
    /// Name of the method.
    pub method: String,
    /// Positional arguments.
    #[serde(default)]
    pub params: Vec<Value>,
}

/// A JSON-RPC error with Core's code and words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// Core's code, from `rpc/protocol.h`.
    pub code: i64,
    /// Core's words.
    pub message: String,
}

/// What a request did to the chain, for those who wait for news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A block was handed in.
    Submitted(BlockHash, Outcome),
    /// The preference among branches may have changed.
    Preferred,
}

impl Request {
    /// Reads a request. Errors: not JSON (-32700), or not a request (-32600).
    pub fn parse(body: &[u8]) -> Result<Request, Failure> {
        let value: Value =
            serde_json::from_slice(body).map_err(|_| failure(-32700, "Parse error"))?;
        serde_json::from_value(value).map_err(|_| failure(-32600, "Invalid Request object"))
    }

    /// The `longpollid` that a `getblocktemplate` carries.
    pub fn longpoll_id(&self) -> Option<&str> {
        let argument = self.params.first().filter(|_| self.method == "getblocktemplate")?;
        argument.get("longpollid")?.as_str()
    }

    /// For how long a `waitfornewblock` waits at most; a day where it says nothing or 0. `None` for
    /// other methods, and for what is no time.
    pub fn patience(&self) -> Option<Duration> {
        if self.method != "waitfornewblock" {
            return None;
        }
        let ms = self.params.first().map_or(Some(0), Value::as_u64)?;
        Some(Duration::from_millis(if ms == 0 { 86_400_000 } else { ms }))
    }
}

/// Answers one request. `now`: Unix seconds.
pub fn answer(
    chain: &mut SandboxChain,
    request: &Request,
    now: u64,
) -> (Result<Value, Failure>, Effect) {
    let result = match request.method.as_str() {
        "submitblock" => return submit_block(chain, request, now),
        "preciousblock" => {
            let known = hash_argument(request).map(|hash| chain.prefer(&hash));
            return match known {
                Ok(true) => (Ok(Value::Null), Effect::Preferred),
                Ok(false) => (Err(failure(-5, "Block not found")), Effect::None),
                Err(failure) => (Err(failure), Effect::None),
            };
        }
        "getblocktemplate" => get_block_template(chain, request, now),
        "getblockchaininfo" => Ok(blockchain_info(chain)),
        "getnetworkinfo" => Ok(network_info()),
        "getbestblockhash" => Ok(json!(chain.tip().to_string())),
        "waitfornewblock" if request.patience().is_none() => {
            Err(failure(-3, "JSON value of type string is not of expected type number"))
        }
        "waitfornewblock" => {
            Ok(json!({ "hash": chain.tip().to_string(), "height": chain.height() }))
        }
        "getblockcount" => Ok(json!(chain.height())),
        "getblockhash" => get_block_hash(chain, request),
        "getblockheader" => get_block_header(chain, request),
        _ => Err(failure(-32601, "Method not found")),
    };
    (result, Effect::None)
}

/// The body of an answer.
pub fn body(id: &Value, result: &Result<Value, Failure>) -> Vec<u8> {
    let whole = match result {
        Ok(value) => json!({ "result": value, "error": null, "id": id }),
        Err(failure) => json!({
            "result": null,
            "error": { "code": failure.code, "message": failure.message },
            "id": id,
        }),
    };
    whole.to_string().into_bytes()
}

/// The HTTP status that Core sends with an answer to a JSON-RPC 1.0 request.
pub fn http_status(result: &Result<Value, Failure>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(failure) => match failure.code {
            -32600 => 400,
            -32601 => 404,
            _ => 500,
        },
    }
}

fn submit_block(
    chain: &mut SandboxChain,
    request: &Request,
    now: u64,
) -> (Result<Value, Failure>, Effect) {
    let block = match text(request, 0).and_then(decode_block) {
        Ok(block) => block,
        Err(failure) => return (Err(failure), Effect::None),
    };
    let hash = block.block_hash();
    let outcome = chain.submit(block, now);
    let answer = match outcome {
        Outcome::Connected => Value::Null,
        Outcome::Aside => json!("inconclusive"),
        Outcome::Duplicate => json!("duplicate"),
        Outcome::DuplicateInvalid => json!("duplicate-invalid"),
        Outcome::Refused(refusal) => json!(refusal.to_string()),
    };
    (Ok(answer), Effect::Submitted(hash, outcome))
}

fn get_block_template(
    chain: &mut SandboxChain,
    request: &Request,
    now: u64,
) -> Result<Value, Failure> {
    let argument = request.params.first().unwrap_or(&Value::Null);
    match argument.get("mode").and_then(Value::as_str) {
        None | Some("template") => {}
        Some("proposal") => {
            let data = argument.get("data").and_then(Value::as_str);
            let data = data.ok_or_else(|| failure(-3, "Missing data String key for proposal"))?;
            return Ok(match chain.propose(&decode_block(data)?, now) {
                Proposal::Fine => Value::Null,
                Proposal::Duplicate => json!("duplicate"),
                Proposal::DuplicateInvalid => json!("duplicate-invalid"),
                Proposal::NotOnTip => json!("inconclusive-not-best-prevblk"),
                Proposal::Refused(refusal) => json!(refusal.to_string()),
            });
        }
        Some(_) => return Err(failure(-8, "Invalid mode")),
    }
    let segwit = argument
        .get("rules")
        .and_then(Value::as_array)
        .is_some_and(|rules| rules.iter().any(|rule| rule == "segwit"));
    if !segwit {
        let words = "getblocktemplate must be called with the segwit rule set (call with \
                     {\"rules\": [\"segwit\"]})";
        return Err(failure(-8, words));
    }
    Ok(chain.template(now))
}

fn blockchain_info(chain: &SandboxChain) -> Value {
    let tip = chain.header(&chain.tip()).unwrap_or_default();
    json!({
        "chain": "regtest",
        "blocks": chain.height(),
        "headers": chain.height(),
        "bestblockhash": chain.tip().to_string(),
        "bits": tip["bits"],
        "difficulty": tip["difficulty"],
        "time": tip["time"],
        "mediantime": tip["mediantime"],
        "verificationprogress": 1.0,
        "initialblockdownload": false,
        "chainwork": tip["chainwork"],
        "pruned": false,
        "warnings": [],
    })
}

fn network_info() -> Value {
    json!({
        "version": 300_000,
        "subversion": concat!("/SoloistSandbox:", env!("CARGO_PKG_VERSION"), "/"),
        "protocolversion": 70016,
        "networkactive": true,
        "connections": 1,
        "warnings": [],
    })
}

fn get_block_hash(chain: &SandboxChain, request: &Request) -> Result<Value, Failure> {
    let height = request.params.first().and_then(Value::as_u64);
    let height = height.ok_or_else(|| failure(-3, "JSON value is not of expected type number"))?;
    let hash = u32::try_from(height).ok().and_then(|height| chain.hash_at(height));
    hash.map(|hash| json!(hash.to_string())).ok_or_else(|| failure(-8, "Block height out of range"))
}

fn get_block_header(chain: &SandboxChain, request: &Request) -> Result<Value, Failure> {
    let hash = hash_argument(request)?;
    let header = match request.params.get(1) {
        Some(Value::Bool(false)) => chain.header_hex(&hash).map(Value::from),
        _ => chain.header(&hash),
    };
    header.ok_or_else(|| failure(-5, "Block not found"))
}

fn hash_argument(request: &Request) -> Result<BlockHash, Failure> {
    let hex = text(request, 0)?;
    let words = || format!("blockhash must be of length 64 (not {}, for '{hex}')", hex.len());
    hex.parse().map_err(|_| failure(-8, words()))
}

fn text(request: &Request, index: usize) -> Result<&str, Failure> {
    let value = request.params.get(index).and_then(Value::as_str);
    value.ok_or_else(|| failure(-3, "JSON value is not of expected type string"))
}

fn decode_block(hex: &str) -> Result<Block, Failure> {
    deserialize_hex(hex).map_err(|_| failure(-22, "Block decode failed"))
}

fn failure(code: i64, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}
