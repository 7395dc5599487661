//! Devices for tests: servers that answer and behave as the firmwares' sources say, hostile ones among
//! them. `device/*.json` has what each firmware tells, every field; where it changes settings in a way of
//! its own, that is in `device/firmware.rs`.

mod firmware;
mod rpc;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Map, Value};
use soloist::devices::pointing::{Call, Method};
use soloist::devices::{Answer as Asked, Api};

use firmware::{Answer, Firmware};

/// How long a device is away when it restarts. Real ones are for ten to twenty seconds.
pub const RESTART: Duration = Duration::from_millis(100);

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AxeOs2_15,
    AxeOs2_14,
    AxeOs2_13,
    AxeOs2_8,
    NerdQAxe,
    NmAxe,
    Nano3s,
    AvalonQ,
    Antminer,
    /// At any port, whatever it is asked.
    Hostile(Hostile),
}

impl Kind {
    pub fn is_http(self) -> bool {
        !matches!(self, Kind::Nano3s | Kind::AvalonQ | Kind::Antminer)
    }

    /// What it tells, of every question of its API.
    pub fn told(self) -> &'static str {
        match self {
            Kind::AxeOs2_15 | Kind::Hostile(_) => include_str!("device/axeos-2.15.json"),
            Kind::AxeOs2_14 => include_str!("device/axeos-2.14.json"),
            Kind::AxeOs2_13 => include_str!("device/axeos-2.13.json"),
            Kind::AxeOs2_8 => include_str!("device/axeos-2.8.json"),
            Kind::NerdQAxe => include_str!("device/nerdqaxe-1.0.38.json"),
            Kind::NmAxe => include_str!("device/nmaxe-3.0.json"),
            Kind::Nano3s => include_str!("device/nano3s.json"),
            Kind::AvalonQ => include_str!("device/avalon-q.json"),
            Kind::Antminer => include_str!("device/antminer.json"),
        }
    }
}

/// What one does that means harm, or is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// An answer of ten megabytes, whose length is told.
    TenMegabytes,
    /// One that does not end.
    Endless,
    /// A byte now and then, for ever.
    Trickle,
    /// It takes the connection and says nothing.
    Silent,
    /// It sends the asker elsewhere: to port 9 of the loopback.
    Redirect,
    /// Each field has a type that it should not have.
    WrongTypes,
    /// Each number is `NaN`, which is no JSON.
    NotNumbers,
    /// Each number is 1e300.
    Huge,
    /// Each text is markup.
    Markup,
    /// It says that it is at this address, by this name.
    Claims(Ipv4Addr),
}

/// A pool that a device connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinesOn {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub is_v2: bool,
}

pub struct Device {
    pub kind: Kind,
    pub address: SocketAddr,
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    kind: Kind,
    address: SocketAddr,
    state: Mutex<State>,
    stops: AtomicBool,
}

struct State {
    firmware: Firmware,
    requests: Vec<String>,
    /// To be carried out when the answer has been sent.
    restarts: bool,
    /// How often it has.
    restarted: usize,
}

impl Device {
    /// # Panics
    /// The address is taken, or its port is not for us.
    pub fn start(kind: Kind, address: SocketAddr) -> Device {
        Device::try_start(kind, address)
            .unwrap_or_else(|error| panic!("{kind:?} at {address}: {error}"))
    }

    /// # Errors
    /// The address is taken, or its port is not for us.
    pub fn try_start(kind: Kind, address: SocketAddr) -> std::io::Result<Device> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let firmware = Firmware::new(kind);
        let state = State { firmware, requests: Vec::new(), restarts: false, restarted: 0 };
        let (state, stops) = (Mutex::new(state), AtomicBool::new(false));
        let inner = Arc::new(Inner { kind, address, state, stops });
        let thread = thread::spawn({
            let inner = inner.clone();
            move || serve(&inner, listener)
        });
        Ok(Device { kind, address, inner, thread: Some(thread) })
    }

    /// What it answers now: the body of the info, or the answers by their commands.
    pub fn info(&self) -> Value {
        Value::Object(self.inner.state().firmware.info())
    }

    /// What is stored in it, passwords too: what a restart keeps.
    pub fn settings(&self) -> Value {
        Value::Object(self.inner.state().firmware.settings())
    }

    /// The pool that it connects to. Settings of AxeOS take effect when it restarts.
    pub fn mines_on(&self) -> MinesOn {
        self.inner.state().firmware.mines_on()
    }

    /// Changes what it tells, settings among it: as if its sensors, or its owner at its own page, had. Of an
    /// object only the fields that are given change; `null` takes one away.
    pub fn set(&self, changes: Value) {
        let Value::Object(changes) = changes else { panic!("no object: {changes}") };
        self.inner.state().firmware.set(changes);
    }

    /// What it was asked: each request's bytes.
    pub fn requests(&self) -> Vec<String> {
        self.inner.state().requests.clone()
    }

    /// How often it has restarted.
    pub fn restarted(&self) -> usize {
        self.inner.state().restarted
    }

    /// Pulls its plug.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.inner.stops.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn stops(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }
}

fn serve(inner: &Arc<Inner>, mut listener: TcpListener) {
    while !inner.stops() {
        let Ok((stream, caller)) = listener.accept() else { continue };
        if inner.stops() {
            return;
        }
        let one = inner.clone();
        let work = move || {
            let _ = match one.kind {
                Kind::Hostile(hostile) => harm(&one, hostile, stream),
                kind if kind.is_http() => http(&one, stream, caller.ip()),
                _ => rpc::answer(&one, stream),
            };
        };
        // A device does one thing after the other; one that harms must not keep us from its end.
        match inner.kind {
            Kind::Hostile(_) => drop(thread::spawn(work)),
            _ => work(),
        }
        if std::mem::take(&mut inner.state().restarts) {
            drop(listener);
            thread::sleep(RESTART);
            inner.state().firmware.start_anew();
            listener = TcpListener::bind(inner.address).unwrap();
            // Whoever waits for this connects next.
            inner.state().restarted += 1;
        }
    }
}

/// A request.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(told, _)| told.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// One request, and the end: what the firmwares do when they are asked so is no part of it. `None` of a
/// caller that leaves.
fn request(inner: &Inner, stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        // esp_http_server takes 1024 bytes of head.
        if stream.read_line(&mut head)? == 0 || head.len() > 4_096 {
            return Ok(None);
        }
        if head[before..].trim().is_empty() {
            break;
        }
    }
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Request { method, path, headers, body: Vec::new() };
    let length =
        request.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; usize::min(length, 64 * 1024)];
    stream.read_exact(&mut request.body)?;
    let text = head + &String::from_utf8_lossy(&request.body);
    inner.state().requests.push(text);
    Ok(Some(request))
}

fn http(inner: &Inner, stream: TcpStream, caller: IpAddr) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut stream = BufReader::new(stream);
    let Some(request) = request(inner, &mut stream)? else { return Ok(()) };
    let answer = {
        let mut state = inner.state();
        let answer = state.firmware.answer(&request, caller);
        state.restarts |= answer.restarts;
        answer
    };
    write_answer(stream.get_mut(), &answer)
}

fn write_answer(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
    let Answer { status, kind, body, is_chunked, .. } = answer;
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n");
    if *kind == "application/json" {
        head += "Access-Control-Allow-Origin: *\r\n";
    }
    if *is_chunked {
        head += "Transfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        // As NerdQAxe's writer does.
        for chunk in body.as_bytes().chunks(2_048) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            stream.write_all(chunk)?;
            stream.write_all(b"\r\n")?;
        }
        return stream.write_all(b"0\r\n\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn harm(inner: &Inner, hostile: Hostile, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut stream = BufReader::new(stream);
    // By the first byte it is seen whether it is asked by HTTP.
    let is_http = stream.fill_buf()?.first().is_some_and(u8::is_ascii_uppercase);
    if is_http {
        request(inner, &mut stream)?;
    }
    let mut stream = stream.into_inner();
    let head =
        |more: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}\r\n");
    let start = |stream: &mut TcpStream, more: &str| match is_http {
        true => stream.write_all(head(more).as_bytes()),
        false => Ok(()),
    };
    let filler = [b'['; 64 * 1024];
    match hostile {
        Hostile::TenMegabytes => {
            start(&mut stream, "Content-Length: 10485760\r\n")?;
            (0..160).try_for_each(|_| stream.write_all(&filler))
        }
        Hostile::Endless => {
            start(&mut stream, "")?;
            while !inner.stops() {
                stream.write_all(&filler)?;
            }
            Ok(())
        }
        Hostile::Trickle => {
            start(&mut stream, "")?;
            while !inner.stops() {
                stream.write_all(b" ")?;
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        }
        Hostile::Silent => {
            while !inner.stops() {
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
        Hostile::Redirect => {
            let there = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/api/system/info\r\n\
                         Content-Length: 0\r\n\r\n";
            stream.write_all(there.as_bytes())
        }
        _ => {
            let body = lie(hostile, &inner.state().firmware.info());
            start(
                &mut stream,
                &format!("Content-Length: {}\r\nConnection: close\r\n", body.len()),
            )?;
            stream.write_all(body.as_bytes())
        }
    }
}

/// Sends a call to a device; its status and what it says.
///
/// # Panics
/// It does not answer.
pub fn send(address: SocketAddr, call: &Call) -> (u16, String) {
    let method = match call.method {
        Method::Get => minreq::Method::Get,
        Method::Post => minreq::Method::Post,
        Method::Patch => minreq::Method::Patch,
        Method::Delete => minreq::Method::Delete,
    };
    let request = minreq::Request::new(method, format!("http://{address}{}", call.path));
    let request = request.with_timeout(10).with_follow_redirects(false);
    let request =
        if call.body.is_empty() { request } else { request.with_body(call.body.as_str()) };
    let answer = request.send().unwrap();
    (answer.status_code as u16, answer.as_str().unwrap().to_owned())
}

/// The body of one that answers in time, but not the truth.
pub fn lie(hostile: Hostile, info: &Map<String, Value>) -> String {
    let all = |change: &dyn Fn(&Value) -> Value| {
        info.iter().map(|(name, value)| (name.clone(), deep(value, change))).collect::<Map<_, _>>()
    };
    let told = match hostile {
        Hostile::WrongTypes => all(&|value| match value {
            Value::String(_) => Value::from(7),
            Value::Number(_) => Value::from(vec![Value::Null]),
            Value::Bool(_) => Value::from("yes"),
            other => other.clone(),
        }),
        Hostile::NotNumbers => all(&|value| match value {
            Value::Number(_) => Value::from("#NaN#"),
            other => other.clone(),
        }),
        Hostile::Huge => all(&|value| match value {
            Value::Number(_) => Value::from(1e300),
            other => other.clone(),
        }),
        Hostile::Markup => all(&|value| match value {
            Value::String(_) => Value::from("</td><script>alert(1)</script>\u{202e}\"'&"),
            other => other.clone(),
        }),
        Hostile::Claims(address) => {
            let mut told = info.clone();
            for name in ["ipv4", "hostip", "hostname", "fullHostname", "stratumURL"] {
                told.insert(name.to_owned(), Value::from(address.to_string()));
            }
            told
        }
        _ => info.clone(),
    };
    Value::Object(told).to_string().replace("\"#NaN#\"", "NaN")
}

fn deep(value: &Value, change: &dyn Fn(&Value) -> Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|value| deep(value, change)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), deep(value, change)));
            Value::Object(fields.collect())
        }
        other => change(other),
    }
}

/// Changes fields; of an object only those that are given, and `null` takes one away.
fn merge(into: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, value) in changes {
        match (into.get_mut(&name), value) {
            (_, Value::Null) => drop(into.remove(&name)),
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

/// Asks a device all that there is to ask, as the daemon does.
///
/// # Panics
/// It does not answer.
pub fn ask(device: &Device) -> Vec<Asked> {
    let api = if device.kind.is_http() { Api::Http } else { Api::Cgminer };
    let answer = |to: &&'static str| {
        let body = match api {
            Api::Http => {
                let call =
                    Call { method: Method::Get, path: (*to).to_owned(), body: String::new() };
                send(device.address, &call).1.into_bytes()
            }
            Api::Cgminer => {
                let mut stream = TcpStream::connect(device.address).unwrap();
                stream.write_all(format!("{{\"command\":\"{to}\"}}").as_bytes()).unwrap();
                let mut body = Vec::new();
                stream.read_to_end(&mut body).unwrap();
                body
            }
        };
        Asked { to, body }
    };
    api.questions().iter().map(answer).collect()
}
