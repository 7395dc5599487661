//! HTTP with one node: connections that are kept, one deadline over each call, bounded bytes.
//!
//! Calls of several threads never wait for one another: each takes an idle connection or opens one.
//! All work is done on the caller's thread; idle connections have no thread.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_rustls::rustls::ClientConfig;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};

use super::link::{self, Link, Lost};
use super::place::Place;
use super::tls;
use crate::node::fault::RpcError;
use crate::timeout::until;

/// The most connections that lie idle.
pub(super) const IDLE_MAX: usize = 3;
/// One that has lain idle for longer is closed: Bitcoin Core does so after 30 s, and a request
/// must not cross its goodbye.
pub(super) const IDLE_AT_MOST: Duration = Duration::from_secs(20);

/// The HTTP side of one node.
pub(super) struct Client {
    place: Result<Place, RpcError>,
    certificate: Option<PathBuf>,
    /// Made for the first https call, as it reads files.
    trust: Mutex<Option<Arc<ClientConfig>>>,
    /// In the order in which they were last used: the first of them is taken first, so that all
    /// stay warm.
    idle: Mutex<VecDeque<Link>>,
    open: Arc<AtomicUsize>,
    known: Mutex<Known>,
}

/// What the node's name was last found to mean.
#[derive(Default)]
struct Known {
    /// The one that took our last connection is the first.
    addresses: Vec<SocketAddr>,
    /// Since then no call has failed: the name need not be looked up again.
    good: bool,
}

/// One request.
pub(super) struct Ask<'a> {
    pub body: String,
    /// `Basic …`, if any.
    pub authorization: Option<&'a str>,
    /// Over the whole call: connection, TLS, sending, and the answer's last byte.
    pub deadline: Duration,
    /// The most bytes of the answer's body.
    pub limit: usize,
}

/// An HTTP answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<String>,
    pub body: Vec<u8>,
    /// The header `Date` (RFC 9110).
    pub date: Option<String>,
    /// How long the server says that it keeps an idle connection.
    pub kept_for: Option<Duration>,
}

impl Client {
    /// For the URL; `certificate` is the file whose content alone is trusted. Nothing is connected
    /// and no file is read yet.
    pub(super) fn new(url: &str, certificate: Option<PathBuf>) -> Client {
        Client {
            place: Place::of(url),
            certificate,
            trust: Mutex::default(),
            idle: Mutex::default(),
            open: Arc::default(),
            known: Mutex::default(),
        }
    }

    /// Posts, and hands back the connection with the answer: whoever finds the answer good gives
    /// it to [`Client::keep`].
    ///
    /// A request on a kept connection that ends before a single byte of an answer came is sent once
    /// more on a new one. All our calls may be repeated: a block that a node has is a duplicate.
    pub(super) fn post(&self, ask: Ask<'_>) -> Result<(Answer, Link), RpcError> {
        let place = self.place.as_ref().map_err(Clone::clone)?;
        let deadline = Instant::now() + ask.deadline;
        let body = Bytes::from(ask.body);
        let request = || {
            let mut request = hyper::Request::post(&place.path)
                .header(HOST, &place.authority)
                .header(CONTENT_TYPE, "application/json");
            if let Some(authorization) = ask.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            request
                .body(Full::new(body.clone()))
                .map_err(|_| RpcError::Address("it makes no request of HTTP".into()))
        };
        let exchange = |link: &mut Link| -> Result<Answer, Lost> {
            let request = request().map_err(Lost::Failed)?;
            let exchange = link.exchange(request, ask.limit, place.port);
            let answer = async_io::block_on(until(deadline, exchange));
            let timeout = || RpcError::Timeout(ask.deadline);
            answer.unwrap_or_else(|| {
                Err(Lost::Failed(link.misheard(place.port).unwrap_or_else(timeout)))
            })
        };
        if let Some(mut link) = self.take() {
            match exchange(&mut link) {
                Ok(answer) => return Ok((answer, link)),
                Err(Lost::Unheard(why)) => log::debug!("a kept connection was of no use: {why}"),
                Err(Lost::Failed(error)) => return Err(self.failed(error)),
            }
        }
        let mut link = self.open(place, deadline, ask.deadline)?;
        match exchange(&mut link) {
            Ok(answer) => Ok((answer, link)),
            Err(Lost::Unheard(error) | Lost::Failed(error)) => Err(self.failed(error)),
        }
    }

    /// The connection's last answer was good: it may serve again.
    pub(super) fn keep(&self, mut link: Link) {
        if async_io::block_on(link.is_open()) {
            let mut idle = self.idle();
            idle.push_back(link);
            if idle.len() > IDLE_MAX {
                idle.pop_front();
            }
        }
    }

    /// Makes sure that a connection lies idle.
    pub(super) fn keep_spare(&self, within: Duration) -> Result<(), RpcError> {
        let place = self.place.as_ref().map_err(Clone::clone)?;
        let link = match self.take() {
            Some(link) => link,
            None => self.open(place, Instant::now() + within, within)?,
        };
        // Not the last in the row: it was not used.
        self.idle().push_front(link);
        Ok(())
    }

    /// How many connections are open now, idle or in use.
    pub(super) fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// The idle connection that was not used for longest, of those that still serve.
    fn take(&self) -> Option<Link> {
        loop {
            let mut link = self.idle().pop_front()?;
            let serves = link.used.elapsed() < link.lasts.min(IDLE_AT_MOST);
            if serves && async_io::block_on(link.is_open()) {
                return Some(link);
            }
        }
    }

    /// Something is wrong: the other connections are no better, and the name may mean another
    /// address by now.
    pub(super) fn doubt(&self) {
        self.idle().clear();
        self.known().good = false;
    }

    fn failed(&self, error: RpcError) -> RpcError {
        self.doubt();
        error
    }

    fn open(&self, place: &Place, deadline: Instant, within: Duration) -> Result<Link, RpcError> {
        let mut addresses = self.addresses(place)?;
        let trust = place.secure.then(|| self.trust()).transpose()?;
        let opened = async_io::block_on(async {
            let (stream, address) = link::connect(&addresses, deadline, within).await?;
            let certificate = self.certificate.as_deref();
            let start = Link::start(stream, place, certificate, trust, &self.open);
            let started = until(deadline, start).await;
            Ok((started.ok_or(RpcError::Timeout(within))??, address))
        });
        match opened {
            Ok((link, address)) => {
                addresses.retain(|other| *other != address);
                addresses.insert(0, address);
                *self.known() = Known { addresses, good: true };
                Ok(link)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The addresses of the node's name. It is looked up (by getaddrinfo, on this thread) unless
    /// the last calls were good; where that fails, the name means what it meant before.
    fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, RpcError> {
        if let Ok(ip) = place.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, place.port)]);
        }
        {
            let known = self.known();
            if known.good {
                return Ok(known.addresses.clone());
            }
        }
        let found: Vec<SocketAddr> = match (place.host.as_str(), place.port).to_socket_addrs() {
            Ok(found) => found.collect(),
            Err(_) => self.known().addresses.clone(),
        };
        if found.is_empty() { Err(RpcError::UnknownName(place.host.clone())) } else { Ok(found) }
    }

    fn trust(&self) -> Result<Arc<ClientConfig>, RpcError> {
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        match &*trust {
            Some(known) => Ok(known.clone()),
            None => Ok(trust.insert(tls::client(self.certificate.as_deref())?).clone()),
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
