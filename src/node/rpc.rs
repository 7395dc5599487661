//! JSON-RPC over HTTP with one node: blocking calls, typed answers, bounded in bytes and time.
//!
//! Every call opens a connection of its own (minreq keeps none), so calls of several threads at
//! once never wait for one another.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::chain_tips::{self, InvalidBranch};
use super::{HealthReport, Method, RpcError};
use crate::block::SubmitAnswer;
use crate::chain::{BlockHash, Chain};
use crate::template::{Template, TxCache};

/// One node as the owner configured it. Its `Debug` and `Display` never show a password.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The owner's name for it, for the page and the log.
    pub name: String,
    /// `http://host:port`. A `user:password@` in it is ignored here: it belongs into `auth`.
    pub url: String,
    /// How we identify ourselves.
    pub auth: Auth,
    /// The node's `zmqpubhashblock` address, such as `tcp://192.168.1.5:28332`.
    pub zmq_hashblock: Option<String>,
}

/// How we identify ourselves to a node.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// By the file that Bitcoin Core writes anew at each start (`.cookie` in its data directory).
    Cookie(PathBuf),
    /// By `rpcauth`, or `rpcuser` and `rpcpassword`.
    UserPass {
        /// The user; must not contain a colon (RFC 7617).
        user: String,
        /// The password.
        pass: String,
    },
}

/// A client of one node. Cheap; shared by all threads that call it.
pub struct Rpc {
    /// For the log.
    name: String,
    url: String,
    auth: Auth,
    /// The cookie file's text. Kept, so that a hanging network share costs no call; read again
    /// when the node refuses it.
    cookie: Mutex<Option<String>>,
    /// The node is on a signet, as it last told us: templates must be asked for with that rule.
    signet: AtomicBool,
}

impl Method {
    /// The longest that a call may take, connection included; `Health` is three calls one after
    /// the other, `GetBlockHeader` two, `GetBlockHash` a few. Whole seconds, because minreq counts in them.
    pub const fn deadline(self) -> Duration {
        Duration::from_secs(match self {
            // Answered from memory. This is what finds a node that hangs, so it is short; a small
            // node that is just connecting a block may take longer and is not broken.
            Method::GetBestBlockHash => 2,
            Method::Health | Method::GetBlockHeader | Method::GetBlockHash => 5,
            // It goes through every block that the node knows.
            Method::GetChainTips => 15,
            // 0.1 to 0.6 s with a full mempool, several seconds on a busy Pi.
            Method::GetBlockTemplate => 10,
            // These check a whole block, and the node's lock may be taken. A block that was not
            // answered is sent again, which harms nothing.
            Method::Proposal | Method::SubmitBlock | Method::PreciousBlock => 30,
            // Core looks at its mempool for the first time after one minute, then every 10 s,
            // and answers only if it has changed: a quiet mempool never answers.
            Method::Longpoll => 180,
        })
    }

    /// The most bytes that an honest answer can have.
    const fn max_answer(self) -> usize {
        match self {
            // 4,000,000 weight units are at most 4 MB of transactions, so 8 MB of hex. The
            // smallest transaction weighs about 240 units, so there are at most some 16,700,
            // each with two hashes, fees and up to a hundred `depends`: at most 12 MB more.
            Method::GetBlockTemplate | Method::Longpoll => 32 << 20,
            _ => 1 << 20,
        }
    }
}

impl Rpc {
    /// A client of the node. Nothing is connected and no file is read yet.
    pub fn new(config: &NodeConfig) -> Rpc {
        Rpc {
            name: config.name.clone(),
            url: without_userinfo(&config.url),
            auth: config.auth.clone(),
            cookie: Mutex::new(None),
            signet: AtomicBool::new(false),
        }
    }

    /// `getblocktemplate` (BIP 22, 23, 145). With the `longpollid` of an earlier template, the
    /// node answers when there is news, and the call may take [`Method::Longpoll`]'s deadline.
    ///
    /// `cache` is locked only for parsing, never while we wait for the node.
    pub fn get_block_template(
        &self,
        longpollid: Option<&str>,
        cache: &Mutex<TxCache>,
    ) -> Result<Template, RpcError> {
        self.timed_block_template(longpollid, cache).map(|(template, _)| template)
    }

    /// [`Rpc::get_block_template`], and how long the parsing took.
    pub fn timed_block_template(
        &self,
        longpollid: Option<&str>,
        cache: &Mutex<TxCache>,
    ) -> Result<(Template, Duration), RpcError> {
        let rules = self.rules();
        let (method, params) = match longpollid {
            None => (Method::GetBlockTemplate, format!(r#"{{"rules":{rules}}}"#)),
            Some(id) => {
                let id = quoted(id);
                (Method::Longpoll, format!(r#"{{"rules":{rules},"longpollid":{id}}}"#))
            }
        };
        self.call(method, "getblocktemplate", &params, |result| {
            let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
            let started = Instant::now();
            Template::parse(result.as_bytes(), &mut cache)
                .map(|template| (template, started.elapsed()))
                .map_err(|error| RpcError::Malformed(plain(&error.to_string())))
        })
    }

    /// `getblocktemplate` in proposal mode (BIP 23): would this block be accepted but for its
    /// proof of work? `None` means yes, `Some` holds the node's reason.
    pub fn propose(&self, block_hex: &str) -> Result<Option<String>, RpcError> {
        let params = format!(
            r#"{{"rules":{},"mode":"proposal","data":{}}}"#,
            self.rules(),
            quoted(block_hex)
        );
        self.call(Method::Proposal, "getblocktemplate", &params, |result| {
            let verdict: Option<String> = read_json(result)?;
            Ok(verdict.map(|reason| plain(&reason)))
        })
    }

    /// `submitblock` (BIP 22).
    pub fn submit_block(&self, block_hex: &str) -> Result<SubmitAnswer, RpcError> {
        self.call(Method::SubmitBlock, "submitblock", &quoted(block_hex), |result| {
            let answer: Option<String> = read_json(result)?;
            Ok(SubmitAnswer::parse(answer.map(|reason| plain(&reason)).as_deref()))
        })
    }

    /// `getblockchaininfo`, `getnetworkinfo` and the hash of block 0, one after the other.
    ///
    /// bcoin has no `initialblockdownload` and no `time`: they read as false and 0.
    pub fn health(&self) -> Result<HealthReport, RpcError> {
        let chain: ChainInfo = self.get(Method::Health, "getblockchaininfo", "")?;
        let network: NetworkInfo = self.get(Method::Health, "getnetworkinfo", "")?;
        let genesis: String = self.get(Method::Health, "getblockhash", "0")?;
        let signet = Chain::from_name(&chain.chain) == Some(Chain::Signet);
        self.signet.store(signet, Ordering::Relaxed);

        let mut warnings: Vec<String> = Vec::new();
        for warning in chain.warnings.lines().chain(network.warnings.lines()) {
            let warning = plain(warning);
            if !warning.is_empty() && !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Ok(HealthReport {
            chain: plain(&chain.chain),
            genesis: Some(hash(&genesis)?),
            blocks: chain.blocks,
            headers: chain.headers,
            best: hash(&chain.bestblockhash)?,
            chainwork: chainwork(&chain.chainwork)?,
            initial_download: chain.initialblockdownload,
            progress: chain.verificationprogress,
            tip_time: chain.time,
            connections: network.connections,
            version: plain(&network.subversion),
            warnings: warnings.join("; "),
        })
    }

    /// `getbestblockhash`.
    pub fn get_best_block_hash(&self) -> Result<BlockHash, RpcError> {
        let best: String = self.get(Method::GetBestBlockHash, "getbestblockhash", "")?;
        hash(&best)
    }

    /// Where a block stands: its confirmations (1 for the tip), -1 when it is outside the best
    /// chain, `None` when the node does not know it.
    pub fn confirmations(&self, block: BlockHash) -> Result<Option<i64>, RpcError> {
        let header: Result<HeaderInfo, RpcError> =
            self.get(Method::GetBlockHeader, "getblockheader", &format!("\"{block}\""));
        let header = match header {
            Ok(header) => header,
            // Core answers -5, bcoin -1.
            Err(RpcError::Rpc { code: -5 | -1, message })
                if message.eq_ignore_ascii_case("block not found") =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // bcoin counts the confirmations of a block outside its best chain as if it were inside:
        // only the block at that height tells.
        let height = header.height.to_string();
        let there: Result<String, RpcError> =
            self.get(Method::GetBlockHeader, "getblockhash", &height);
        let there = match there {
            Ok(there) => Some(hash(&there)?),
            // Its chain has become shorter than that.
            Err(RpcError::Rpc { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Some(if there == Some(block) { header.confirmations } else { -1 }))
    }

    /// `getchaintips`: the branches that the node has refused, see [`chain_tips::read`].
    pub fn refused_branches(&self) -> Result<Vec<InvalidBranch>, RpcError> {
        self.call(Method::GetChainTips, "getchaintips", "", chain_tips::read)
    }

    /// `getblockhash` of each height, one after the other: the blocks of the node's best chain.
    /// Heights that it does not reach are left out.
    pub fn blocks_at(&self, heights: &[u64]) -> Result<Vec<(u64, BlockHash)>, RpcError> {
        let mut blocks = Vec::new();
        for height in heights {
            let there: Result<String, RpcError> =
                self.get(Method::GetBlockHash, "getblockhash", &height.to_string());
            match there {
                Ok(there) => blocks.push((*height, hash(&there)?)),
                // Core answers -8, bcoin -1.
                Err(RpcError::Rpc { code: -8 | -1, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(blocks)
    }

    /// `preciousblock`: of two tips with equal work, the node shall prefer this one. bcoin does
    /// not have it (-32601).
    pub fn precious_block(&self, block: BlockHash) -> Result<(), RpcError> {
        let params = format!("\"{block}\"");
        self.call(Method::PreciousBlock, "preciousblock", &params, |_| Ok(()))
    }

    fn rules(&self) -> &'static str {
        match self.signet.load(Ordering::Relaxed) {
            false => r#"["segwit"]"#,
            true => r#"["segwit","signet"]"#,
        }
    }

    fn get<T: for<'a> Deserialize<'a>>(
        &self,
        method: Method,
        name: &str,
        params: &str,
    ) -> Result<T, RpcError> {
        self.call(method, name, params, |result| read_json(result))
    }

    /// One call. `params` is the JSON of the parameters, separated by commas.
    fn call<T>(
        &self,
        method: Method,
        name: &str,
        params: &str,
        read: impl FnOnce(&str) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        // A number for each call: a node's own log and ours can be laid side by side.
        static CALLS: AtomicU64 = AtomicU64::new(1);
        let request = CALLS.fetch_add(1, Ordering::Relaxed);
        // Version 1.0 is what every node speaks. Core then sends the node's own errors with
        // HTTP status 500 (404 for an unknown method), bcoin with 200.
        let body =
            format!(r#"{{"jsonrpc":"1.0","id":{request},"method":"{name}","params":[{params}]}}"#);
        let started = Instant::now();
        let answer = self.ask(method, &body);
        let took = started.elapsed().as_millis();
        let outcome = match &answer {
            Ok(answer) => format!("HTTP {}, {} bytes", answer.status, answer.body.len()),
            Err(error) => error.to_string(),
        };
        log::debug!(
            node = self.name, request, method = name, ms = took;
            "request {request} to {}: {name} of {} bytes: {outcome} after {took} ms",
            self.name,
            body.len()
        );
        read(answer?.result()?)
    }

    /// One call over HTTP, and a second one if the node has another cookie meanwhile.
    fn ask(&self, method: Method, body: &str) -> Result<Answer, RpcError> {
        let credentials = self.credentials()?;
        let answer = self.post(method, body, credentials.as_deref())?;
        if answer.status == 401 {
            // The node may have started anew and written another cookie. An unchanged one would
            // only be refused again.
            let fresh = self.fresh_cookie()?;
            if fresh.is_some() && fresh != credentials {
                return self.post(method, body, fresh.as_deref());
            }
        }
        Ok(answer)
    }

    /// `user:password`, if any.
    fn credentials(&self) -> Result<Option<String>, RpcError> {
        match &self.auth {
            Auth::None => Ok(None),
            Auth::UserPass { user, pass } => Ok(Some(format!("{user}:{pass}"))),
            Auth::Cookie(_) => {
                let kept = self.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if kept.is_some() { Ok(kept) } else { self.fresh_cookie() }
            }
        }
    }

    /// The cookie as it stands in its file now; `None` where there is no cookie file.
    fn fresh_cookie(&self) -> Result<Option<String>, RpcError> {
        let Auth::Cookie(path) = &self.auth else { return Ok(None) };
        let cookie = read_cookie(path)?;
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie.clone());
        Ok(Some(cookie))
    }

    fn post(
        &self,
        method: Method,
        body: &str,
        credentials: Option<&str>,
    ) -> Result<Answer, RpcError> {
        let deadline = method.deadline();
        let mut request = minreq::post(&self.url)
            .with_header("Content-Type", "application/json")
            .with_header("Connection", "close")
            .with_follow_redirects(false)
            .with_timeout(deadline.as_secs())
            .with_body(body);
        if let Some(credentials) = credentials {
            let encoded = BASE64.encode(credentials);
            request = request.with_header("Authorization", format!("Basic {encoded}"));
        }
        let response = request.send_lazy().map_err(|error| http_error(error, deadline))?;
        Answer::read(response, method)
    }
}

/// An HTTP answer, read whole.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn read(response: minreq::ResponseLazy, method: Method) -> Result<Answer, RpcError> {
        let status = response.status_code;
        let limit = method.max_answer();
        let length = response
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse::<usize>().ok());
        // minreq makes up status 503 where the first line is none.
        let no_http = response.reason_phrase == "Server did not provide a status line";
        if length.is_some_and(|length| length > limit) {
            return Err(RpcError::TooLarge(limit));
        }

        let mut body = Vec::with_capacity(length.unwrap_or(0));
        response
            .take(limit as u64 + 1)
            .read_to_end(&mut body)
            .map_err(|error| io_error(error, method.deadline()))?;
        if body.len() > limit {
            return Err(RpcError::TooLarge(limit));
        }
        if no_http {
            return Err(match body.is_empty() {
                true => RpcError::Transport("it closed the connection without an answer".into()),
                false => RpcError::Malformed("it does not speak HTTP".into()),
            });
        }
        if let Some(length) = length.filter(|length| body.len() < *length) {
            let got = body.len();
            return Err(RpcError::Transport(format!(
                "the connection broke after {got} of {length} bytes"
            )));
        }
        Ok(Answer { status, body })
    }

    /// The JSON of the result, or what went wrong.
    fn result(&self) -> Result<&str, RpcError> {
        if matches!(self.status, 401 | 403) {
            return Err(RpcError::Auth(self.status));
        }
        let envelope = serde_json::from_slice::<Envelope>(&self.body);
        match envelope {
            Ok(Envelope { error: Some(error), .. }) => Err(error.into()),
            _ if self.status != 200 => Err(RpcError::Http(self.status)),
            Ok(Envelope { result: Some(result), .. }) => Ok(result.get()),
            Ok(_) => Err(RpcError::Malformed("neither a result nor an error in it".into())),
            Err(_) if self.body.is_empty() => Err(RpcError::Malformed("it is empty".into())),
            Err(_) if self.body.trim_ascii_start().starts_with(b"<") => {
                Err(RpcError::Malformed("it is a web page (is this the node's RPC port?)".into()))
            }
            Err(error) if error.is_eof() => {
                Err(RpcError::Transport("the connection broke in the middle of an answer".into()))
            }
            Err(error) => Err(RpcError::Malformed(plain(&error.to_string()))),
        }
    }
}

/// The frame of a JSON-RPC answer. The result is not looked into: it may have megabytes, and
/// only the caller knows what it is.
#[derive(Deserialize)]
struct Envelope<'a> {
    /// `Some` of `null` when it is null, as `submitblock`'s is; `None` when it is missing.
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorObject>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What stands in `error`: an object, or a bare text from some proxies.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorObject {
    Full {
        #[serde(default)]
        code: serde_json::Value,
        #[serde(default)]
        message: serde_json::Value,
    },
    Other(serde_json::Value),
}

impl From<ErrorObject> for RpcError {
    fn from(error: ErrorObject) -> RpcError {
        let (code, message) = match error {
            ErrorObject::Full { code, message } => (code.as_i64().unwrap_or(0), message),
            ErrorObject::Other(message) => (0, message),
        };
        let message = match message {
            serde_json::Value::String(words) => plain(&words),
            serde_json::Value::Null => "an error without a message".into(),
            other => plain(&other.to_string()),
        };
        RpcError::Rpc { code, message }
    }
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u64,
    headers: u64,
    bestblockhash: String,
    chainwork: String,
    #[serde(default)]
    initialblockdownload: bool,
    #[serde(default)]
    verificationprogress: f64,
    #[serde(default)]
    time: u64,
    #[serde(default)]
    warnings: Warnings,
}

#[derive(Deserialize)]
struct NetworkInfo {
    #[serde(default)]
    connections: u64,
    #[serde(default)]
    subversion: String,
    #[serde(default)]
    warnings: Warnings,
}

#[derive(Deserialize)]
struct HeaderInfo {
    confirmations: i64,
    height: u64,
}

/// One text up to Core 27, a list of texts since 28.
#[derive(Deserialize)]
#[serde(untagged)]
enum Warnings {
    One(String),
    Many(Vec<String>),
}

impl Default for Warnings {
    fn default() -> Warnings {
        Warnings::Many(Vec::new())
    }
}

impl Warnings {
    fn lines(&self) -> impl Iterator<Item = &str> {
        match self {
            Warnings::One(line) => std::slice::from_ref(line).iter().map(String::as_str),
            Warnings::Many(lines) => lines.as_slice().iter().map(String::as_str),
        }
    }
}

pub(super) fn read_json<T: for<'a> Deserialize<'a>>(json: &str) -> Result<T, RpcError> {
    serde_json::from_str(json).map_err(|error| RpcError::Malformed(plain(&error.to_string())))
}

pub(super) fn hash(hex: &str) -> Result<BlockHash, RpcError> {
    hex.parse().map_err(|error| RpcError::Malformed(format!("in place of a block hash: {error}")))
}

fn chainwork(hex: &str) -> Result<[u8; 32], RpcError> {
    let mut work = [0; 32];
    match hex.len() <= 64
        && faster_hex::hex_decode(format!("{hex:0>64}").as_bytes(), &mut work).is_ok()
    {
        true => Ok(work),
        false => Err(RpcError::Malformed("chainwork is not a number in hex".into())),
    }
}

/// A cookie has about 75 bytes; whatever else the path names is not read into memory.
fn read_cookie(path: &Path) -> Result<String, RpcError> {
    let failed = |why: String| RpcError::Cookie { path: path.display().to_string(), why };
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    match text.trim() {
        cookie if cookie.contains(':') => Ok(cookie.to_string()),
        _ => Err(failed("this is not a cookie (user:password on one line)".into())),
    }
}

fn http_error(error: minreq::Error, deadline: Duration) -> RpcError {
    use minreq::Error as E;
    match error {
        E::IoError(error) => io_error(error, deadline),
        E::HeadersOverflow | E::StatusLineOverflow => RpcError::TooLarge(8192),
        E::HttpsFeatureNotEnabled => {
            RpcError::Transport("https is not supported for nodes, use http://".into())
        }
        E::InvalidProtocol => RpcError::Transport("its address must begin with http://".into()),
        E::InvalidUtf8InResponse => RpcError::Malformed("it does not speak HTTP".into()),
        E::MalformedContentLength | E::MalformedChunkLength | E::MalformedChunkEnd => {
            RpcError::Malformed(error.to_string())
        }
        other => RpcError::Transport(other.to_string()),
    }
}

fn io_error(error: io::Error, deadline: Duration) -> RpcError {
    match error.kind() {
        // A socket's own timeout comes as WouldBlock.
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => RpcError::Timeout(deadline),
        io::ErrorKind::ConnectionRefused => {
            RpcError::Transport("connection refused (nothing listens there)".into())
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            RpcError::Transport("it broke the connection".into())
        }
        // minreq wraps its own errors where a body comes in chunks.
        _ => match error.downcast::<minreq::Error>() {
            Ok(error) => http_error(error, deadline),
            Err(error) => RpcError::Transport(plain(&error.to_string())),
        },
    }
}

/// A node's words, fit for a log and a page: one line of at most 300 characters.
fn plain(words: &str) -> String {
    let one_line = words.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(300).collect()
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `http://user:password@host:8332` → `http://host:8332`.
fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_string(),
    }
}

impl fmt::Display for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, without_userinfo(&self.url))
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("name", &self.name)
            .field("url", &without_userinfo(&self.url))
            .field("auth", &self.auth)
            .field("zmq_hashblock", &self.zmq_hashblock)
            .finish()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Auth::None => f.write_str("None"),
            Auth::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Auth::UserPass { user, .. } => {
                f.debug_struct("UserPass").field("user", user).field("pass", &"…").finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec() }
    }

    fn malformed<T: fmt::Debug>(result: Result<T, RpcError>) -> String {
        match result {
            Err(RpcError::Malformed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_null_result_is_told_from_a_missing_one() {
        let null = answer(200, r#"{"result":null,"error":null,"id":1}"#);
        assert_eq!(null.result(), Ok("null"));
        malformed(answer(200, "{}").result());
        malformed(answer(200, r#"{"id":1,"error":null}"#).result());
        malformed(answer(200, "[]").result());
        malformed(answer(200, "null").result());
        malformed(answer(200, "17").result());
    }

    #[test]
    fn the_result_is_handed_on_as_it_stands() {
        let spaced =
            answer(200, "{ \"id\" : 1, \"result\" : {\"a\": [1, 2] } , \"error\":null }\n");
        assert_eq!(spaced.result(), Ok("{\"a\": [1, 2] }"));
    }

    #[test]
    fn errors_come_with_any_status() {
        let warming =
            r#"{"result":null,"error":{"code":-28,"message":"Loading block index…"},"id":1}"#;
        for status in [200, 404, 500, 503] {
            assert_eq!(
                answer(status, warming).result(),
                Err(RpcError::Rpc { code: -28, message: "Loading block index…".into() })
            );
        }
        let odd = r#"{"error":{"type":"Error","code":"EBADTHING"}}"#;
        assert_eq!(
            answer(500, odd).result(),
            Err(RpcError::Rpc { code: 0, message: "an error without a message".into() })
        );
        let text = r#"{"error":"go\naway"}"#;
        assert_eq!(
            answer(200, text).result(),
            Err(RpcError::Rpc { code: 0, message: "go away".into() })
        );
        assert_eq!(answer(500, "<html>").result(), Err(RpcError::Http(500)));
        assert_eq!(answer(503, "Work queue depth exceeded").result(), Err(RpcError::Http(503)));
        // A result does not count beside a status that is no success.
        assert_eq!(answer(500, r#"{"result":null}"#).result(), Err(RpcError::Http(500)));
        assert_eq!(answer(401, warming).result(), Err(RpcError::Auth(401)));
        assert_eq!(answer(403, "").result(), Err(RpcError::Auth(403)));
    }

    #[test]
    fn a_cut_answer_is_a_broken_connection() {
        let whole = r#"{"result":{"a":"b"},"error":null}"#;
        for end in 1..whole.len() {
            assert!(
                matches!(answer(200, &whole[..end]).result(), Err(RpcError::Transport(_))),
                "{}",
                &whole[..end]
            );
        }
        malformed(answer(200, "").result());
        assert!(malformed(answer(200, " <!DOCTYPE html>").result()).contains("web page"));
    }

    #[test]
    fn passwords_are_never_shown() {
        let config = NodeConfig {
            name: "attic".into(),
            url: "http://me:s3cret@10.0.0.1:8332/".into(),
            auth: Auth::UserPass { user: "me".into(), pass: "s3cret".into() },
            zmq_hashblock: None,
        };
        let shown = format!("{config} {config:?} {config:#?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("http://10.0.0.1:8332/"), "{shown}");
        assert_eq!(Rpc::new(&config).url, "http://10.0.0.1:8332/");
        assert_eq!(without_userinfo("http://host:1/a@b"), "http://host:1/a@b");
        assert_eq!(without_userinfo("http://u:p@ss@host:1"), "http://host:1");
    }

    #[test]
    fn warnings_read_as_text_or_list() {
        let both = |json: &str| -> Vec<String> {
            let warnings: Warnings = serde_json::from_str(json).unwrap();
            warnings.lines().map(String::from).collect()
        };
        assert_eq!(both(r#""disk""#), ["disk"]);
        assert_eq!(both(r#"["disk","clock"]"#), ["disk", "clock"]);
        assert_eq!(both("[]"), [""; 0]);
    }

    #[test]
    fn chainwork_may_be_short() {
        assert_eq!(chainwork("0102").unwrap()[30..], [1, 2]);
        assert_eq!(chainwork("2").unwrap()[31], 2);
        malformed(chainwork(&"0".repeat(65)));
        malformed(chainwork("zz"));
    }

    #[test]
    fn a_cookie_has_a_colon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        assert!(matches!(read_cookie(&path), Err(RpcError::Cookie { .. })));
        for (text, good) in [("__cookie__:ab12\n", true), ("", false), ("nothing", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_cookie(&path).is_ok(), good, "{text:?}");
        }
        assert!(matches!(read_cookie(dir.path()), Err(RpcError::Cookie { .. })));
    }
}
