//! JSON-RPC with one node: blocking calls, typed answers, bounded in bytes and time. `http.rs` has
//! the transport.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::chain_tips;
use super::date::NodeClock;
use super::http::{Answer, Ask, Client};
use super::link::Link;
use super::node_addresses;
use super::place::{Place, without_userinfo};
use crate::chain::{BlockHash, Chain};
use crate::node::fault::{Login, RpcError, Spoken};
use crate::node::permissions::{self, Command, Permission, Permissions};
use crate::node::{
    HealthReport, InvalidBranch, MAX_ADDRESSES, Method, NodeFacts, Position, SubmitAnswer,
    TipHeader,
};
use crate::peer_address::{ListedPeer, P2pAddress};
use crate::template::{Template, TemplateError, TxCache};

/// One node as the owner configured it: `[node]` or one of `[[node.backup]]`. Its `Debug` and `Display`
/// never show a password.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// For people, page, metrics and log: the owner's name for it, or `host:port`.
    pub name: String,
    /// `http://host:port/path` or `https://…`. A `user:password@` in it is ignored here: it belongs into
    /// `auth`. Of a config file always with the port, and never with credentials.
    pub url: String,
    /// How we identify ourselves.
    pub auth: Auth,
    /// For https: a PEM file, of whose content alone is trusted: the server's own certificate,
    /// whatever its name, or that of an authority. `None` for the authorities that the system
    /// trusts.
    pub certificate: Option<PathBuf>,
    /// Where the node publishes `hashblock`: `tcp://host:port` or `ipc://path`. `None` for a node that is
    /// only polled.
    pub zmq: Option<String>,
    /// Where it listens to other nodes.
    pub p2p: P2pAddress,
}

impl NodeConfig {
    /// Host and port of the URL. The host is a name, an IPv4 address, or an IPv6 address without brackets.
    /// `None` for what is no URL, which no config file has.
    pub fn place(&self) -> Option<(String, u16)> {
        Place::of(&self.url).ok().map(|place| (place.host, place.port))
    }

    /// Host and port of its P2P port; `None` if the owner does not want it.
    pub fn p2p_place(&self, chain: Chain) -> Option<(String, u16)> {
        self.p2p.place(&self.place()?.0, chain)
    }
}

/// How we identify ourselves to a node.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all. Bitcoin Core never accepts that; other nodes may.
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
    http: Client,
    auth: Auth,
    /// The cookie file's text. Kept, so that a hanging network share costs no call; read again
    /// when the node refuses it.
    cookie: Mutex<Option<String>>,
    /// The node is on a signet, as it last told us: templates must be asked for with that rule.
    signet: AtomicBool,
    /// `getnetworkinfo` was refused. Not asked again and again: the node logs each refusal.
    hides_network: AtomicBool,
    /// By the `Date` of its answers.
    clock: NodeClock,
}

/// What was asked of [`Rpc::permissions`] so far.
pub(super) struct Questions {
    found: Permissions,
    asked: usize,
    /// How long the node took over them.
    pub took: Duration,
}

/// All questions of [`Rpc::permissions`] about what mining needs take no longer than this, and a
/// call more.
const PERMISSIONS_AT_MOST: Duration = Duration::from_secs(10);

impl Rpc {
    /// A client of the node. Nothing is connected and no file is read yet.
    pub fn new(config: &NodeConfig) -> Rpc {
        Rpc {
            name: config.name.clone(),
            http: Client::new(&config.url, config.certificate.clone()),
            auth: config.auth.clone(),
            cookie: Mutex::new(None),
            signet: AtomicBool::new(false),
            hides_network: AtomicBool::new(false),
            clock: NodeClock::default(),
        }
    }

    /// `getblocktemplate` (BIP 22, 23, 145).
    ///
    /// `cache` is locked only for parsing, never while we wait for the node.
    pub fn get_block_template(&self, cache: &Mutex<TxCache>) -> Result<Template, RpcError> {
        self.timed_block_template(cache).map(|(template, _)| template)
    }

    /// [`Rpc::get_block_template`], and how long the parsing took.
    pub fn timed_block_template(
        &self,
        cache: &Mutex<TxCache>,
    ) -> Result<(Template, Duration), RpcError> {
        let params = format!(r#"{{"rules":{}}}"#, self.rules());
        self.call(Method::GetBlockTemplate, "getblocktemplate", &params, |result| {
            let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
            let started = Instant::now();
            Template::parse(result.as_bytes(), &mut cache)
                .map(|template| (template, started.elapsed()))
                .map_err(RpcError::from)
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

    /// `getblockchaininfo`, `getnetworkinfo` and the hash of block 0, one after the other. The last
    /// two may be refused: what they would tell is left out then.
    ///
    /// bcoin has no `initialblockdownload` and no `time`: they read as false and 0.
    pub fn health(&self) -> Result<HealthReport, RpcError> {
        let chain: ChainInfo = self.get(Method::Health, "getblockchaininfo", "")?;
        let network = match self.hides_network.load(Ordering::Relaxed) {
            true => None,
            false => unless_refused(self.get(Method::Health, "getnetworkinfo", ""))?,
        };
        self.hides_network.store(network.is_none(), Ordering::Relaxed);
        let network: NetworkInfo = network.unwrap_or_default();
        let genesis: Option<String> =
            unless_refused(self.get(Method::Health, "getblockhash", "0"))?;
        let signet = Chain::from_name(&chain.chain) == Some(Chain::Signet);
        self.signet.store(signet, Ordering::Relaxed);

        let mut warnings: Vec<String> = Vec::new();
        for warning in chain.warnings.iter().chain(&network.warnings) {
            let warning = plain(warning);
            if !warning.is_empty() && !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Ok(HealthReport {
            chain: plain(&chain.chain),
            genesis: genesis.as_deref().map(hash).transpose()?,
            blocks: chain.blocks,
            headers: chain.headers,
            best: hash(&chain.bestblockhash)?,
            chainwork: chainwork(&chain.chainwork)?,
            initial_download: chain.initialblockdownload,
            progress: chain.verificationprogress,
            tip_time: chain.time,
            connections: network.connections,
            local_relay: network.localrelay,
            clock: self.clock.last(),
            version: network.subversion.map(|version| plain(&version)),
            warnings: warnings.join("; "),
            facts: NodeFacts {
                connections_in: network.connections_in.as_u64(),
                connections_out: network.connections_out.as_u64(),
                pruned: chain.pruned.as_bool(),
                size_on_disk: chain.size_on_disk.as_u64(),
            },
        })
    }

    /// `getbestblockhash`.
    pub fn get_best_block_hash(&self) -> Result<BlockHash, RpcError> {
        let best: String = self.get(Method::GetBestBlockHash, "getbestblockhash", "")?;
        hash(&best)
    }

    /// `waitfornewblock` (Bitcoin Core; hidden from its help up to version 29): the tip and its
    /// height, as soon as the tip changes or after `patience`. It holds one of the node's RPC
    /// threads for that long and no longer, also when we are gone.
    pub fn wait_for_new_block(&self, patience: Duration) -> Result<(BlockHash, u64), RpcError> {
        let ms = patience.as_millis().to_string();
        let tip: WaitedTip = self.get(Method::WaitForNewBlock, "waitfornewblock", &ms)?;
        Ok((hash(&tip.hash)?, tip.height))
    }

    /// `getblockheader` of a tip: its height, which nothing else tells so cheaply.
    pub fn tip_header(&self, tip: BlockHash) -> Result<TipHeader, RpcError> {
        let header = self.header(tip)?;
        Ok(TipHeader { height: header.height, median_time: header.mediantime })
    }

    /// Where a block stands with the node: by `getblockheader` and by `getblockhash` of its height,
    /// of which only the second tells with bcoin, which counts confirmations of a block outside its
    /// best chain as if it were inside. Where one of them is forbidden, the other and
    /// `getbestblockhash` serve as far as they go.
    pub fn best_chain_position(&self, block: BlockHash, height: u32) -> Result<Position, RpcError> {
        let header = match self.header(block) {
            Ok(header) => Some(header),
            Err(error) if is_unknown_block(&error) => return Ok(Position::Missing),
            Err(error) if permissions::is_refused(&error) => None,
            Err(error) => return Err(error),
        };
        let height = header.as_ref().map_or(u64::from(height), |header| header.height);
        let there: Result<String, RpcError> =
            self.get(Method::GetBlockHeader, "getblockhash", &height.to_string());
        let there = match there {
            Ok(there) => Some(hash(&there)?),
            Err(error) if permissions::is_refused(&error) => {
                let is_tip = self.get_best_block_hash()? == block;
                let confirmations = Some(1);
                return Ok(if is_tip {
                    Position::InChain { confirmations }
                } else {
                    Position::Untold
                });
            }
            Err(error @ RpcError::Rpc { code: -28, .. }) => return Err(error),
            // Its chain has become shorter than that.
            Err(RpcError::Rpc { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(match (header, there) {
            (None, Some(there)) if there == block => Position::InChain { confirmations: None },
            (None, _) => Position::Untold,
            (Some(header), Some(there)) if there == block && header.confirmations >= 1 => {
                Position::InChain { confirmations: Some(confirmations(&header)) }
            }
            (Some(_), Some(rival)) if rival != block => {
                Position::Outside { rival: confirmations(&self.header(rival)?) }
            }
            // The chain is shorter, or moved between the two calls.
            (Some(_), _) => Position::Outside { rival: 0 },
        })
    }

    fn header(&self, block: BlockHash) -> Result<HeaderInfo, RpcError> {
        self.get(Method::GetBlockHeader, "getblockheader", &format!("\"{block}\""))
    }

    /// `getchaintips`: the branches that the node has refused, the highest first.
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

    /// `getnodeaddresses`: other nodes that it knows, at most [`MAX_ADDRESSES`], in random order. bcoin
    /// does not have it (-32601).
    pub fn node_addresses(&self) -> Result<Vec<ListedPeer>, RpcError> {
        let count = MAX_ADDRESSES.to_string();
        self.call(Method::GetNodeAddresses, "getnodeaddresses", &count, node_addresses::read)
    }

    /// `preciousblock`: of two tips with equal work, the node shall prefer this one. bcoin does
    /// not have it (-32601).
    pub fn precious_block(&self, block: BlockHash) -> Result<(), RpcError> {
        let params = format!("\"{block}\"");
        self.call(Method::PreciousBlock, "preciousblock", &params, |_| Ok(()))
    }

    /// Asks for each method that we use whether we may call it, one after the other, and does
    /// nothing at the node. An answer about those that mining needs is enough.
    ///
    /// # Errors
    /// The node cannot be asked now, or refuses our address as a whole.
    pub fn permissions(&self) -> Result<Permissions, RpcError> {
        let mut questions = self.questions();
        loop {
            if let Some(result) = self.ask_next(&mut questions) {
                return result;
            }
        }
    }

    /// The questions of [`Rpc::permissions`], to be asked one by one: other calls may come between.
    pub(super) fn questions(&self) -> Questions {
        let found = Permissions::unknown(&self.user());
        Questions { found, asked: 0, took: Duration::ZERO }
    }

    /// Asks the next question. `None` as long as others follow.
    pub(super) fn ask_next(
        &self,
        questions: &mut Questions,
    ) -> Option<Result<Permissions, RpcError>> {
        if let Some(command) = Command::ALL.get(questions.asked).copied() {
            questions.asked += 1;
            let answer = match questions.took < PERMISSIONS_AT_MOST {
                true => {
                    let started = Instant::now();
                    let arguments = command.refused_arguments();
                    let answer =
                        self.call(Method::Permissions, command.name(), arguments, |_| Ok(()));
                    questions.took += started.elapsed();
                    answer
                }
                false => Err(RpcError::Timeout(PERMISSIONS_AT_MOST)),
            };
            match Permission::of(answer) {
                Ok(permission) => {
                    questions.found.set(command, permission);
                    return None;
                }
                Err(error) if command.is_needed() => return Some(Err(error)),
                Err(_) => {}
            }
        }
        let found = questions.found.clone();
        if found.of(Command::GetNetworkInfo) == Permission::Allowed {
            self.hides_network.store(false, Ordering::Relaxed);
        }
        Some(Ok(found))
    }

    /// [`Rpc::permissions`] of a node that was asked for its health before: one that is not there is
    /// not asked again, and one that forbids that very question is.
    ///
    /// # Errors
    /// Those of [`Rpc::permissions`], and the failure of `health` that is no matter of permission.
    pub fn permissions_beside(
        &self,
        health: &Result<HealthReport, RpcError>,
    ) -> Result<Permissions, RpcError> {
        match health {
            Err(error) if !permissions::is_refused(error) => Err(error.clone()),
            Ok(_) | Err(_) => self.permissions(),
        }
    }

    /// As whom we call; empty where we have no name.
    fn user(&self) -> String {
        let credentials = self.credentials().ok().flatten().unwrap_or_default();
        credentials.split_once(':').map_or_else(String::new, |(user, _)| user.to_owned())
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
        name: &'static str,
        params: &str,
    ) -> Result<T, RpcError> {
        self.call(method, name, params, |result| read_json(result))
    }

    /// One call. `params` is the JSON of the parameters, separated by commas.
    fn call<T>(
        &self,
        method: Method,
        name: &'static str,
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
        let (answer, link) = match self.ask(method, &body) {
            Ok((answer, link)) => (Ok(answer), Some(link)),
            Err(error) => (Err(error), None),
        };
        let result = match &answer {
            Ok(answer) => self.judge(name, answer, link),
            Err(error) => Err(error.clone()),
        };
        let took = started.elapsed().as_millis();
        let outcome = match (&result, &answer) {
            (Ok(_), Ok(answer)) => format!("{} bytes", answer.body.len()),
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        };
        let cause = result.as_ref().err().map_or("none", RpcError::label);
        log::debug!(
            node = self.name, request, method = name, ms = took, cause;
            "request {request} to {}: {name} of {} bytes: {outcome} after {took} ms",
            self.name,
            body.len()
        );
        read(result?)
    }

    /// The JSON of the result, or what went wrong. The connection of a good answer is kept.
    fn judge<'a>(
        &self,
        name: &'static str,
        answer: &'a Answer,
        link: Option<Link>,
    ) -> Result<&'a str, RpcError> {
        let ours = link.as_ref().and_then(|link| link.ours);
        let result = match result(answer, name, self.login()) {
            // Core tells neither apart, and looks at the address before it looks at the password.
            Err(RpcError::Forbidden { .. }) if self.is_shut_out() => {
                Err(RpcError::ForbiddenAddress { ours })
            }
            result => result,
        };
        match (&result, link) {
            (Ok(_) | Err(RpcError::Rpc { .. }), Some(link)) => self.http.keep(link),
            _ => self.http.doubt(),
        }
        result
    }

    /// After a 403: whether even a caller without a password gets it, instead of a 401.
    fn is_shut_out(&self) -> bool {
        let asked = self.post(Method::GetBestBlockHash, "{}", None);
        asked.is_ok_and(|(answer, _)| answer.status == 403)
    }

    /// How we introduce ourselves.
    fn login(&self) -> Login {
        match &self.auth {
            Auth::None => Login::None,
            Auth::Cookie(_) => Login::Cookie,
            Auth::UserPass { user, pass } => Login::of(user, pass),
        }
    }

    /// Opens a connection if none lies idle, so that the next call finds one: a solved block, say.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn keep_spare(&self) -> Result<(), RpcError> {
        self.http.keep_spare(Method::GetBestBlockHash.deadline())
    }

    /// How many connections to the node are open now, idle or in use.
    pub fn connections(&self) -> usize {
        self.http.connections()
    }

    /// One call over HTTP, and a second one if the node has another cookie meanwhile.
    fn ask(&self, method: Method, body: &str) -> Result<(Answer, Link), RpcError> {
        let credentials = self.credentials()?;
        let (answer, link) = self.post(method, body, credentials.as_deref())?;
        if answer.status == 401 {
            // The node may have started anew and written another cookie. An unchanged one would
            // only be refused again.
            let fresh = self.fresh_cookie()?;
            if fresh.is_some() && fresh != credentials {
                return self.post(method, body, fresh.as_deref());
            }
        }
        Ok((answer, link))
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
    ) -> Result<(Answer, Link), RpcError> {
        let authorization = credentials.map(|text| format!("Basic {}", BASE64.encode(text)));
        let answered = self.http.post(Ask {
            body: body.to_owned(),
            authorization: authorization.as_deref(),
            deadline: method.deadline(),
            limit: method.max_answer(),
        })?;
        self.clock.heard(answered.0.date.as_deref());
        Ok(answered)
    }
}

/// The JSON of the result of an HTTP answer, or what the answer says instead.
fn result<'a>(answer: &'a Answer, method: &'static str, login: Login) -> Result<&'a str, RpcError> {
    let Answer { status, body, .. } = answer;
    match status {
        401 => return Err(RpcError::Unauthorized(login)),
        403 => return Err(RpcError::Forbidden { method }),
        _ => {}
    }
    match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { error: Some(error), .. }) => Err(own_error(error)),
        _ if *status != 200 => Err(no_result(answer)),
        Ok(Envelope { result: Some(result), .. }) => Ok(result.get()),
        Ok(_) => Err(RpcError::Malformed("neither a result nor an error in it".into())),
        Err(_) if body.is_empty() => Err(RpcError::Malformed("it is empty".into())),
        Err(_) if is_page(body) => Err(RpcError::WebPage(*status)),
        Err(error) if error.is_eof() => Err(RpcError::Cut { got: body.len(), of: None }),
        Err(error) => Err(RpcError::Malformed(plain(&error.to_string()))),
    }
}

/// What another HTTP status than 200 says, without an error of JSON-RPC in the body.
fn no_result(answer: &Answer) -> RpcError {
    let Answer { status, location, body, .. } = answer;
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    match status {
        300..=399 => {
            let to = location.as_deref().unwrap_or_default();
            let to = to.split(['?', '#']).next().unwrap_or_default();
            RpcError::Redirect { to: plain(&without_userinfo(to)) }
        }
        // nginx, Caddy and Apache.
        400 if says(&["https port", "https server", "ssl-enabled server"]) => {
            RpcError::NotHttp(Spoken::Tls)
        }
        413 => RpcError::TooLong,
        502 | 504 => RpcError::Gateway(*status),
        503 if says(&["work queue depth exceeded"]) => RpcError::QueueFull,
        503 => RpcError::Unavailable,
        _ if is_page(body) => RpcError::WebPage(*status),
        404 => RpcError::WrongPath,
        status => RpcError::Http(*status),
    }
}

fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

impl From<TemplateError> for RpcError {
    fn from(error: TemplateError) -> RpcError {
        match error {
            TemplateError::UnknownRule(rule) if rule == "signet" => RpcError::Signet,
            TemplateError::UnknownRule(rule) => RpcError::UnknownRule(plain(&rule)),
            TemplateError::Json(_) | TemplateError::Field { .. } => {
                RpcError::Malformed(plain(&error.to_string()))
            }
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
    error: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What stands in `error`: an object, or a bare text from some proxies.
fn own_error(error: Value) -> RpcError {
    let (code, message) = match error {
        Value::Object(mut fields) => (
            fields.get("code").and_then(Value::as_i64).unwrap_or(0),
            fields.remove("message").unwrap_or_default(),
        ),
        message => (0, message),
    };
    let message = match message {
        Value::String(words) => plain(&words),
        Value::Null => "an error without a message".into(),
        other => plain(&other.to_string()),
    };
    RpcError::Rpc { code, message }
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
    #[serde(default, deserialize_with = "warnings")]
    warnings: Vec<String>,
    // Nothing depends on these: whatever stands there, the node is well.
    #[serde(default)]
    pruned: Value,
    #[serde(default)]
    size_on_disk: Value,
}

#[derive(Default, Deserialize)]
struct NetworkInfo {
    connections: Option<u64>,
    localrelay: Option<bool>,
    subversion: Option<String>,
    #[serde(default, deserialize_with = "warnings")]
    warnings: Vec<String>,
    #[serde(default)]
    connections_in: Value,
    #[serde(default)]
    connections_out: Value,
}

#[derive(Deserialize)]
struct HeaderInfo {
    confirmations: i64,
    height: u64,
    #[serde(default)]
    mediantime: u32,
}

#[derive(Deserialize)]
struct WaitedTip {
    hash: String,
    height: u64,
}

fn confirmations(header: &HeaderInfo) -> u32 {
    u32::try_from(header.confirmations.max(0)).unwrap_or(u32::MAX)
}

/// Core answers -5, bcoin -1.
fn is_unknown_block(error: &RpcError) -> bool {
    matches!(error, RpcError::Rpc { code: -5 | -1, message }
        if message.eq_ignore_ascii_case("block not found"))
}

/// One text up to Core 27, a list of texts since 28.
fn warnings<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Warnings {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Warnings::deserialize(from)? {
        Warnings::One(line) => vec![line],
        Warnings::Many(lines) => lines,
    })
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

/// What a method would have told, had it not been refused.
fn unless_refused<T>(answer: Result<T, RpcError>) -> Result<Option<T>, RpcError> {
    match answer {
        Ok(told) => Ok(Some(told)),
        Err(error) if permissions::is_refused(&error) => Ok(None),
        Err(error) => Err(error),
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

/// A node's words, fit for a log and a page: one line of at most 300 characters.
fn plain(words: &str) -> String {
    let one_line = words.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(300).collect()
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
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
            .field("certificate", &self.certificate)
            .field("zmq", &self.zmq)
            .field("p2p", &self.p2p)
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

    /// What is made of an answer.
    fn judged(status: u16, body: &str) -> Result<String, RpcError> {
        let body = body.as_bytes().to_vec();
        let answer = Answer { status, location: None, body, date: None, kept_for: None };
        result(&answer, "getblock", Login::Password).map(str::to_owned)
    }

    fn malformed<T: fmt::Debug>(result: Result<T, RpcError>) -> String {
        match result {
            Err(RpcError::Malformed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_null_result_is_told_from_a_missing_one() {
        let null = judged(200, r#"{"result":null,"error":null,"id":1}"#);
        assert_eq!(null.as_deref(), Ok("null"));
        malformed(judged(200, "{}"));
        malformed(judged(200, r#"{"id":1,"error":null}"#));
        malformed(judged(200, "[]"));
        malformed(judged(200, "null"));
        malformed(judged(200, "17"));
    }

    #[test]
    fn the_result_is_handed_on_as_it_stands() {
        let spaced =
            judged(200, "{ \"id\" : 1, \"result\" : {\"a\": [1, 2] } , \"error\":null }\n");
        assert_eq!(spaced.as_deref(), Ok("{\"a\": [1, 2] }"));
    }

    #[test]
    fn errors_come_with_any_status() {
        let warming =
            r#"{"result":null,"error":{"code":-28,"message":"Loading block index…"},"id":1}"#;
        for status in [200, 404, 500, 503] {
            assert_eq!(
                judged(status, warming),
                Err(RpcError::Rpc { code: -28, message: "Loading block index…".into() })
            );
        }
        let odd = r#"{"error":{"type":"Error","code":"EBADTHING"}}"#;
        assert_eq!(
            judged(500, odd),
            Err(RpcError::Rpc { code: 0, message: "an error without a message".into() })
        );
        let text = r#"{"error":"go\naway"}"#;
        assert_eq!(judged(200, text), Err(RpcError::Rpc { code: 0, message: "go away".into() }));
        // A result does not count beside a status that is no success.
        assert_eq!(judged(500, r#"{"result":null}"#), Err(RpcError::Http(500)));
        assert_eq!(judged(401, warming), Err(RpcError::Unauthorized(Login::Password)));
        assert_eq!(judged(403, ""), Err(RpcError::Forbidden { method: "getblock" }));
    }

    #[test]
    fn a_status_tells_who_answers() {
        let nginx = "<center>The plain HTTP request was sent to HTTPS port</center>";
        for (status, body, error) in [
            (302, "", RpcError::Redirect { to: String::new() }),
            (400, nginx, RpcError::NotHttp(Spoken::Tls)),
            (400, "<html>", RpcError::WebPage(400)),
            (404, "", RpcError::WrongPath),
            (404, "<html>", RpcError::WebPage(404)),
            (413, "<html>", RpcError::TooLong),
            (500, "<html>", RpcError::WebPage(500)),
            (500, "", RpcError::Http(500)),
            (502, "<html>", RpcError::Gateway(502)),
            (503, "Work queue depth exceeded", RpcError::QueueFull),
            (503, "Request rejected during server shutdown", RpcError::Unavailable),
            (200, " <!DOCTYPE html>", RpcError::WebPage(200)),
        ] {
            assert_eq!(judged(status, body), Err(error), "{status} {body}");
        }
        let to = Some("https://me:s3cret@node/rpc?key=s3cret".to_owned());
        let answer =
            Answer { status: 301, location: to, body: Vec::new(), date: None, kept_for: None };
        let error = result(&answer, "getblock", Login::None).unwrap_err();
        assert_eq!(error, RpcError::Redirect { to: "https://node/rpc".into() });
    }

    #[test]
    fn a_cut_answer_is_known_by_its_json() {
        let whole = r#"{"result":{"a":"b"},"error":null}"#;
        for end in 1..whole.len() {
            let cut = RpcError::Cut { got: end, of: None };
            assert_eq!(judged(200, &whole[..end]), Err(cut), "{}", &whole[..end]);
        }
        malformed(judged(200, ""));
    }

    #[test]
    fn passwords_are_never_shown() {
        let config = NodeConfig {
            name: "attic".into(),
            url: "http://me:s3cret@10.0.0.1:8332/".into(),
            auth: Auth::UserPass { user: "me".into(), pass: "s3cret".into() },
            certificate: None,
            zmq: None,
            p2p: P2pAddress::Default,
        };
        let shown = format!("{config} {config:?} {config:#?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("http://10.0.0.1:8332/"), "{shown}");
    }

    #[test]
    fn warnings_read_as_text_or_list() {
        let both = |json: &str| warnings(&mut serde_json::Deserializer::from_str(json)).unwrap();
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
