//! What must hold for any input: used by the fuzz targets, and by `tests/pure/hardening.rs` on
//! every machine.

#[path = "device.rs"]
pub mod device;
#[path = "peer.rs"]
pub mod peer;
#[path = "stratum_v2.rs"]
pub mod stratum_v2;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use soloist::coinbase::{EXTRANONCE_SIZE, MAX_SIZE};
use soloist::config::{self, Flags, Surroundings};
use soloist::ids::NodeId;
use soloist::job::Work;
use soloist::pair::agreement::Record;
use soloist::pair::message::Message;
use soloist::server::http::guard::{Reach, check_head};
use soloist::template::{Template, TxCache};
use soloist::update::{self, Feed, Kept, Release};

/// A check by its name.
pub type Check = fn(&[u8]) -> bool;

/// All checks. Each says whether the input was a good one.
pub const CHECKS: [(&str, Check); 9] = [
    ("template", template),
    ("config", config_file),
    ("http", http),
    ("device", device::device),
    ("feed", feed),
    ("pair", pair),
    ("peer", peer::peer),
    ("stratum_v2_frames", stratum_v2::frames),
    ("stratum_v2_raw", stratum_v2::raw),
];

/// An answer to getblocktemplate is refused, or a job can be made from it.
pub fn template(data: &[u8]) -> bool {
    let mut cache = TxCache::default();
    let first = Template::parse(data, &mut cache);
    // With the transactions of the same answer at hand nothing may change.
    assert_eq!(first, Template::parse(data, &mut cache));
    let Ok(template) = first else { return false };
    let leaves = template.txs.len() + 1;
    assert_eq!(template.branch.len(), leaves.next_power_of_two().trailing_zeros() as usize);
    assert!(template.height > 0 && template.mintime <= template.curtime);
    let work = Work::new(Arc::new(template), NodeId(0), Instant::now(), false, &[0x51; 34], "/x/");
    assert!(work.coinbase.without_witness(&[0; EXTRANONCE_SIZE]).len() <= MAX_SIZE);
    true
}

/// A config is refused in sentences with a place, or is equal to itself when read again.
pub fn config_file(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let read =
        || config::build(Some(("soloist.toml", text)), &Flags::default(), &Surroundings::default());
    match (read(), read()) {
        (Ok(first), Ok(second)) => {
            assert!(first.config.diff(&second.config).is_empty());
            true
        }
        (Err(problems), Err(_)) => {
            assert!(!problems.0.is_empty());
            assert!(problems.0.iter().all(|problem| problem.to_string().len() > 10));
            false
        }
        _ => panic!("read twice, it is once good and once bad"),
    }
}

/// A feed is refused, or each of its values is within its bounds. It is no signature, and what is remembered
/// of it is read again as it was written.
pub fn feed(data: &[u8]) -> bool {
    const KEY: &str = "untrusted comment: minisign public key 732E6E7281AE6469\n\
        RWRpZK6Bcm4uc7sLQww9EfP64OAmapT7EE2TQLNsof1iouVHCME4mOIl\n";
    assert!(update::verify(KEY, b"A feed.\n", data).is_err());
    drop(Kept::read(data));
    let Ok(feed) = Feed::read(data) else { return false };
    assert!(feed.serial > 0 && feed.serial < 1 << 53 && feed.withdrawn.len() <= 100);
    let Release { changes, url, size, .. } = &feed.release;
    assert!(changes.len() <= 8_000 && url.len() <= 500 && url.starts_with("http") && *size > 0);
    assert!(!changes.contains(|c: char| c.is_control() && c != '\n'));
    let text = std::str::from_utf8(data).expect("JSON is UTF-8");
    let mut kept = Kept::default();
    assert_eq!(kept.accept(&feed, text, 1), Ok(()));
    assert_eq!(Kept::read(&kept.bytes()), Ok(kept));
    true
}

/// What the other box of a pair says is refused, skipped, or says the same when it is said again.
pub fn pair(data: &[u8]) -> bool {
    drop(Record::decode(data));
    let Ok(Some(message)) = Message::decode(data) else { return false };
    assert_eq!(Message::decode(&message.encode()), Ok(Some(message)));
    true
}

/// A request's head, as lines: what passes can only be meant for a machine of the house.
pub fn http(data: &[u8]) -> bool {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, uri) = first.split_once(' ').unwrap_or(("GET", &first));
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), uri.parse::<Uri>()) else {
        return false;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    if check_head(&method, &uri, &headers, Some(1 << 14), &Reach::default()).is_err() {
        return false;
    }
    let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
    assert_eq!(hosts.len(), 1);
    let host = hosts[0].to_str().expect("a host that passed is text");
    assert!(!is_public(host), "{host:?}");
    assert!(matches!(method, Method::GET | Method::HEAD | Method::POST));
    if method == Method::POST
        && let Some(origin) = headers.get("origin")
    {
        let origin = origin.to_str().expect("an origin that passed is text");
        assert!(origin.starts_with("http"), "{origin}");
    }
    true
}

/// A name that the public DNS could serve, read in another way than the guard reads it.
fn is_public(host: &str) -> bool {
    let name = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    };
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    // The root's dot may follow an address as well: browsers read `10.0.0.5.` as the address.
    let literal = literal.strip_suffix('.').unwrap_or(literal);
    if literal.parse::<IpAddr>().is_ok() || literal.parse::<Ipv6Addr>().is_ok() {
        return false;
    }
    let name = name.trim_end_matches('.').to_lowercase();
    let ours = ["local", "localhost", "lan", "internal", "arpa"];
    let top = name.rsplit('.').next().unwrap_or_default();
    name.contains('.') && !ours.contains(&top)
}
