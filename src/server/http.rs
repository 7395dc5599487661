//! The page, the API, metrics and health over HTTP/1.1.
//!
//! hyper on the daemon's thread: no other threads, nothing `Send`. This module has sockets,
//! timeouts and limits; [`crate::status`] renders the content, at most once a second whatever the
//! number of readers, so that no reader can slow down mining.
//!
//! Order of the checks for each request: source address (private ones only), rate, Host header (DNS
//! rebinding; further names are known by [`View::reach`]), method, path. None of them reads a file.
//!
//! **Places** are given by a [`Door`]. A connection waits in its hall from one whole request to the next,
//! and gives way when the room is needed; a reader of live updates has a seat. This machine and the
//! owner, known by the session, always find a place.

pub mod admin;
mod forms;
pub mod guard;
pub mod limit;
pub mod live;
mod multipart;
mod render;
mod route;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use async_channel::Sender;
use async_io::{Async, Timer};
use futures_lite::{AsyncRead, AsyncWrite, future};
use futures_rustls::TlsAcceptor;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use smol::LocalExecutor;

use crate::door::{self, Door, EVER, Household};
use crate::ids::ConnId;
use crate::status::{HistoryView, Snapshot, html, json};
use crate::timeout::within;

use super::tls::Certificate;

use admin::{Admin, Local};
use guard::{Reach, Refused};
use limit::{Buckets, Owners};
use render::{Packed, Rendered};
use stream::{HyperTimer, Timed};

/// What the server shows. The daemon implements it.
pub trait View {
    /// The present state. Called at most once per [`Options::fresh`], and only when somebody reads.
    fn snapshot(&self) -> Rc<Snapshot>;

    /// What one miner did over time; `None` for an id that is nobody's.
    fn history(&self, miner: &str) -> Option<HistoryView>;

    /// By which names the page is reached, and which pages may show it.
    fn reach(&self) -> Reach {
        Reach::default()
    }

    /// The whole block with this hash (customary reversed hex, already checked to be 64 hex digits),
    /// serialised.
    fn block(&self, hash: &str) -> Local<Result<Vec<u8>, NoBlock>>;

    /// A connection from this address was closed to make room for another one.
    fn made_room(&self, _peer: IpAddr) {}

    /// A connection was refused.
    fn refused(&self) {}
}

/// Why a block cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoBlock {
    /// No such block was found here.
    Unknown,
    /// It is mature, and newer mature ones have taken its place. Its record stays.
    Forgotten {
        /// Its height.
        height: u32,
        /// So many mature blocks are kept.
        kept: usize,
    },
    /// In words, why its file cannot be read.
    Unreadable(String),
}

/// Limits and switches.
#[derive(Clone, Debug)]
pub struct Options {
    /// Serve `/api/*`. The page's own live channel stays.
    pub json: bool,
    /// Requests per second and address, after a burst of twice as many.
    pub requests_per_s: u32,
    /// Open connections.
    pub places: door::Limits,
    /// Longest time for the whole head of a request, and for an idle connection.
    pub head_timeout: Duration,
    /// Longest time without any progress while sending.
    pub write_timeout: Duration,
    /// How long a rendered answer is good.
    pub fresh: Duration,
    /// How often an open page hears of changes.
    pub live_interval: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            json: true,
            requests_per_s: 20,
            places: PLACES,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            fresh: Duration::from_secs(1),
            live_interval: Duration::from_secs(2),
        }
    }
}

/// Who reads live updates has a seat, everybody else waits in the hall. A browser has six connections.
const PLACES: door::Limits = door::Limits {
    seats: 96,
    hall: 160,
    seats_each: 24,
    hall_each: 24,
    trial: Duration::ZERO,
    calls: 64,
};

/// The longest head of a request, bytes. hyper's least.
const HEAD_MAX: usize = 8 * 1024;
/// The most header lines of a request.
const HEADERS_MAX: usize = 64;
/// The longest body that is not refused at sight, bytes.
pub const BODY_MAX: u64 = 16 * 1024;
/// The same for a backup, which only a box takes that is not set up.
const BACKUP_BODY_MAX: u64 = 1024 * 1024;

/// The server's state: shared by all its listeners and connections.
pub struct Http {
    this: Weak<Http>,
    view: Rc<dyn View>,
    admin: Option<Rc<Admin>>,
    options: Options,
    buckets: RefCell<Buckets>,
    door: RefCell<Door>,
    owners: RefCell<Owners>,
    /// Each connection ends when its sender is dropped.
    connections: RefCell<BTreeMap<ConnId, (IpAddr, Sender<()>)>>,
    next: Cell<u64>,
    rendered: RefCell<Option<Rc<Rendered>>>,
    style: Packed,
    form_style: Packed,
    help_style: Packed,
    tv_style: Packed,
    form_script: Packed,
    script: Packed,
    icon: Packed,
    openapi: Packed,
}

impl Http {
    /// A server for this view that changes nothing. Nothing listens yet.
    pub fn new(view: Rc<dyn View>, options: Options) -> Rc<Http> {
        Http::build(view, None, options)
    }

    /// A server for this view with set-up and settings.
    pub fn with_admin(view: Rc<dyn View>, admin: Rc<Admin>, options: Options) -> Rc<Http> {
        Http::build(view, Some(admin), options)
    }

    fn build(view: Rc<dyn View>, admin: Option<Rc<Admin>>, options: Options) -> Rc<Http> {
        let burst = options.requests_per_s.saturating_mul(2);
        Rc::new_cyclic(|this| Http {
            this: this.clone(),
            view,
            admin,
            buckets: RefCell::new(Buckets::new(options.requests_per_s, burst)),
            door: RefCell::new(Door::new(options.places)),
            owners: RefCell::default(),
            connections: RefCell::default(),
            next: Cell::new(1),
            rendered: RefCell::new(None),
            style: Packed::lasting(html::STYLE),
            form_style: Packed::lasting(html::FORM_STYLE),
            help_style: Packed::lasting(html::HELP_STYLE),
            tv_style: Packed::lasting(html::TV_STYLE),
            form_script: Packed::lasting(html::FORM_SCRIPT),
            script: Packed::lasting(html::script()),
            icon: Packed::lasting(html::ICON),
            openapi: Packed::lasting(json::OPENAPI),
            options,
        })
    }

    /// Accepts connections on one listener until the future is dropped; each connection becomes a
    /// task of `executor`. With a certificate it is for readers who encrypt; its files are looked at
    /// with each connection, so that a new one counts at once.
    ///
    /// Errors of `accept` (no file descriptors left, a connection gone before it was taken) are
    /// waited out: this never returns by itself.
    pub async fn serve(
        self: Rc<Self>,
        executor: Rc<LocalExecutor<'static>>,
        listener: Async<TcpListener>,
        certificate: Option<Rc<Certificate>>,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.clone().take(&executor, stream, peer, certificate.clone());
                    // However many come: miners have their turn in between.
                    future::yield_now().await;
                }
                Err(error) => {
                    log::warn!("http: cannot accept a connection: {error}");
                    Timer::after(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn take(
        self: Rc<Self>,
        executor: &Rc<LocalExecutor<'static>>,
        stream: Async<TcpStream>,
        peer: SocketAddr,
        certificate: Option<Rc<Certificate>>,
    ) {
        let (id, peer) = (ConnId(self.next.replace(self.next.get() + 1)), peer.ip().to_canonical());
        let now = Instant::now();
        let known = self.owners.borrow().acquaintance(peer, now);
        let entered = self.door.borrow_mut().enter(now, id, peer, known);
        match entered {
            Ok(entered) => self.make_room(entered.gives_way),
            // Closing costs us least, and a browser tries again.
            Err(_) => return self.view.refused(),
        }
        let (sender, gives_way) = async_channel::bounded(1);
        self.connections.borrow_mut().insert(id, (peer, sender));
        executor
            .spawn(async move {
                let gives_way = async {
                    gives_way.recv().await.ok();
                    Err("it made room for others".to_owned())
                };
                let served = self.clone().greet(stream, (id, peer), certificate);
                if let Err(error) = future::or(served, gives_way).await {
                    log::debug!("http: {peer}: {error}");
                }
                self.connections.borrow_mut().remove(&id);
                self.door.borrow_mut().leave(Instant::now(), id);
            })
            .detach();
    }

    /// Closes a connection that has lost its place to another one.
    fn make_room(&self, gives_way: Option<ConnId>) {
        let connection = gives_way.and_then(|id| self.connections.borrow_mut().remove(&id));
        if let Some((peer, _)) = connection {
            self.view.made_room(peer);
        }
    }

    /// A whole request came.
    fn heard(&self, id: ConnId, peer: IpAddr, request: &Request<Incoming>) {
        if self.admin.as_ref().is_some_and(|admin| admin.is_owners(request)) {
            self.owner_is_at(id, peer);
        }
        self.door.borrow_mut().heard(Instant::now(), id);
    }

    /// The owner uses this connection, and may open others from there.
    fn owner_is_at(&self, id: ConnId, peer: IpAddr) {
        self.owners.borrow_mut().note(peer, Instant::now());
        self.door.borrow_mut().recognise(id, EVER);
    }

    /// A reader of live updates takes a seat. False when there is none.
    fn seat(&self, id: ConnId) -> bool {
        let sits = {
            let mut door = self.door.borrow_mut();
            let known = door.acquaintance(id);
            door.sit(Instant::now(), id, known)
        };
        match sits {
            Ok(gives_way) => self.make_room(gives_way),
            Err(_) => self.view.refused(),
        }
        sits.is_ok()
    }

    /// Makes a connection ready: with TLS, if it came to that port.
    async fn greet(
        self: Rc<Self>,
        stream: Async<TcpStream>,
        (id, peer): (ConnId, IpAddr),
        certificate: Option<Rc<Certificate>>,
    ) -> Result<(), String> {
        // Small answers go out at once. A failure costs speed only.
        let _ = stream.get_ref().set_nodelay(true);
        let local = stream.get_ref().local_addr().ok().map(|address| address.ip());
        let words = |error: hyper::Error| error.to_string();
        let Some(certificate) = certificate else {
            return self.connection(stream, (id, peer), local).await.map_err(words);
        };
        // A stranger's handshake would cost us arithmetic.
        if !guard::address_is_ours(peer, local) {
            return Err("from a foreign address".to_owned());
        }
        let acceptor = TlsAcceptor::from(certificate.config().await);
        let handshake = within(self.options.head_timeout, acceptor.accept(stream)).await;
        let stream = handshake.ok_or("no handshake in time")?.map_err(|error| error.to_string())?;
        self.connection(stream, (id, peer), local).await.map_err(words)
    }

    async fn connection(
        self: Rc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        (id, peer): (ConnId, IpAddr),
        local: Option<IpAddr>,
    ) -> Result<(), hyper::Error> {
        let io = smol_hyper::rt::FuturesIo::new(Timed::new(stream, self.options.write_timeout));
        let head_timeout = self.options.head_timeout;
        let service = service_fn(move |request| {
            let http = self.clone();
            async move { Ok::<_, Infallible>(http.answer(request, (id, peer), local).await) }
        });
        http1::Builder::new()
            .timer(HyperTimer)
            .header_read_timeout(head_timeout)
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .half_close(false)
            .serve_connection(io, service)
            .await
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        (id, peer): (ConnId, IpAddr),
        local: Option<IpAddr>,
    ) -> Response<route::Body> {
        let reach = self.view.reach();
        if let Err(why) = self.check(&request, peer, local, &reach) {
            let host = request.headers().get(header::HOST).cloned();
            let is_form = request.method() == Method::POST && self.takes(&request).is_some();
            if is_form && why != Refused::ForeignAddress {
                // A browser reads our words only when it could send the whole of its form.
                admin::discard(request.into_body()).await;
            }
            return route::refuse(why, host.as_ref().and_then(|host| host.to_str().ok()));
        }
        self.heard(id, peer, &request);
        if request.uri().path() == "/api/events" && !self.seat(id) {
            return route::plain(StatusCode::SERVICE_UNAVAILABLE, "All places are taken.\n");
        }
        match &self.admin {
            Some(admin) if request.method() == Method::POST => {
                let answer = admin.clone().post(self, request, peer).await;
                // A session was opened.
                if answer.headers().contains_key(header::SET_COOKIE) {
                    self.owner_is_at(id, peer);
                }
                answer
            }
            Some(admin) if admin::shows(request.uri().path()) => admin.show(self, &request),
            None if request.uri().path() == "/settings" => {
                let now = self.rendered();
                let page = forms::render(
                    &now.snapshot,
                    &now.verdict,
                    forms::Page::FileOnly(admin::NO_PIN),
                );
                route::html_answer(page)
            }
            _ => {
                let mut answer = route::answer(&request, &self.rendered(), self).await;
                route::open_to(&reach, &request, &mut answer);
                answer
            }
        }
    }

    fn check(
        &self,
        request: &Request<Incoming>,
        peer: IpAddr,
        local: Option<IpAddr>,
        reach: &Reach,
    ) -> Result<(), Refused> {
        if !guard::address_is_ours(peer, local) {
            return Err(Refused::ForeignAddress);
        }
        let now = Instant::now();
        let known = self.owners.borrow().acquaintance(peer, now);
        let household = known.map_or_else(|| Household::of(peer), |_| Household::alone(peer));
        if !self.buckets.borrow_mut().take(household, now) {
            return Err(Refused::TooMany);
        }
        let takes = self.takes(request);
        guard::check_head(request.method(), request.uri(), request.headers(), takes, reach)
    }

    /// The longest body of a POST to the request's path, if that has a form.
    fn takes(&self, request: &Request<Incoming>) -> Option<u64> {
        self.admin.as_ref()?.takes(request.uri().path())
    }

    /// Something was changed: what was rendered before is out of date.
    fn forget_rendered(&self) {
        self.rendered.borrow_mut().take();
    }

    /// The rendered answers, at most [`Options::fresh`] old.
    fn rendered(&self) -> Rc<Rendered> {
        let now = Instant::now();
        let mut kept = self.rendered.borrow_mut();
        match kept.as_ref() {
            Some(rendered) if now.duration_since(rendered.at) < self.options.fresh => {
                rendered.clone()
            }
            _ => {
                let fresh = Rc::new(Rendered::new(self.view.snapshot(), now));
                *kept = Some(fresh.clone());
                fresh
            }
        }
    }
}
