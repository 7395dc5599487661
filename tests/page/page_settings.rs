//! Set-up and settings over real sockets: the owner's way, and the ways of others.

// A test's helpers may panic.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use soloist::server::http::admin::{Action, Snooze};
use soloist::settings::SERVICES;
use soloist::status::{About, AlarmView, Level};

use crate::owner::{self, Kept};

const ADDRESS: &str = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
const OTHER: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

struct Server {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    _stop: async_channel::Sender<()>,
    cookie: RefCell<String>,
}

impl Server {
    fn start(kept: Kept) -> Server {
        let kept = Arc::new(Mutex::new(kept));
        let shared = kept.clone();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = async_channel::bounded::<()>(1);
        thread::spawn(move || {
            owner::serve(shared, &tell, &stopped);
        });
        let address = told.recv().unwrap();
        Server { address, kept, _stop: stop, cookie: RefCell::default() }
    }

    /// A box that is set up, with the PIN 7391.
    fn ready() -> Server {
        let server = Server::start(Kept::default());
        let answer = server.post("/setup", &format!("{}&step=save", set_up(ADDRESS, "7391")));
        assert_eq!(answer.code, 303, "{}", answer.body);
        server
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let cookie = head.lines().find_map(|l| l.strip_prefix("set-cookie: "));
        if let Some(cookie) = cookie {
            assert!(cookie.contains("HttpOnly; SameSite=Strict"));
            *self.cookie.borrow_mut() = cookie.split(';').next().unwrap().to_owned();
        }
        let leads_to = head.lines().find_map(|l| l.strip_prefix("location: ")).map(str::to_owned);
        Answer { code, leads_to, body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        let cookie = self.cookie.borrow().clone();
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: solo.local\r\nCookie: a=b; {cookie}\r\nConnection: close\r\n\r\n"
        ))
    }

    fn post(&self, path: &str, form: &str) -> Answer {
        self.post_from(path, form, "http://solo.local")
    }

    fn post_from(&self, path: &str, form: &str, origin: &str) -> Answer {
        let cookie = self.cookie.borrow().clone();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: solo.local\r\nOrigin: {origin}\r\nCookie: {cookie}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{form}",
            form.len()
        ))
    }

    fn post_json(&self, path: &str, body: &str) -> Answer {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: solo.local\r\nOrigin: http://solo.local\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Id and name of the only missing miner, and of one that mines.
    fn missing_and_present(&self) -> ((String, String), (String, String)) {
        // With an alarm, a miner is missing.
        self.kept(|kept| kept.alarms = vec![AlarmView::default()]);
        let told: serde_json::Value = serde_json::from_str(&self.get("/api/miners").body).unwrap();
        let all = told["miners"].as_array().unwrap();
        let of = |gone: bool| {
            let miner = all.iter().find(|m| (m["state"] == "gone") == gone).unwrap();
            let text = |key: &str| miner[key].as_str().unwrap().to_owned();
            (text("id"), text("name"))
        };
        assert_eq!(all.iter().filter(|m| m["state"] == "gone").count(), 1);
        (of(true), of(false))
    }

    /// The form token of the open session.
    fn token(&self) -> String {
        let page = self.get("/settings").body;
        let (_, rest) = page.split_once("name=\"token\" value=\"").expect("an open session");
        rest[..32].to_owned()
    }

    fn kept<T>(&self, read: impl FnOnce(&mut Kept) -> T) -> T {
        read(&mut self.kept.lock().unwrap())
    }
}

struct Answer {
    code: u16,
    leads_to: Option<String>,
    body: String,
}

fn set_up(payout: &str, pin: &str) -> String {
    format!(
        "name=solo&payout={payout}&url0=http://a:8332&user0=u&password0=geheim&pin={pin}&pin2={pin}"
    )
}

fn change(token: &str, payout: &str, name: &str) -> String {
    format!("token={token}&name={name}&payout={payout}&url0=http://a:8332&user0=u&step=save")
}

#[test]
fn the_first_visit_leads_through_the_set_up() {
    let server = Server::start(Kept::default());
    assert!(server.get("/").body.contains("href=\"/settings\""));
    let page = server.get("/settings").body;
    assert!(page.contains("action=\"/setup\""));

    let wrong = server.post("/setup", &set_up("not-an-address", "12"));
    assert!(wrong.body.contains("A PIN has at least 4 characters."));
    assert!(wrong.body.contains("This is no address of the main chain."));
    server.kept(|kept| assert!(kept.pin.is_none() && kept.values.payout.is_empty()));

    // In blocks of four, as people copy it from another page.
    let fours = "bc1q+ar0s+rrr7+xfkv+y5l6+43ly+dnw9+re59+gtzz+wf5m+dq";
    let check = server.post("/setup", &set_up(fours, "7391"));
    assert!(check.body.contains("<span>bc1q</span><span>ar0s</span>"), "{}", check.body);
    assert!(check.body.contains("http://a:8332 says: &lt;b&gt;block 925113&lt;/b&gt;"));
    server.kept(|kept| assert!(kept.values.payout.is_empty(), "nothing is saved before the yes"));

    let saved = server.post("/setup", &format!("{}&step=save", set_up(fours, "7391")));
    assert_eq!(saved.code, 303);
    server.kept(|kept| {
        assert_eq!(kept.values.payout, ADDRESS);
        assert_eq!(kept.values.nodes[0].password.as_deref(), Some("geheim"));
        let pin = kept.pin.as_deref().unwrap();
        assert!(pin.starts_with("argon2id:") && !pin.contains("7391"));
        assert!(!format!("{:?}", kept.audit).contains("geheim"));
    });

    // The door is shut behind the first one.
    let again = server.post("/setup", &format!("{}&step=save", set_up(OTHER, "9999x")));
    assert_ne!(again.code, 200);
    server.kept(|kept| assert_eq!(kept.values.payout, ADDRESS));
}

#[test]
fn the_set_up_ends_with_the_miners_and_says_what_comes_next() {
    let server = Server::start(Kept { is_new: true, ..Kept::default() });
    let saved = server.post("/setup", &format!("{}&step=save", set_up(ADDRESS, "7391")));
    assert_eq!((saved.code, saved.leads_to.as_deref()), (303, Some("/devices")));
    let page = server.get("/devices").body;
    for next in
        ["no miner is connected to it yet", "value=\"find\"", "href=\"/#connect\"", "href=\"/\""]
    {
        assert!(page.contains(next), "{next}: {page}");
    }
    assert!(server.get("/settings").body.contains("href=\"/devices\""), "without a miner, too");
    let token = server.token();
    let page = server.post("/devices", &format!("token={token}&step=find")).body;
    assert!(page.contains("2 devices were found.") && page.contains("value=\"plan\""), "{page}");
}

#[test]
fn of_a_silent_device_nothing_is_told_as_if_it_were_so_now() {
    let server = Server::ready();
    let page = server.get("/devices").body;
    assert!(!page.contains("no miner is connected"), "four are");
    let part = |name: &str| {
        let at = format!("<h2>{name}</h2>");
        page.split(&at).nth(1).unwrap().split("</section>").next().unwrap()
    };
    assert!(part("gamma").contains("18.2\u{202f}W") && !part("gamma").contains("told nothing"));
    let silent = part("desk");
    assert!(silent.contains("It has told nothing since") && silent.contains("it does not answer"));
    for stale in ["\u{202f}W", "\u{202f}°C", "H/s", "It mines"] {
        assert!(!silent.contains(stale), "{stale}: {silent}");
    }
}

/// The input of this name, as it stands in the page.
fn input<'a>(page: &'a str, name: &str) -> &'a str {
    let found = page.split("<input ").find(|rest| rest.contains(&format!("name=\"{name}\"")));
    found.unwrap_or_else(|| panic!("no field {name} in {page}")).split('>').next().unwrap()
}

/// What stands below the field of this name.
fn beside<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("id=\"about-{name}\"")).unwrap_or_default();
    rest.split("</div>").next().unwrap()
}

#[test]
fn a_mistake_stands_at_its_field_which_has_the_focus_and_nothing_typed_is_lost() {
    let server = Server::start(Kept::default());
    let form = "name=attic&payout=nonsense&url0=http://a:8332&user0=u&password0=geheim&cert0=/a.pem\
                &user1=v&password1=auch+geheim&zmq1=tcp://b:28332&pin=7391&pin2=7392&tag=Anna";
    let page = server.post("/setup", form).body;
    assert!(page.contains("Nothing is saved yet. 3 things need a look."), "{page}");
    assert!(beside(&page, "payout").contains("This is no address of the main chain."), "{page}");
    assert!(beside(&page, "url1").contains("It has no address."), "{page}");
    assert!(beside(&page, "pin2").contains("The two PINs differ."), "{page}");
    for field in ["payout", "url1", "pin2"] {
        let input = input(&page, field);
        assert!(input.contains("aria-invalid=\"true\""), "{input}");
        assert!(input.contains(&format!("aria-describedby=\"about-{field}\"")), "{input}");
    }
    assert!(input(&page, "payout").contains(" autofocus"), "{page}");
    assert_eq!(page.matches(" autofocus").count(), 1, "{page}");
    let typed = [
        ("name", "attic"),
        ("payout", "nonsense"),
        ("url0", "http://a:8332"),
        ("user0", "u"),
        ("password0", "geheim"),
        ("cert0", "/a.pem"),
        ("user1", "v"),
        ("password1", "auch geheim"),
        ("zmq1", "tcp://b:28332"),
        ("pin", "7391"),
        ("pin2", "7392"),
        ("tag", "Anna"),
    ];
    for (name, value) in typed {
        let input = input(&page, name);
        assert!(input.contains(&format!("value=\"{value}\"")), "{name}: {input}");
    }
    assert!(!page.contains("value=\"anyway\""), "a wrong address cannot be overruled");
    let anyway = server.post("/setup", &format!("{form}&step=save&anyway=yes"));
    assert_eq!(anyway.code, 200);
    server.kept(|kept| assert!(kept.pin.is_none() && kept.values.payout.is_empty()));
}

#[test]
fn a_node_that_cannot_be_used_is_saved_only_by_a_second_deliberate_press() {
    let server = Server::start(Kept::default());
    let form = set_up(ADDRESS, "7391").replace("http://a:8332", "http://refuses:8332");
    let sentence = "http://refuses:8332: It refuses our user or password.";
    for step in ["", "&step=save"] {
        let page = server.post("/setup", &format!("{form}{step}")).body;
        assert!(beside(&page, "password0").contains(sentence), "{page}");
        assert!(input(&page, "password0").contains(" autofocus"), "{page}");
        assert!(input(&page, "password0").contains("value=\"geheim\""), "{page}");
        assert!(input(&page, "pin2").contains("value=\"7391\""), "{page}");
        assert!(page.contains("name=\"step\" value=\"anyway\""), "{page}");
        server.kept(|kept| assert!(kept.pin.is_none() && kept.values.payout.is_empty()));
    }
    // The second press leads to what is confirmed; that again says it.
    let page = server.post("/setup", &format!("{form}&step=anyway")).body;
    assert!(page.contains("You save this although") && page.contains(sentence), "{page}");
    assert!(input(&page, "anyway").contains("value=\"yes\""), "{page}");
    server.kept(|kept| assert!(kept.values.payout.is_empty()));
    assert_eq!(server.post("/setup", &format!("{form}&step=save&anyway=yes")).code, 303);
    server.kept(|kept| assert_eq!(kept.values.nodes[0].url, "http://refuses:8332"));
    // The settings go the same way.
    let token = server.token();
    let form = change(&token, ADDRESS, "attic").replace("http://a:8332", "http://refuses:8333");
    let page = server.post("/settings", &form).body;
    assert!(beside(&page, "password0").contains("refuses:8333: It refuses"), "{page}");
    server.kept(|kept| assert_eq!(kept.values.name, "solo"));
    assert_eq!(server.post("/settings", &format!("{form}&anyway=yes")).code, 303);
    server.kept(|kept| assert_eq!(kept.values.name, "attic"));
}

#[test]
fn the_way_back_keeps_what_was_typed_and_beginning_again_says_that_it_does_not() {
    let server = Server::start(Kept::default());
    let form = set_up(ADDRESS, "7391");
    let page = server.post("/setup", &form).body;
    assert!(page.contains("Begin again: all that you typed is dropped"), "{page}");
    let back = server.post("/setup", &format!("{form}&step=edit")).body;
    for (name, value) in [("payout", ADDRESS), ("password0", "geheim"), ("pin", "7391")] {
        assert!(input(&back, name).contains(&format!("value=\"{value}\"")), "{name}: {back}");
    }
    assert!(input(&back, "payout").contains("type=\"text\""), "it can be written: {back}");
    assert!(!back.contains("aria-invalid"), "nothing was found wrong");

    let server = Server::ready();
    let form = change(&server.token(), OTHER, "attic").replace("&step=save", "");
    let page = server.post("/settings", &form).body;
    assert!(page.contains("Drop all changes"), "{page}");
    let back = server.post("/settings", &format!("{form}&step=edit")).body;
    assert!(input(&back, "name").contains("type=\"text\""), "it can be written: {back}");
    assert!(input(&back, "name").contains("value=\"attic\""), "{back}");
    assert!(input(&back, "payout").contains(&format!("value=\"{OTHER}\"")), "{back}");
}

#[test]
fn a_known_node_is_removed_by_its_address_and_what_was_typed_beside_it_is_not() {
    let server = Server::ready();
    let token = server.token();
    let two = change(&token, ADDRESS, "solo") + "&url1=http://b:8332&user1=v&password1=x";
    assert_eq!(server.post("/settings", &two).code, 303);
    server.kept(|kept| assert_eq!(kept.values.nodes.len(), 2));
    let one = change(&token, ADDRESS, "solo") + "&url1=&user1=v";
    let typed = one.replace("user1=v", "user1=other");
    assert!(beside(&server.post("/settings", &typed).body, "url1").contains("no address"));
    server.kept(|kept| assert_eq!(kept.values.nodes.len(), 2));
    assert_eq!(server.post("/settings", &one).code, 303);
    server.kept(|kept| assert_eq!(kept.values.nodes.len(), 1));
}

#[test]
fn without_a_session_nothing_is_shown_or_changed() {
    let server = Server::ready();
    let token = server.token();
    server.cookie.borrow_mut().clear();
    let page = server.get("/settings").body;
    assert!(page.contains("action=\"/login\"") && !page.contains("http://a:8332"));
    for path in ["/settings", "/pin", "/action", "/logout"] {
        let form = change(&token, OTHER, "evil") + "&action=poweroff&sure=yes&pin=aaab&pin2=aaab";
        assert_eq!(server.post(path, &form).code, 303, "{path}");
    }
    server.kept(|kept| {
        assert_eq!(kept.values.name, "solo");
        assert!(kept.changes.pending().is_none() && kept.actions.is_empty());
    });
}

#[test]
fn a_foreign_site_changes_nothing_even_with_the_cookie() {
    let server = Server::ready();
    let token = server.token();
    for origin in ["http://evil.example", "null", "http://192.168.1.77", "http://solo.local:81"] {
        let answer = server.post_from("/settings", &change(&token, ADDRESS, "evil"), origin);
        assert_eq!(answer.code, 403, "{origin}");
    }
    let no_token = server.post("/settings", &change("", ADDRESS, "evil"));
    assert_eq!(no_token.code, 403);
    let wrong = server.post("/settings", &change(&"0".repeat(32), ADDRESS, "evil"));
    assert_eq!(wrong.code, 403);
    server.kept(|kept| assert_eq!(kept.values.name, "solo"));
}

#[test]
fn a_guessed_pin_is_limited_and_written_down() {
    let server = Server::ready();
    server.cookie.borrow_mut().clear();
    let codes: Vec<u16> =
        (0..8).map(|i| server.post("/login", &format!("pin=000{i}")).code).collect();
    assert_eq!(codes, [403, 403, 403, 403, 403, 429, 429, 429]);
    assert_eq!(server.post("/login", "pin=7391").code, 429, "also the right one waits");
    let page = server.post("/login", "pin=7391").body;
    let wait = page.split_once("data-wait=\"").unwrap().1.split_once('"').unwrap().0;
    assert!((50..=60).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert!(server.cookie.borrow().is_empty());
    server.kept(|kept| {
        let told = |words: &str| kept.audit.iter().filter(|line| line.contains(words)).count();
        assert_eq!((told("wrong PIN"), told("PIN is locked")), (1, 1), "{:?}", kept.audit);
    });
}

#[test]
fn the_right_pin_opens_and_leaving_closes() {
    let server = Server::ready();
    server.cookie.borrow_mut().clear();
    assert_eq!(server.post("/login", "pin=7391").code, 303);
    let token = server.token();
    assert_eq!(server.post("/logout", &format!("token={token}")).code, 303);
    assert!(server.get("/settings").body.contains("action=\"/login\""));
}

#[test]
fn a_change_is_shown_before_it_is_saved_and_can_be_undone() {
    let server = Server::ready();
    let token = server.token();
    let form = change(&token, ADDRESS, "attic");
    let shown = server.post("/settings", &form.replace("&step=save", ""));
    assert!(shown.body.contains("Name solo becomes attic."), "{}", shown.body);
    server.kept(|kept| assert_eq!(kept.values.name, "solo"));
    assert_eq!(server.post("/settings", &form).code, 303);
    server.kept(|kept| assert_eq!(kept.values.name, "attic"));
    assert!(server.get("/settings").body.contains("value=\"undo\""));
    server.post("/settings", &format!("token={token}&step=undo"));
    server.kept(|kept| assert_eq!(kept.values.name, "solo"));
}

#[test]
fn a_new_payout_address_waits_and_can_be_cancelled() {
    let server = Server::ready();
    let token = server.token();
    server.post("/settings", &change(&token, OTHER, "solo"));
    server.kept(|kept| {
        assert_eq!(kept.values.payout, ADDRESS);
        assert_eq!(kept.changes.pending().map(|p| p.address.as_str()), Some(OTHER));
    });
    let page = server.get("/settings").body;
    assert!(page.contains("value=\"cancel\"") && page.contains("<span>w508</span>"));
    server.post("/settings", &format!("token={token}&step=cancel"));
    server.kept(|kept| {
        assert_eq!(kept.changes.pending(), None);
        assert!(kept.audit.last().unwrap().contains("is cancelled"));
    });
}

#[test]
fn what_cannot_be_taken_back_needs_a_tick() {
    let server = Server::ready();
    let token = server.token();
    server.post("/action", &format!("token={token}&action=poweroff"));
    server.kept(|kept| assert!(kept.actions.is_empty()));
    server.post("/action", &format!("token={token}&action=drill"));
    server.post("/action", &format!("token={token}&action=reboot&sure=yes"));
    server.kept(|kept| assert_eq!(kept.actions, [Action::FireDrill, Action::Reboot]));
}

#[test]
fn miners_are_forgotten_several_at_once_and_only_ticked_ones() {
    let server = Server::ready();
    let token = server.token();
    let page = server.post("/action", &format!("token={token}&action=forget&sure=yes")).body;
    assert!(page.contains("Tick the miners first."));
    server.post("/action", &format!("token={token}&action=forget&miner=3&miner=5&sure=yes"));
    let both = Action::Forget(vec!["3".to_owned(), "5".to_owned()]);
    server.kept(|kept| assert_eq!(kept.actions, [both]));
}

#[test]
fn two_miners_become_one_after_a_question_that_names_both() {
    let server = Server::ready();
    let (gone, here) = server.missing_and_present();
    let token = server.token();
    let (old, new) = (&gone.0, &here.0);
    // On the page of either, the other one can be chosen; the one that is gone becomes the other.
    for (of, other) in [(old, new), (new, old)] {
        let page = server.get(&format!("/join/{of}")).body;
        assert!(page.contains(&format!("<option value=\"{other}\"")), "{page}");
        let asked = server.post("/join", &format!("token={token}&miner={of}&other={other}")).body;
        let question = format!("Are {} and {} the same miner?", gone.1, here.1);
        assert!(asked.contains(&question), "{asked}");
        assert!(asked.contains("This cannot be undone."));
        for (name, id) in [("from", old), ("miner", new)] {
            assert!(input(&asked, name).contains(&format!("value=\"{id}\"")), "{asked}");
        }
    }
    server.kept(|kept| assert_eq!(kept.actions, [], "nothing is done before it is answered"));
    let page = server.get(&format!("/miners/{new}")).body;
    assert!(page.contains(&format!("href=\"/join/{new}\"")));
    // Two that mine are two.
    let page = server.get(&format!("/join/{new}")).body;
    assert_eq!(page.matches("<option").count(), 1, "{page}");
    let page = server.post("/join", &format!("token={token}&miner={new}&other={new}")).body;
    assert!(!page.contains("the same miner?"));
    assert_eq!(server.get("/join/nobody").code, 303);
    server.post("/action", &format!("token={token}&action=join&from={old}&miner={new}&sure=yes"));
    let join = Action::Join(old.clone(), new.clone());
    server.kept(|kept| assert_eq!(kept.actions, [join]));
    server.cookie.borrow_mut().clear();
    assert!(server.get(&format!("/join/{new}")).body.contains("name=\"pin\""));
}

#[test]
fn a_program_joins_miners_with_the_pin() {
    let server = Server::ready();
    let ask = |pin: &str| {
        let body = serde_json::json!({ "pin": pin, "from": "3", "into": "5" });
        server.post_json("/api/join", &body.to_string())
    };
    assert_eq!(ask("0000").code, 403);
    let answer = ask("7391");
    assert_eq!(answer.code, 200, "{}", answer.body);
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told["problems"], serde_json::json!([]));
    server.kept(|kept| {
        assert_eq!(kept.actions, [Action::Join("3".to_owned(), "5".to_owned())]);
        assert!(kept.audit.iter().any(|line| line.contains("miner number 3")), "{:?}", kept.audit);
    });
    assert_eq!(server.post_json("/api/join", "{}").code, 400);
    // A form of another site is no JSON.
    assert_eq!(server.post("/api/join", "pin=7391&from=3&into=5").code, 400);
    let codes: Vec<u16> = (0..12).map(|_| ask("0000").code).collect();
    assert_eq!(codes.last(), Some(&429), "{codes:?}");
    assert_eq!(ask("7391").code, 429, "nor the right one");
}

#[test]
fn a_backup_is_downloaded_by_the_owner_alone() {
    let server = Server::ready();
    let token = server.token();
    let answer = server.post("/backup", &format!("token={token}&passphrase=a+long+one"));
    assert_eq!((answer.code, answer.body.as_str()), (200, "backup a long one"));
    let answer = server.post("/backup", &format!("token={token}&passphrase=short"));
    assert!(beside(&answer.body, "passphrase").contains("too short"), "{}", answer.body);
    assert_eq!(server.post("/backup", "passphrase=a+long+one").code, 403);
    server.cookie.borrow_mut().clear();
    assert_eq!(server.post("/backup", &format!("token={token}")).code, 303);
    server.kept(|kept| {
        let told = |line: &&String| line.contains("A backup was downloaded.");
        assert_eq!(kept.audit.iter().filter(told).count(), 1, "{:?}", kept.audit);
    });
}

/// The number of the place for messages that stands in the list with these words.
fn place<'a>(page: &'a str, words: &str) -> &'a str {
    let (before, _) = page.split_once(words).unwrap_or_else(|| panic!("no {words} in {page}"));
    let (_, id) = before.rsplit_once("name=\"sink\" value=\"").expect("a place");
    id.split('"').next().unwrap()
}

#[test]
fn a_place_for_messages_is_tried_added_changed_and_removed_and_its_secrets_are_never_shown() {
    let server = Server::ready();
    let token = server.token();
    let post = |form: &str| server.post("/notify", &format!("token={token}&{form}")).body;
    let all = "topic=block&topic=best&topic=miner&topic=node&topic=down&topic=alarm&topic=update";
    assert!(server.get("/settings").body.contains("No messages are sent yet."));

    let page = post("step=new&kind=ntfy");
    assert!(input(&page, "sink-url").contains("placeholder=\"https://ntfy.sh/"), "{page}");
    assert_eq!(page.matches(" checked").count(), 7, "everything is told to begin with: {page}");
    // What is wrong stands at its field; what was typed stays.
    let page = post(&format!("step=save&kind=ntfy&sink-url=nonsense&{all}"));
    assert!(page.contains("Nothing is changed. One thing needs a look."), "{page}");
    assert!(beside(&page, "sink-url").contains("This is no address."), "{page}");
    assert!(input(&page, "sink-url").contains(" autofocus"), "{page}");
    assert!(input(&page, "sink-url").contains("value=\"nonsense\""), "{page}");
    let page = post("step=save&kind=ntfy&sink-url=https://ntfy.example/geheim");
    assert!(beside(&page, "sink-topics").contains("Nothing would be told."), "{page}");
    assert_eq!(page.matches(" checked").count(), 0, "{page}");
    server.kept(|kept| assert!(kept.sinks.is_empty() && kept.tests.is_empty()));

    // A test first: nothing is saved by it, whatever comes of it.
    let page = post(&format!("step=try&kind=ntfy&sink-url=https://deaf/geheim&{all}"));
    assert!(beside(&page, "sink-url").contains("not sent: &lt;b&gt;deaf&lt;/b&gt;."), "{page}");
    let typed =
        format!("kind=ntfy&sink-url=https://ntfy.example/geheim&sink-token=tk_geheim&{all}");
    let page = post(&format!("step=try&{typed}"));
    assert!(page.contains("It took the test message."), "{page}");
    assert!(input(&page, "sink-url").contains("value=\"https://ntfy.example/geheim\""), "{page}");
    server.kept(|kept| {
        assert_eq!(kept.tests.last().unwrap().get("token"), "tk_geheim");
        assert!(kept.sinks.is_empty());
    });
    let page = post(&format!("step=save&{typed}"));
    assert!(page.contains("ntfy is added.") && !page.contains("geheim"), "{page}");

    // Saved: tried again, and changed without its secrets' being typed or shown.
    let id = place(&page, "ntfy.example").to_owned();
    assert!(post(&format!("step=test&sink={id}")).contains("It took the test message."));
    let page = post(&format!("step=edit&sink={id}"));
    assert!(input(&page, "sink-url").contains("placeholder=\"unchanged\""), "{page}");
    assert!(!page.contains("geheim"), "{page}");
    let page = post(&format!("step=save&sink={id}&kind=ntfy&sink-url=&sink-token=&topic=block"));
    assert!(page.contains("ntfy is changed.") && !page.contains("geheim"), "{page}");
    assert!(page.contains("Not told: a new best share"), "{page}");
    server.kept(|kept| {
        assert_eq!((kept.tests.len(), kept.sinks.len()), (3, 1));
        let sink = &kept.sinks[0].1;
        assert_eq!(
            (sink.get("url"), sink.get("token")),
            ("https://ntfy.example/geheim", "tk_geheim")
        );
        assert_eq!(sink.silent.len(), 6);
        let told = format!("{:?}", kept.audit);
        assert!(!told.contains("geheim"), "{told}");
        for words in ["ntfy is added.", "ntfy is changed.", "A test message was sent."] {
            assert!(told.contains(words), "{words} in {told}");
        }
    });

    // It is another place by now: an old page changes nothing.
    let page = post(&format!("step=remove&sink={id}&sure=yes"));
    assert!(page.contains("This place has changed meanwhile"), "{page}");
    let id = place(&page, "ntfy.example").to_owned();
    assert!(
        post(&format!("step=remove&sink={id}")).contains("Tick the box beside the button first.")
    );
    server.kept(|kept| assert_eq!(kept.sinks.len(), 1));
    assert!(post(&format!("step=remove&sink={id}&sure=yes")).contains("ntfy is removed"));
    server.kept(|kept| assert!(kept.sinks.is_empty()));

    // The last change can be taken back, like that of any other setting.
    assert!(server.get("/settings").body.contains("value=\"undo\""));
    server.post("/settings", &format!("token={token}&step=undo"));
    server.kept(|kept| {
        assert_eq!(kept.sinks[0].1.get("url"), "https://ntfy.example/geheim");
        let words = "The last change is taken back: ntfy is added.";
        assert_eq!(kept.audit.last().unwrap(), words);
    });
    server.post("/settings", &format!("token={token}&step=undo"));
    server.kept(|kept| assert!(kept.sinks.is_empty()));

    // Nonsense does nothing, and neither does anybody else.
    for form in [
        "step=save&kind=fax&sink-url=http://a",
        "step=new&kind=fax",
        "step=test",
        "step=remove",
        "",
    ] {
        assert_eq!(server.post("/notify", &format!("token={token}&{form}")).code, 303, "{form}");
    }
    assert_eq!(server.post("/notify", &format!("step=save&{typed}")).code, 403);
    server.cookie.borrow_mut().clear();
    assert_eq!(server.post("/notify", &format!("token={token}&step=save&{typed}")).code, 303);
    server.kept(|kept| assert!(kept.sinks.is_empty()));
}

#[test]
fn every_service_has_its_fields_and_a_password_stays_with_its_mail_server() {
    let server = Server::ready();
    let token = server.token();
    let post = |form: &str| server.post("/notify", &format!("token={token}&{form}")).body;
    for service in SERVICES {
        let page = post(&format!("step=new&kind={}", service.name));
        for field in service.fields {
            assert!(input(&page, &format!("sink-{}", field.name)).contains("value=\"\""), "{page}");
        }
    }
    let mail =
        "kind=email&sink-url=smtps://a&sink-user=anna&sink-from=a%40b&sink-to=c%40d&topic=block";
    post(&format!("step=save&{mail}&sink-password=geheim"));
    let id = place(&server.get("/settings").body, "E-mail").to_owned();
    let page = post(&format!("step=edit&sink={id}"));
    assert!(
        input(&page, "sink-url").contains("value=\"smtps://a\"") && !page.contains("geheim"),
        "{page}"
    );
    assert!(input(&page, "sink-password").contains("type=\"password\""), "{page}");
    post(&format!("step=save&sink={id}&{mail}&sink-password="));
    server.kept(|kept| assert_eq!(kept.sinks[0].1.get("password"), "geheim"));
    let id = place(&server.get("/settings").body, "E-mail").to_owned();
    let elsewhere = mail.replace("smtps://a", "smtps://thief");
    post(&format!("step=try&sink={id}&{elsewhere}&sink-password="));
    server.kept(|kept| {
        let tried = kept.tests.last().unwrap();
        assert_eq!((tried.get("url"), tried.get("password")), ("smtps://thief", ""));
    });
}

#[test]
fn the_mqtt_broker_is_tried_named_changed_and_taken_away_and_its_password_is_never_shown() {
    let server = Server::ready();
    let token = server.token();
    let post = |form: &str| server.post("/mqtt", &format!("token={token}&{form}")).body;
    assert!(server.get("/settings").body.contains("Home Assistant is not told yet."));

    let page = post("step=edit");
    assert!(input(&page, "mqtt-broker").contains("placeholder=\"homeassistant.local\""), "{page}");
    assert!(input(&page, "mqtt-password").contains("type=\"password\""), "{page}");
    assert_eq!(page.matches(" checked").count(), 0, "nothing is allowed to begin with: {page}");
    let typed = "mqtt-user=anna&mqtt-version=5&mqtt-buttons=blink&mqtt-buttons=pause&mqtt-topic_prefix=solo";
    // What is wrong stands at its field; what was typed stays.
    let page = post(&format!("step=save&mqtt-broker=mqtt://ha&{typed}"));
    assert!(page.contains("Nothing is changed. One thing needs a look."), "{page}");
    assert!(beside(&page, "mqtt-broker").contains("Nothing stands before the address."), "{page}");
    assert!(input(&page, "mqtt-broker").contains(" autofocus"), "{page}");
    assert!(input(&page, "mqtt-broker").contains("value=\"mqtt://ha\""), "{page}");
    assert_eq!(page.matches(" checked").count(), 2, "{page}");
    assert!(page.contains("<option value=\"5\" selected>"), "{page}");
    let page = post(&format!("step=save&mqtt-broker=ha&mqtt-tls_cert_path=a.pem&{typed}"));
    assert!(beside(&page, "mqtt-tls_cert_path").contains("only looked at with TLS"), "{page}");

    // A try: nothing is saved by it, whatever comes of it.
    let page = post(&format!("step=try&mqtt-broker=deaf&mqtt-password=gehe1m&{typed}"));
    assert!(beside(&page, "mqtt-password").contains("It refuses &lt;b&gt;us&lt;/b&gt;."), "{page}");
    let page = post(&format!("step=try&mqtt-broker=ha&mqtt-tls=yes&mqtt-password=gehe1m&{typed}"));
    assert!(page.contains("The broker takes us."), "{page}");
    server.kept(|kept| {
        assert_eq!(kept.mqtt.broker, "");
        assert_eq!(kept.brokers.last().unwrap().password.as_deref(), Some("gehe1m"));
    });
    let page = post(&format!("step=save&mqtt-broker=ha&mqtt-tls=yes&mqtt-password=gehe1m&{typed}"));
    assert!(page.contains("Home Assistant is told by the MQTT broker ha."), "{page}");
    assert!(!page.contains("gehe1m"), "{page}");

    // Saved: tried again, and changed without its password's being typed or shown.
    assert!(post("step=test").contains("The broker takes us."));
    let page = post("step=edit");
    assert!(input(&page, "mqtt-password").contains("placeholder=\"unchanged\""), "{page}");
    assert!(page.contains("name=\"mqtt-tls\" value=\"yes\" checked"), "{page}");
    assert!(!page.contains("gehe1m"), "{page}");
    let page = post("step=save&mqtt-broker=ha&mqtt-tls=yes&mqtt-user=anna&mqtt-version=3.1.1");
    assert!(page.contains("The settings of the MQTT broker ha are changed."), "{page}");
    server.kept(|kept| {
        assert_eq!(kept.brokers.len(), 3);
        assert_eq!(kept.mqtt.password.as_deref(), Some("gehe1m"));
        assert_eq!((kept.mqtt.version.as_str(), kept.mqtt.buttons.len()), ("3.1.1", 0));
        let told = format!("{:?}", kept.audit);
        assert!(!told.contains("gehe1m"), "{told}");
        for words in ["The MQTT broker was tried.", "Home Assistant is told by the MQTT broker ha."]
        {
            assert!(told.contains(words), "{words} in {told}");
        }
    });
    // The password goes to nobody else, and not in the open.
    for elsewhere in
        ["mqtt-broker=thief&mqtt-tls=yes&mqtt-user=anna", "mqtt-broker=ha&mqtt-user=anna"]
    {
        let page = post(&format!("step=try&{elsewhere}"));
        assert!(beside(&page, "mqtt-password").contains("Write the password once more"), "{page}");
    }
    server.kept(|kept| assert_eq!(kept.brokers.len(), 3));

    // Nobody is told any more, and then again: the last change can be taken back, password and all.
    assert!(post("step=save").contains("Home Assistant is not told by MQTT any more."));
    server.kept(|kept| assert_eq!(kept.mqtt, Default::default()));
    server.post("/settings", &format!("token={token}&step=undo"));
    server.kept(|kept| {
        let mqtt = &kept.mqtt;
        assert_eq!((mqtt.broker.as_str(), mqtt.password.as_deref()), ("ha", Some("gehe1m")));
        let words = "The last change is taken back: Home Assistant is told by the MQTT broker ha.";
        assert_eq!(kept.audit.last().unwrap(), words);
    });

    // Nonsense does nothing, and neither does anybody else.
    for form in ["step=frob", ""] {
        assert_eq!(server.post("/mqtt", &format!("token={token}&{form}")).code, 303, "{form}");
    }
    for step in ["save", "try", "test", "edit"] {
        assert_eq!(server.post("/mqtt", &format!("step={step}")).code, 403, "{step}");
    }
    server.cookie.borrow_mut().clear();
    assert_eq!(server.post("/mqtt", &format!("token={token}&step=save")).code, 303);
    server.kept(|kept| {
        assert_eq!((kept.mqtt.broker.as_str(), kept.brokers.len()), ("ha", 3));
    });
}

#[test]
fn a_second_box_is_joined_changed_drilled_and_forgotten_and_its_code_is_shown_once() {
    let server = Server::ready();
    let token = server.token();
    let post = |form: &str| server.post("/pair", &format!("token={token}&{form}")).body;
    let section = || {
        let page = server.get("/settings").body;
        page.split("id=\"pair\"").nth(1).unwrap().split("</section>").next().unwrap().to_owned()
    };
    assert!(
        section().contains("Join a second box") && section().contains("This is the second box")
    );

    // The first box makes a code; another one at each visit.
    let page = post("step=first");
    let made = input(&page, "pair-secret");
    assert_ne!(made, input(&post("step=first"), "pair-secret"));
    let code = made.split("value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(code.len(), 35, "{made}");
    // What is wrong stands at its field; what was typed stays, the code as well.
    let typed = format!("which=first&pair-secret={code}&pair-virtual_address=192.168.1.240/24");
    for nonsense in ["elsewhere", "%3Cscript%3Ealert(1)%3C/script%3E", "%22%3E%3Cb%3E", "%E2%80%AE"]
    {
        let page = post(&format!("step=save&pair-partner={nonsense}&{typed}"));
        assert!(page.contains("Nothing is changed. One thing needs a look."), "{page}");
        assert!(
            beside(&page, "pair-partner").contains("in &lt;b&gt;this&lt;/b&gt; house"),
            "{page}"
        );
        assert!(input(&page, "pair-partner").contains(" autofocus"), "{page}");
        assert!(input(&page, "pair-secret").contains(code), "{page}");
        assert_eq!(page.matches("<script").count(), 2, "our own: {page}");
    }
    assert!(
        beside(&post("step=save&which=second&pair-partner=192.168.1.21"), "pair-secret")
            .contains("Write the code that the other box shows.")
    );
    server.kept(|kept| assert_eq!(kept.pair, Default::default()));

    // The other box has its word in the payout: it waits, and what the second box needs is told once.
    let page = post(&format!("step=save&pair-partner=192.168.1.21&{typed}"));
    let line = format!("{code} 192.168.1.20 192.168.1.240/24");
    assert!(page.contains(&line) && page.contains("QR code of this line"), "{page}");
    assert!(page.contains("In ten minutes") && page.contains("Cancel it"), "{page}");
    for page in [server.get("/settings").body, post("step=edit"), server.get("/pair").body] {
        assert!(!page.contains(code), "{page}");
    }
    assert!(section().contains("192.168.1.21") && !section().contains("Join a second box"));
    assert!(server.get("/").body.contains("The other box is 192.168.1.21 in 10"), "no alarm");
    server.kept(|kept| {
        assert_eq!(kept.pair, Default::default(), "it is not in force");
        let told = format!("{:?}", kept.audit);
        assert!(!told.contains(code), "{told}");
    });
    assert!(!post("step=keep").contains("Cancel it"));
    server.kept(|kept| assert_eq!(kept.changes.pair(), None));

    // The second box is told in one line.
    let scanned = line.replace(' ', "%0A").replace("1.20", "1.21");
    let page = post(&format!("step=save&which=second&pair-secret={scanned}"));
    assert!(page.contains("In ten minutes") && !page.contains("QR code"), "{page}");
    server.kept(|kept| {
        let after = kept.changes.pair().unwrap().0.after.clone();
        assert_eq!(after.partner, "192.168.1.21");
        assert_eq!(after.virtual_address, "192.168.1.240/24");
        assert_eq!(after.secret.as_deref(), Some(code));
        // The ten minutes are over.
        kept.pair = after;
    });
    post("step=keep");

    // Another address for the miners needs no waiting, and not the code.
    let page =
        post("step=save&which=known&pair-partner=192.168.1.21&pair-virtual_address=192.168.1.7/24");
    assert!(page.contains("The miners use 192.168.1.7/24, from the next start on."), "{page}");
    let told = section();
    for words in ["192.168.1.21", "192.168.1.7/24", "Give the address to the other box"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    server.kept(|kept| {
        assert_eq!(kept.pair.secret.as_deref(), Some(code));
        let told = format!("{:?}", kept.audit);
        assert!(told.contains("The miners use 192.168.1.7/24") && !told.contains(code), "{told}");
    });
    // A new code is shown as the first one was.
    let page = post("step=new_code&which=known&pair-partner=192.168.1.21");
    assert!(input(&page, "pair-partner").contains("192.168.1.21"), "{page}");
    assert!(input(&page, "pair-secret").contains('-') && !page.contains(code), "{page}");

    // A drill, and forgetting: held, with ten minutes to take it back.
    let drilled = server.post("/action", &format!("token={token}&action=give_address")).body;
    assert!(drilled.contains("Done."), "{drilled}");
    server.kept(|kept| assert_eq!(kept.actions.last(), Some(&Action::GiveAddress)));
    assert!(post("step=forget").contains("Tick the box beside the button first."));
    server.kept(|kept| assert_eq!(kept.changes.pair(), None));
    assert!(post("step=forget&sure=yes").contains("The other box is forgotten on"));
    assert!(server.get("/").body.contains("The other box is forgotten in 10"));
    assert!(!post("step=keep").contains("The other box is forgotten on"));
    server.kept(|kept| {
        assert_eq!(kept.changes.pair(), None);
        assert_eq!(kept.audit.last().unwrap(), "Cancelled: The other box is forgotten.");
    });
    // What waits ten minutes is not taken back at once.
    server.kept(|kept| assert!(!kept.changes.can_undo()));

    // Nonsense does nothing, and neither does anybody else.
    for form in ["step=frob", ""] {
        assert_eq!(server.post("/pair", &format!("token={token}&{form}")).code, 303, "{form}");
    }
    for step in ["first", "second", "edit", "new_code", "save", "forget&sure=yes", "keep"] {
        assert_eq!(server.post("/pair", &format!("step={step}")).code, 403, "{step}");
    }
    server.cookie.borrow_mut().clear();
    assert_eq!(server.post("/pair", &format!("token={token}&step=forget&sure=yes")).code, 303);
    server.kept(|kept| assert_eq!(kept.changes.pair(), None));
}

#[test]
fn an_alarm_is_snoozed_where_it_stands_and_the_list_tells_who_did_it() {
    let server = Server::ready();
    server.kept(|kept| {
        let alarm = |id: &str, text: &str| AlarmView {
            id: id.to_owned(),
            text: text.to_owned(),
            level: Level::Warning,
            ..Default::default()
        };
        kept.alarms = vec![
            alarm("hot", "This box is hot."),
            AlarmView {
                level: Level::Critical,
                about: About::Block,
                ..alarm("block_waiting:ab", "No node has block 7.")
            },
        ];
    });
    thread::sleep(Duration::from_millis(1100));
    let page = server.get("/settings").body;
    let token = server.token();
    assert!(page.contains("This box is hot.") && page.contains("It cannot be snoozed"), "{page}");
    let snooze = |alarm: &str, time: &str| {
        let form = format!("token={token}&action=snooze&alarm={alarm}&time={time}");
        server.post("/action", &form).body
    };
    assert!(snooze("block_waiting:ab", "day").contains("This alarm cannot be snoozed"));
    snooze("hot", "ever");
    snooze("of-nobody", "day");
    server.kept(|kept| assert!(kept.actions.is_empty(), "{:?}", kept.actions));
    snooze("hot", "day");
    server.post("/action", &format!("token={token}&action=wake&alarm=hot"));
    server.kept(|kept| {
        let [Action::Snooze(alarm, Snooze::Day, from), Action::Wake(id)] = kept.actions.as_slice()
        else {
            panic!("{:?}", kept.actions)
        };
        assert_eq!((alarm.id.as_str(), id.as_str(), from.is_loopback()), ("hot", "hot", true));
        let told = "An alarm is snoozed for a day: This box is hot.";
        assert!(kept.audit.iter().any(|line| line == told), "{:?}", kept.audit);
    });
}

#[test]
fn a_new_pin_ends_every_session() {
    let server = Server::ready();
    let token = server.token();
    let answer = server.post("/pin", &format!("token={token}&pin=8264x&pin2=8264y"));
    assert!(beside(&answer.body, "pin2").contains("The two PINs differ."), "{}", answer.body);
    assert_eq!(server.post("/pin", &format!("token={token}&pin=8264x&pin2=8264x")).code, 303);
    assert!(server.get("/settings").body.contains("action=\"/login\""));
    assert_eq!(server.post("/login", "pin=7391").code, 403);
    assert_eq!(server.post("/login", "pin=8264x").code, 303);
}

#[test]
fn strange_forms_are_refused() {
    let server = Server::ready();
    let token = server.token();
    let large = format!("token={token}&name={}", "x".repeat(100_000));
    assert_eq!(server.post("/settings", &large).code, 413);
    let json = server.send(
        "POST /login HTTP/1.1\r\nHost: solo.local\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\nConnection: close\r\n\r\n{}",
    );
    assert_eq!(json.code, 400);
    // A chunked body without end is cut at the same limit.
    let chunks = format!("4000\r\n{}\r\n", "x".repeat(0x4000)).repeat(4);
    let chunked = server.send(&format!(
        "POST /login HTTP/1.1\r\nHost: solo.local\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{chunks}"
    ));
    assert!(matches!(chunked.code, 0 | 400), "{}", chunked.code);
    assert_eq!(server.post("/login", "pin=%FF%00&pin").code, 403);
    assert_eq!(server.post("/", "a=b").code, 405);
    assert_eq!(server.get("/settings").code, 200);
}
