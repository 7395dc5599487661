//! Set-up and settings: everything on the page that changes something.
//!
//! A POST passes these before anything happens: source address, rate, Host, `Origin` equal to Host,
//! a form of at most 16 kB within 10 s, then a living session and its form token (set-up, which has
//! no session yet, exists only while nothing is configured). The PIN is hashed on a pool thread.

use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_io::Timer;
use futures_lite::FutureExt;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header;
use hyper::{Request, Response, StatusCode};
use smol::LocalExecutor;

use crate::clock::Now;
use crate::settings::access::{self, Access, Token};
use crate::settings::{self, Input, NODES_MAX, NodeValues, Output, Settings, Values};
use crate::status::PendingPayoutView;

use super::forms::{self, Page};
use super::route::{self, Body};
use super::{BODY_MAX, Http};

/// What the daemon found out about new values.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Sentences about what was found: the address's kind, each node in its own words.
    pub findings: Vec<String>,
    /// Why the values cannot be taken, each a sentence that says what to write instead; empty when
    /// they can.
    pub problems: Vec<String>,
}

/// Something that the owner starts by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the daemon anew.
    Restart,
    /// Start the board anew.
    Reboot,
    /// Shut the board down.
    PowerOff,
    /// Let the next node take the lead, to see that it can.
    FireDrill,
}

/// A future on the daemon's executor.
pub type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// What the page can change. The daemon implements it.
pub trait Control {
    /// What is in force. Passwords are `None`.
    fn values(&self) -> Values;

    /// Tests new values: checksum and chain of the address, an answer of each node. Missing
    /// passwords are put in by [`Values::fill_passwords`], here and in [`Control::apply`]. Takes seconds at most, and changes nothing.
    fn check(&self, values: Values) -> Local<Checked>;

    /// Saves the values atomically and puts them into force without dropping a miner.
    ///
    /// # Errors
    /// A sentence; nothing has changed then.
    fn apply(&self, values: &Values) -> Local<Result<(), String>>;

    /// The stored PIN (see [`access::hash_pin`]); `None` before the set-up, and for a box that is
    /// configured by its file alone: its page then changes nothing.
    fn pin(&self) -> Option<String>;

    /// Stores a PIN.
    ///
    /// # Errors
    /// A sentence.
    fn set_pin(&self, hash: &str) -> Local<Result<(), String>>;

    /// Why [`Control::pin`] is `None`, and what to do about it.
    fn why_closed(&self) -> String {
        NO_PIN.to_owned()
    }

    /// A payout address waits, or no longer does. To be shown in the snapshot and announced.
    fn pending(&self, pending: Option<PendingPayoutView>);

    /// Something was changed from this address. To be kept in the audit list.
    fn audit(&self, from: IpAddr, text: String);

    /// Does it.
    ///
    /// # Errors
    /// A sentence: not possible here.
    fn act(&self, action: Action) -> Result<String, String>;
}

/// The state of set-up and settings.
pub struct Admin {
    control: Rc<dyn Control>,
    executor: Rc<LocalExecutor<'static>>,
    access: RefCell<Access>,
    settings: RefCell<Settings>,
}

/// Longest time for a form to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the nodes to answer the test.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
const COOKIE: &str = "soloist";

/// Why a page without PIN changes nothing, and the remedy.
pub const NO_PIN: &str = "This box is configured by its file, soloist.toml, and has no PIN. Write \
                          pin = \"…\" below [http] and reload the service.";

/// Whether a path takes POST.
pub fn takes(path: &str) -> bool {
    matches!(path, "/setup" | "/login" | "/logout" | "/settings" | "/pin" | "/action")
}

impl Admin {
    /// `executor` runs the wait of a new payout address.
    pub fn new(control: Rc<dyn Control>, executor: Rc<LocalExecutor<'static>>) -> Rc<Admin> {
        Rc::new(Admin {
            control,
            executor,
            access: RefCell::new(Access::new()),
            settings: RefCell::new(Settings::new()),
        })
    }

    /// `GET /settings`.
    pub fn show(&self, http: &Http, request: &Request<Incoming>) -> Response<Body> {
        match self.session(request) {
            _ if self.open_for_set_up() => {
                let name = http.rendered().snapshot.name.clone();
                let values = Values { name, ..Values::default() };
                self.page(http, Page::SetUp(&values, &[]))
            }
            Some(form) => self.settings_page(http, &form, &[], &[]),
            None if self.control.pin().is_some() => self.page(http, Page::Login("")),
            None => self.page(http, Page::FileOnly(&self.control.why_closed())),
        }
    }

    /// A POST that passed the checks of its head.
    pub async fn post(
        self: Rc<Self>,
        http: &Http,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let cookie = cookie(&request);
        let session = self.session(&request);
        let Some(form) = read_form(request).await else {
            return route::plain(StatusCode::BAD_REQUEST, "This form did not arrive whole.\n");
        };
        match path.as_str() {
            "/setup" if self.open_for_set_up() => return self.set_up(http, &form, peer).await,
            "/login" => return self.login(http, &form, peer).await,
            _ => {}
        }
        let Some(token) = session else {
            return route::see("/settings");
        };
        let theirs = form.get("token").and_then(access::token_from_hex);
        if !theirs.is_some_and(|theirs| access::same(&theirs, &token)) {
            return route::plain(
                StatusCode::FORBIDDEN,
                "This form is out of date: reload the page.\n",
            );
        }
        match path.as_str() {
            "/logout" => {
                if let Some(cookie) = cookie {
                    self.access.borrow_mut().close(&cookie);
                }
                route::see("/")
            }
            "/pin" => self.change_pin(http, &form, &token, peer).await,
            "/action" => self.act(http, &form, &token, peer),
            "/settings" => self.change(http, &form, &token, peer).await,
            _ => route::see("/settings"),
        }
    }

    async fn set_up(self: &Rc<Self>, http: &Http, form: &Form, peer: IpAddr) -> Response<Body> {
        let values = form.values();
        let pin = form.get("pin").unwrap_or_default().to_owned();
        let mut problems = Vec::new();
        if let Err(bad) = access::check_pin(&pin) {
            problems.push(bad.to_string());
        } else if form.get("pin2") != Some(&pin) {
            problems.push("The two PINs differ.".to_owned());
        }
        let checked = self.check(&values).await;
        problems.extend(checked.problems);
        if !problems.is_empty() {
            return self.page(http, Page::SetUp(&values, &problems));
        }
        if form.get("step") != Some("save") {
            return self.page(http, Page::ConfirmSetUp(&values, &pin, &checked.findings));
        }
        // Somebody else may have been faster while the nodes answered.
        if !self.open_for_set_up() {
            return route::see("/settings");
        }
        let Some(hash) = new_hash(pin).await else {
            return out_of_luck();
        };
        if let Err(problem) = self.control.set_pin(&hash).await {
            return self.page(http, Page::SetUp(&values, &[problem]));
        }
        self.control.audit(peer, "Set up.".to_owned());
        let change = |current| Input::Change { current, new: values.clone() };
        let problems = self.tell(peer, change).await;
        if !problems.is_empty() {
            return self.page(http, Page::SetUp(&values, &problems));
        }
        http.forget_rendered();
        self.enter("/")
    }

    async fn login(&self, http: &Http, form: &Form, peer: IpAddr) -> Response<Body> {
        let Some(stored) = self.control.pin() else {
            return route::see("/settings");
        };
        if !self.access.borrow_mut().may_try(Instant::now(), peer) {
            self.control.audit(peer, "Too many tries of the PIN.".to_owned());
            let mut answer = self.page(http, Page::Login("Too many tries: wait a minute."));
            *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            return answer;
        }
        let pin = form.get("pin").unwrap_or_default().to_owned();
        if !blocking::unblock(move || access::pin_fits(&pin, &stored)).await {
            self.control.audit(peer, "A wrong PIN was tried.".to_owned());
            let mut answer = self.page(http, Page::Login("This is not the PIN."));
            *answer.status_mut() = StatusCode::FORBIDDEN;
            return answer;
        }
        self.enter("/settings")
    }

    async fn change(
        self: &Rc<Self>,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let problems = match form.get("step") {
            Some("cancel") => self.tell(peer, |_| Input::Cancel).await,
            Some("undo") => self.tell(peer, |current| Input::Undo { current }).await,
            step => {
                let values = form.values();
                let checked = self.check(&values).await;
                if !checked.problems.is_empty() {
                    let page =
                        Page::Settings(token, &values, &checked.problems, &[], self.undoable());
                    return self.page(http, page);
                }
                if step != Some("save") {
                    let changes = settings::diff(&self.control.values(), &values);
                    let page = Page::Confirm(token, &values, &changes, &checked.findings);
                    return self.page(http, page);
                }
                let change = |current| Input::Change { current, new: values.clone() };
                self.tell(peer, change).await
            }
        };
        http.forget_rendered();
        if problems.is_empty() {
            return route::see("/settings");
        }
        self.settings_page(http, token, &problems, &[])
    }

    async fn change_pin(
        &self,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let pin = form.get("pin").unwrap_or_default().to_owned();
        if let Err(bad) = access::check_pin(&pin) {
            return self.settings_page(http, token, &[bad.to_string()], &[]);
        }
        if form.get("pin2") != Some(&pin) {
            return self.settings_page(http, token, &["The two PINs differ.".to_owned()], &[]);
        }
        let Some(hash) = new_hash(pin).await else {
            return out_of_luck();
        };
        if let Err(problem) = self.control.set_pin(&hash).await {
            return self.settings_page(http, token, &[problem], &[]);
        }
        self.control.audit(peer, "The PIN is changed.".to_owned());
        self.access.borrow_mut().close_all();
        route::see("/settings")
    }

    fn act(&self, http: &Http, form: &Form, token: &Token, peer: IpAddr) -> Response<Body> {
        let (action, words) = match form.get("action") {
            Some("restart") => (Action::Restart, "Restart of Soloist"),
            Some("reboot") => (Action::Reboot, "Restart of the box"),
            Some("poweroff") => (Action::PowerOff, "Shutdown of the box"),
            Some("drill") => (Action::FireDrill, "Fire drill of the nodes"),
            _ => return route::see("/settings"),
        };
        if action != Action::FireDrill && form.get("sure") != Some("yes") {
            let problem = "Tick the box beside the button first.".to_owned();
            return self.settings_page(http, token, &[problem], &[]);
        }
        self.control.audit(peer, format!("{words} asked for."));
        match self.control.act(action) {
            Ok(done) => self.settings_page(http, token, &[], &[done]),
            Err(problem) => self.settings_page(http, token, &[problem], &[]),
        }
    }

    /// Runs the core and does what it wants. Sentences when something could not be done.
    async fn tell(
        self: &Rc<Self>,
        peer: IpAddr,
        input: impl FnOnce(Values) -> Input,
    ) -> Vec<String> {
        let mut out = Vec::new();
        let input = input(self.control.values());
        self.settings.borrow_mut().handle(now(), input, &mut out);
        let mut problems = Vec::new();
        for output in out {
            match output {
                Output::Apply(values) => {
                    if let Err(problem) = self.control.apply(&values).await {
                        self.control.audit(peer, format!("That failed: {problem}"));
                        problems.push(problem);
                    }
                }
                Output::Pending(pending) => {
                    let wait = pending.is_some();
                    self.control.pending(pending);
                    if wait {
                        self.clone().wait(peer);
                    }
                }
                Output::Audit(text) => self.control.audit(peer, text),
            }
        }
        problems
    }

    /// Wakes the core when the waiting address is due.
    fn wait(self: Rc<Self>, peer: IpAddr) {
        let Some(due) = self.settings.borrow().next_deadline() else {
            return;
        };
        let executor = self.executor.clone();
        executor
            .spawn(async move {
                Timer::at(due).await;
                for problem in self.tell(peer, |current| Input::Tick { current }).await {
                    log::error!("settings: the new payout address could not be set: {problem}");
                }
            })
            .detach();
    }

    async fn check(&self, values: &Values) -> Checked {
        let slow = async {
            Timer::after(CHECK_TIMEOUT).await;
            let problems = vec!["The nodes did not answer within 20 s.".to_owned()];
            Checked { problems, ..Checked::default() }
        };
        self.control.check(values.clone()).or(slow).await
    }

    fn open_for_set_up(&self) -> bool {
        self.control.pin().is_none() && self.control.values().payout.is_empty()
    }

    fn undoable(&self) -> bool {
        self.settings.borrow().can_undo()
    }

    fn session(&self, request: &Request<Incoming>) -> Option<Token> {
        let cookie = cookie(request)?;
        self.access.borrow_mut().session(Instant::now(), &cookie)
    }

    /// Opens a session and leads on.
    fn enter(&self, to: &'static str) -> Response<Body> {
        let (Some(cookie), Some(form)) = (random(), random()) else {
            return out_of_luck();
        };
        self.access.borrow_mut().open(Instant::now(), cookie, form);
        let mut answer = route::see(to);
        let cookie =
            format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/", access::token_hex(&cookie));
        if let Ok(cookie) = cookie.parse() {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        answer
    }

    fn settings_page(
        &self,
        http: &Http,
        token: &Token,
        problems: &[String],
        done: &[String],
    ) -> Response<Body> {
        let values = self.control.values();
        self.page(http, Page::Settings(token, &values, problems, done, self.undoable()))
    }

    fn page(&self, http: &Http, page: Page<'_>) -> Response<Body> {
        let rendered = http.rendered();
        route::html_answer(forms::render(&rendered.snapshot, &rendered.judgement, page))
    }
}

fn out_of_luck() -> Response<Body> {
    route::plain(StatusCode::INTERNAL_SERVER_ERROR, "The system gives no random numbers.\n")
}

async fn new_hash(pin: String) -> Option<String> {
    let salt = random()?;
    Some(blocking::unblock(move || access::hash_pin(&pin, &salt)).await)
}

fn random() -> Option<Token> {
    let mut token = Token::default();
    match getrandom::fill(&mut token) {
        Ok(()) => Some(token),
        Err(error) => {
            log::error!("settings: no random numbers: {error}");
            None
        }
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { mono: Instant::now(), unix }
}

fn cookie(request: &Request<Incoming>) -> Option<Token> {
    let cookies = request.headers().get_all(header::COOKIE).iter();
    cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|c| access::token_from_hex(c.trim().strip_prefix(COOKIE)?.strip_prefix('=')?))
}

async fn read_form(request: Request<Incoming>) -> Option<Form> {
    let kind = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let limit = usize::try_from(BODY_MAX).unwrap_or(usize::MAX);
    let body = async { Limited::new(request.into_body(), limit).collect().await.ok() };
    let slow = async {
        Timer::after(FORM_TIMEOUT).await;
        None
    };
    let body = body.or(slow).await?.to_bytes();
    Some(Form::parse(std::str::from_utf8(&body).ok()?))
}

/// Fields of a form, in their order.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(text: &str) -> Form {
        let decode = |part: &str| route::percent_decoded(&part.replace('+', " "));
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Form(pairs.map(|(name, value)| (decode(name), decode(value).trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn values(&self) -> Values {
        let field = |name: String| self.get(&name).unwrap_or_default().to_owned();
        let nodes = (0..NODES_MAX).map(|i| NodeValues {
            url: field(format!("url{i}")),
            user: field(format!("user{i}")),
            password: self
                .get(&format!("password{i}"))
                .filter(|p| !p.is_empty())
                .map(str::to_owned),
            zmq: field(format!("zmq{i}")),
        });
        Values {
            name: field("name".to_owned()),
            // People paste addresses in blocks of four, as the page shows them.
            payout: field("payout".to_owned()).split_whitespace().collect(),
            tag: self.get("tag").unwrap_or("Soloist").trim_matches('/').to_owned(),
            nodes: nodes.filter(|node| !node.url.is_empty()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let form = Form::parse(
            "name=my+box%21&payout=bc1q+ar0s%20rrr7&url0=http%3A%2F%2Fa%3A8332&user0=u&password0=\
             &url1=&user1=ghost&url2=http://b&password2=p%26q&x",
        );
        let values = form.values();
        assert_eq!(values.name, "my box!");
        assert_eq!(values.payout, "bc1qar0srrr7");
        assert_eq!(values.nodes.len(), 2);
        assert_eq!(values.nodes[0].url, "http://a:8332");
        assert_eq!(values.nodes[0].password, None);
        assert_eq!(values.nodes[1].password.as_deref(), Some("p&q"));
    }
}
