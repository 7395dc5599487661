//! From a path to an answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use crate::status::html::{self, Miners};
use crate::status::{Snapshot, gopool, health, json, metrics};

use super::guard::{Reach, Refused};
use super::live::Live;
use super::render::{Packed, Rendered};
use super::{Http, NoBlock};

/// What the page may load: itself. No inline script, no frame, no other site.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
/// The end of [`POLICY`]: who may show the page in a frame.
const ANCESTORS: &str = "frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// The live channel.
    Live(Box<Live>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Live(live) => live.poll_frame(cx).map(|frame| Some(Ok(frame))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Body::Live(_) => SizeHint::default(),
        }
    }
}

/// The answer to a request that passed the checks.
pub(super) async fn answer(
    request: &Request<Incoming>,
    now: &Rc<Rendered>,
    http: &Http,
) -> Response<Body> {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or("");
    let snapshot = &now.snapshot;
    if !http.options.json && path.starts_with("/api/") && path != "/api/events" {
        return not_found("The API is switched off.");
    }
    match path {
        "/" => packed(request, HTML, now.page(miners(query))),
        "/style.css" => asset(request, "text/css; charset=utf-8", &http.style),
        "/help.css" => asset(request, "text/css; charset=utf-8", &http.help_style),
        "/form.css" => asset(request, "text/css; charset=utf-8", &http.form_style),
        "/app.js" => asset(request, "text/javascript; charset=utf-8", &http.script),
        "/form.js" => asset(request, "text/javascript; charset=utf-8", &http.form_script),
        "/tv.css" => asset(request, "text/css; charset=utf-8", &http.tv_style),
        "/tv" => html_answer(html::tv(snapshot, &now.verdict)),
        "/blocks" => html_answer(html::blocks(snapshot, &now.verdict)),
        "/manifest.webmanifest" => with_type("application/manifest+json", html::manifest(snapshot)),
        "/icon.svg" | "/favicon.ico" => asset(request, "image/svg+xml", &http.icon),
        "/qr.svg" => match html::qr(snapshot) {
            Some(svg) => with_type("image/svg+xml", svg),
            None => not_found("No address is known yet."),
        },
        "/help" => help(now, ""),
        "/update" => html_answer(html::update(snapshot, &now.verdict)),
        "/pair" => html_answer(html::pair(snapshot, &now.verdict)),
        "/v2" => html_answer(html::v2(snapshot, &now.verdict)),
        "/v2.svg" => match html::v2_qr(snapshot) {
            Some(svg) => with_type("image/svg+xml", svg),
            None => not_found("Stratum V2 is off, or no address is known yet."),
        },
        "/metrics" => packed(request, metrics::CONTENT_TYPE, now.metrics()),
        "/health" => health_answer(health::health(snapshot, &now.verdict)),
        "/health/live" => health_answer(health::live(snapshot)),
        "/health/ready" => health_answer(health::ready(snapshot)),
        "/health/detailed" => health_answer(health::detailed(snapshot, &now.verdict)),
        "/api/events" => live(http, query),
        "/api/status" => packed(request, JSON, now.status()),
        "/api/miners" => packed(request, JSON, now.miners()),
        "/api/nodes" => json_answer(json::nodes(snapshot)),
        "/api/devices" => json_answer(json::devices(snapshot)),
        "/api/update" => json_answer(json::update(snapshot)),
        "/api/pair" => json_answer(json::pair(snapshot)),
        "/api/blocks" => {
            let limit = argument(query, "limit").and_then(|limit| limit.parse().ok());
            json_answer(json::blocks(snapshot, limit.unwrap_or(100).clamp(1, 100)))
        }
        "/api/widget" => json_answer(json::widget(snapshot, &now.verdict)),
        "/api/history" => match json::history(snapshot, argument(query, "range")) {
            Some(body) => json_answer(body),
            None => plain(StatusCode::BAD_REQUEST, "range is day, month or all.\n"),
        },
        "/api/pool" => json_answer(json::public_pool(snapshot)),
        "/api/info" => json_answer(json::public_pool_info(snapshot)),
        "/api/info/chart" => json_answer(json::public_pool_chart(snapshot)),
        "/api/network" => json_answer(json::public_pool_network(snapshot)),
        "/api/overview" => json_answer(gopool::overview(snapshot)),
        "/api/pool-page" => json_answer(gopool::pool_page(snapshot)),
        "/api/server" => json_answer(gopool::server(snapshot)),
        "/api/node" => json_answer(gopool::node(snapshot)),
        "/api/pool-hashrate" => json_answer(gopool::pool_hashrate(snapshot)),
        "/api/openapi.json" => packed(request, JSON, &http.openapi),
        _ => deeper(path, now, http).await,
    }
}

/// Paths with a part that varies. Each part is looked up in the snapshot or checked against its
/// alphabet; none is ever a file name.
async fn deeper(path: &str, now: &Rendered, http: &Http) -> Response<Body> {
    let snapshot = &now.snapshot;
    if let Some(id) = path.strip_prefix("/miners/") {
        return match html::miner(snapshot, &now.verdict, id, http.view.history(id).as_ref()) {
            Some(page) => html_answer(page),
            None => not_found("There is no such miner."),
        };
    }
    if let Some(name) = path.strip_prefix("/help/") {
        return help(now, name);
    }
    if let Some(id) = path.strip_prefix("/api/miners/") {
        if let Some(id) = id.strip_suffix("/history") {
            return match http.view.history(id) {
                Some(history) => json_answer(json::miner_history(snapshot, &history)),
                None => not_found("There is no such miner."),
            };
        }
        return match json::miner(snapshot, id) {
            Some(body) => json_answer(body),
            None => not_found("There is no such miner."),
        };
    }
    if let Some(size) = path.strip_prefix("/icon-").and_then(|name| name.strip_suffix(".png")) {
        let icon = html::ICONS.iter().find(|(known, _)| known.to_string() == size);
        return match icon {
            Some((_, bytes)) => {
                let mut answer = with_type("image/png", Bytes::from_static(bytes));
                set(&mut answer, header::CACHE_CONTROL, "max-age=86400");
                answer
            }
            None => not_found("There is nothing here."),
        };
    }
    if let Some(name) = path.strip_prefix("/api/blocks/") {
        return block(name.strip_suffix(".hex").unwrap_or(name), http).await;
    }
    if let Some(rest) = path.strip_prefix("/api/client/") {
        return client(rest, snapshot);
    }
    not_found("There is nothing here.")
}

/// A chapter of the manual. The index is at `/help` alone.
fn help(now: &Rendered, name: &str) -> Response<Body> {
    match html::help(&now.snapshot, &now.verdict, name) {
        Some(page) => html_answer(page),
        None => not_found("There is no such chapter: /help lists all of them."),
    }
}

/// An address in public-pool's shapes: of itself, its chart, a worker's, a session's.
fn client(path: &str, snapshot: &Snapshot) -> Response<Body> {
    let parts: Vec<_> =
        path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    let body = match parts[..] {
        [address] => json::public_pool_client(snapshot, address),
        [address, "chart"] => json::public_pool_client_chart(snapshot, address),
        [address, worker] => json::public_pool_worker(snapshot, address, worker),
        [address, worker, session] => json::public_pool_session(snapshot, address, worker, session),
        _ => None,
    };
    match body {
        Some(body) => json_answer(body),
        None => not_found("No such address is paid here, or it has no such miner."),
    }
}

/// A found block as hex, to be submitted elsewhere by hand if it must be.
async fn block(hash: &str, http: &Http) -> Response<Body> {
    if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return not_found("A block's name is its hash: 64 hex digits.");
    }
    let hash = hash.to_ascii_lowercase();
    let block = match http.view.block(&hash).await {
        Ok(block) => block,
        Err(NoBlock::Unknown) => return not_found("This block is not kept here."),
        Err(NoBlock::Forgotten { height, kept }) => {
            return not_found(&format!(
                "Block {height} is not kept here any more: it is mature, and only the newest \
                 {kept} mature blocks are kept whole. Every node that has all blocks still has \
                 it: bitcoin-cli getblock {hash} 0"
            ));
        }
        Err(NoBlock::Unreadable(why)) => {
            let words = format!("This block's file cannot be used: {why}.\n");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, &words);
        }
    };
    let mut answer = with_type("text/plain; charset=utf-8", faster_hex::hex_string(&block));
    let name = format!("attachment; filename=\"block-{hash}.hex\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    answer
}

/// A text, to be kept as a file if it has a name.
pub(super) fn attachment(name: &str, text: String) -> Response<Body> {
    named(name, with_type("text/plain; charset=utf-8", text))
}

/// A file to be kept.
pub(super) fn file(name: &str, bytes: Vec<u8>) -> Response<Body> {
    named(name, with_type("application/octet-stream", bytes))
}

fn named(name: &str, mut answer: Response<Body>) -> Response<Body> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if !name.is_empty()
        && name.bytes().all(plain)
        && let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
    {
        answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    answer
}

/// How much of a long list is asked for.
fn miners(query: &str) -> Miners {
    argument(query, "all").map_or(Miners::Few, |_| Miners::All)
}

/// The live channel of the page, of a miner's page, or of the view for a wall.
fn live(http: &Http, query: &str) -> Response<Body> {
    let Some(http) = http.this.upgrade() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "Shutting down.\n");
    };
    let interval = http.options.live_interval;
    let miner = argument(query, "miner").map(str::to_owned);
    let (tv, miners) = (argument(query, "tv").is_some(), miners(query));
    let pair = argument(query, "pair").is_some();
    let live = Live::new(
        interval,
        Box::new(move || {
            let now = http.rendered();
            let sections = match &miner {
                Some(id) => now.miner_sections(id, || http.view.history(id)),
                None if tv => now.tv_sections(),
                None if pair => now.pair_sections(),
                None => now.sections(miners),
            };
            (now.snapshot.now, sections)
        }),
    );
    let mut answer = plain(StatusCode::OK, "");
    set(&mut answer, header::CONTENT_TYPE, "text/event-stream");
    *answer.body_mut() = Body::Live(Box::new(live));
    answer
}

/// Lets the pages that the owner names show this answer in a frame, and their scripts read it. Forms are
/// never among these answers: nobody is led to press what another page lays over them.
pub(super) fn open_to(reach: &Reach, request: &Request<Incoming>, answer: &mut Response<Body>) {
    if reach.embed.is_empty() {
        return;
    }
    let headers = answer.headers_mut();
    let ancestors = format!("frame-ancestors {}", reach.embed.join(" "));
    if let Ok(policy) = POLICY.replace(ANCESTORS, &ancestors).parse() {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.remove(header::X_FRAME_OPTIONS);
    }
    // A frame that may not have an origin of its own asks for style and script as a stranger.
    let shared = HeaderValue::from_static("cross-origin");
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), shared);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let origin = reach.origin(request.headers()).and_then(|origin| origin.parse().ok());
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// The answer to a request that did not pass; `host` is what it asked for.
pub(super) fn refuse(why: Refused, host: Option<&str>) -> Response<Body> {
    let foreign = foreign_host(host);
    let (code, words) = match why {
        Refused::ForeignAddress => {
            (StatusCode::FORBIDDEN, "This box answers only to its own network.\n")
        }
        Refused::TooMany => (StatusCode::TOO_MANY_REQUESTS, "Too many requests: wait a second.\n"),
        Refused::NoHost => (StatusCode::BAD_REQUEST, "One Host header, please.\n"),
        Refused::ForeignHost => (StatusCode::MISDIRECTED_REQUEST, foreign.as_str()),
        Refused::ForeignOrigin => {
            (StatusCode::FORBIDDEN, "Another site cannot change anything here.\n")
        }
        Refused::Method => (StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only.\n"),
        Refused::Body => {
            (StatusCode::PAYLOAD_TOO_LARGE, "Nothing of that kind or size is taken here.\n")
        }
    };
    let mut answer = plain(code, words);
    match why {
        Refused::TooMany => set(&mut answer, header::RETRY_AFTER, "1"),
        Refused::Method => set(&mut answer, header::ALLOW, "GET, HEAD"),
        _ => {}
    }
    // Whatever else comes on this connection was meant as the refused body.
    set(&mut answer, header::CONNECTION, "close");
    answer
}

/// Why a name is not answered to, and what the owner writes so that it is.
fn foreign_host(host: Option<&str>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let name = name.filter(|name| name.len() <= 253 && !name.is_empty() && name.chars().all(plain));
    let name = name.map_or_else(|| "the.name".to_owned(), str::to_ascii_lowercase);
    format!(
        "This box does not answer to the name in the address bar: a page of the Internet could use a \
         name to reach into your network.\n\nUse the box's IP address. Or, if the name is yours, write \
         this line below [http] in its soloist.toml and reload it:\n\nhosts = [\"{name}\"]\n"
    )
}

pub(super) fn html_answer(body: impl Into<Bytes>) -> Response<Body> {
    with_type(HTML, body)
}

pub(super) fn json_answer(body: impl Into<Bytes>) -> Response<Body> {
    with_type(JSON, body)
}

/// Packed, where the reader can unpack it.
fn packed(request: &Request<Incoming>, kind: &'static str, text: &Packed) -> Response<Body> {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    let gzip = accepted.is_some_and(|accepted| accepted.split(',').any(accepts_gzip));
    let mut answer = with_type(kind, if gzip { text.gzip() } else { text.plain() });
    if gzip {
        set(&mut answer, header::CONTENT_ENCODING, "gzip");
    }
    set(&mut answer, header::VARY, "accept-encoding");
    answer
}

/// One element of Accept-Encoding: `gzip`, `gzip;q=0.5`, but not `gzip;q=0`.
fn accepts_gzip(element: &str) -> bool {
    let mut parts = element.split(';').map(str::trim);
    let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
    let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
    named && weight.is_none_or(|weight| weight > 0.0)
}

fn health_answer(health: health::Health) -> Response<Body> {
    let mut answer = json_answer(health.body);
    *answer.status_mut() =
        StatusCode::from_u16(health.code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    answer
}

/// With a hash of its content in its address it never changes.
fn asset(request: &Request<Incoming>, kind: &'static str, text: &Packed) -> Response<Body> {
    let mut answer = packed(request, kind, text);
    let versioned = request.uri().query().is_some_and(|query| query.starts_with("v="));
    let keep = if versioned { "public, max-age=31536000, immutable" } else { "max-age=3600" };
    set(&mut answer, header::CACHE_CONTROL, keep);
    answer
}

/// 303: the answer to a form is another page, so that a reload repeats nothing.
pub(super) fn see(path: &'static str) -> Response<Body> {
    let mut answer = plain(StatusCode::SEE_OTHER, "");
    set(&mut answer, header::LOCATION, path);
    answer
}

fn not_found(words: &str) -> Response<Body> {
    plain(StatusCode::NOT_FOUND, &format!("{words}\n"))
}

pub(super) fn plain(code: StatusCode, words: &str) -> Response<Body> {
    let mut answer = with_type("text/plain; charset=utf-8", words.to_owned());
    *answer.status_mut() = code;
    answer
}

fn with_type(kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::Whole(Some(body.into())));
    set(&mut answer, header::CONTENT_TYPE, kind);
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    set(&mut answer, header::CONTENT_SECURITY_POLICY, POLICY);
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut answer, header::X_FRAME_OPTIONS, "DENY");
    // Not "no-referrer": browsers then send `Origin: null` with our own forms.
    set(&mut answer, header::REFERRER_POLICY, "same-origin");
    set(&mut answer, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(&mut answer, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    answer
}

fn set(answer: &mut Response<Body>, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn argument<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_found_by_its_whole_name() {
        assert_eq!(argument("a=1&limit=5", "limit"), Some("5"));
        assert_eq!(argument("limits=5", "limit"), None);
    }

    #[test]
    fn gzip_is_sent_only_to_those_who_want_it() {
        assert!(" gzip".split(',').any(accepts_gzip));
        assert!("br;q=1.0, gzip;q=0.8, *;q=0.1".split(',').any(accepts_gzip));
        assert!(!"br, gzip;q=0".split(',').any(accepts_gzip));
        assert!(!"identity".split(',').any(accepts_gzip));
    }
}
