//! Reads and plays a dialogue; `README.md` beside the dialogues describes their language.

use std::collections::BTreeMap;

use soloist::hash::sha256d;

use super::world::{Chain, World};

/// Names that a dialogue has given to what it heard.
type Names = BTreeMap<String, String>;

/// Plays a dialogue against a fresh pool. Panics where they differ, with the file and the line.
pub fn play(file: &str, text: &str) {
    let chain = if text.lines().any(|line| line == "hard") { Chain::Hard } else { Chain::Easy };
    let mut player = Player {
        world: World::new(chain),
        nbits: if chain == Chain::Hard { "1703255b" } else { "207fffff" },
        conn: 0,
        names: Names::new(),
        notifies: BTreeMap::new(),
        unread: Vec::new().into(),
        unsent: Vec::new(),
    };
    player.conn = player.world.connect();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        player.step(&place, line.trim_end());
    }
    player.send();
    player.nothing_unread(file);
}

struct Player {
    world: World,
    nbits: &'static str,
    conn: u64,
    names: Names,
    /// The parameters of every notify, by job id.
    notifies: BTreeMap<String, Vec<serde_json::Value>>,
    /// Heard and not yet expected.
    unread: std::collections::VecDeque<String>,
    /// Said and not yet on the wire: consecutive lines go out in one piece.
    unsent: Vec<u8>,
}

impl Player {
    fn step(&mut self, place: &str, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == ">" {
            return self.say(place, rest);
        }
        self.send();
        if word == "<" {
            return self.expect(place, rest);
        }
        self.nothing_unread(place);
        match (word, rest.split(' ').collect::<Vec<_>>().as_slice()) {
            ("wait", [amount, unit]) => {
                let amount: u64 = amount.parse().expect(place);
                let millis = match *unit {
                    "ms" => amount,
                    "s" => 1000 * amount,
                    _ => panic!("{place}: ms or s"),
                };
                self.world.wait(millis);
            }
            ("hard", [""]) => {}
            ("nodes", ["dead"]) => self.world.drop_work(),
            ("block", [""]) => self.world.block(),
            ("reconnect", [""]) => {
                self.world.cut(self.conn);
                self.conn = self.world.connect();
            }
            ("closed", [""]) => assert!(!self.world.is_open(self.conn), "{place}: still open"),
            ("open", [""]) => assert!(self.world.is_open(self.conn), "{place}: closed"),
            ("counted", [count]) => {
                assert_eq!(self.world.counted, count.parse::<usize>().expect(place), "{place}");
            }
            ("blocks", [count]) => {
                assert_eq!(
                    self.world.blocks.len(),
                    count.parse::<usize>().expect(place),
                    "{place}"
                );
            }
            (what @ ("solve" | "miss"), [name, "=", job, extranonce2, ntime, more @ ..]) => {
                let wanted = Wanted {
                    hash: if what == "solve" { Hash::Block } else { Hash::NoBlock },
                    job: &self.fill(place, job),
                    extranonce2: &self.fill(place, extranonce2),
                    ntime: &self.fill(place, ntime),
                    bits: more.first().copied().unwrap_or("0"),
                };
                self.name_nonce(place, name, &wanted);
            }
            ("reach", [difficulty, name, "=", job, extranonce2, ntime]) => {
                let wanted = Wanted {
                    hash: Hash::Difficulty(difficulty.parse().expect(place)),
                    job: &self.fill(place, job),
                    extranonce2: &self.fill(place, extranonce2),
                    ntime: &self.fill(place, ntime),
                    bits: "0",
                };
                self.name_nonce(place, name, &wanted);
            }
            ("later", [name, "=", ntime, "+", seconds]) => {
                let ntime = u32::from_str_radix(&self.fill(place, ntime), 16).expect(place);
                let later = ntime + seconds.parse::<u32>().expect(place);
                self.names.insert((*name).to_owned(), format!("{later:08x}"));
            }
            _ => panic!("{place}: cannot read {line}"),
        }
        self.listen();
    }

    fn say(&mut self, place: &str, line: &str) {
        self.nothing_unread(place);
        let (line, end) = match (line.strip_suffix('␍'), line.strip_suffix('✂')) {
            (Some(line), _) => (line, "\r\n"),
            (_, Some(line)) => (line, ""),
            _ => (line, "\n"),
        };
        let line = self.fill(place, line);
        // ‹e9› is the byte 0xe9.
        let mut pieces = line.split('‹');
        self.unsent.extend_from_slice(pieces.next().unwrap_or("").as_bytes());
        for piece in pieces {
            let (byte, rest) = piece.split_once('›').expect(place);
            self.unsent.push(u8::from_str_radix(byte, 16).expect(place));
            self.unsent.extend_from_slice(rest.as_bytes());
        }
        self.unsent.extend_from_slice(end.as_bytes());
    }

    fn send(&mut self) {
        if !self.unsent.is_empty() {
            self.world.send(self.conn, &std::mem::take(&mut self.unsent));
            self.listen();
        }
    }

    fn listen(&mut self) {
        for line in self.world.heard(self.conn) {
            let message: serde_json::Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "mining.notify" {
                let params = message["params"].as_array().unwrap().clone();
                self.notifies.insert(params[0].as_str().unwrap().to_owned(), params);
            }
            self.unread.push_back(line);
        }
    }

    fn expect(&mut self, place: &str, pattern: &str) {
        let heard = self.unread.pop_front().unwrap_or_else(|| {
            panic!("{place}: nothing was said; expected\n  {pattern}");
        });
        let pattern = long_form(place, pattern, self.nbits);
        if let Err(why) = matches(&pattern, &heard, &mut self.names) {
            panic!("{place}: {why}\n  expected {pattern}\n  heard    {heard}");
        }
    }

    fn nothing_unread(&self, place: &str) {
        let first = self.unread.front();
        assert!(first.is_none(), "{place}: before this, unexpectedly\n  < {}", first.unwrap());
    }

    /// The text with `<names>` replaced by what they stand for.
    fn fill(&self, place: &str, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_name(rest) {
            let value = self.names.get(name).unwrap_or_else(|| panic!("{place}: who is <{name}>?"));
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        filled + rest
    }

    fn name_nonce(&mut self, place: &str, name: &str, wanted: &Wanted<'_>) {
        let nonce = self.mine(place, wanted);
        let digits = match name.starts_with("short") {
            true => format!("{nonce:x}"),
            false => format!("{nonce:08x}"),
        };
        self.names.insert(name.to_owned(), digits);
    }

    /// Does what a miner does, from the bytes of the notify alone: tries nonces until the hash is
    /// as wanted.
    fn mine(&self, place: &str, wanted: &Wanted<'_>) -> u32 {
        let job = self.notifies.get(wanted.job).unwrap_or_else(|| panic!("{place}: no such job"));
        let text = |at: usize| job[at].as_str().unwrap();
        let extranonce1 = self.names.get("en").unwrap_or_else(|| panic!("{place}: no <en>"));
        let coinbase = unhex(&[text(2), extranonce1, wanted.extranonce2, text(3)].concat());
        let mut root = sha256d(&coinbase);
        for hash in job[4].as_array().unwrap() {
            root = sha256d(&[&root[..], &unhex(hash.as_str().unwrap())].concat());
        }
        let bits = u32::from_str_radix(wanted.bits, 16).expect(place);
        let version = u32::from_str_radix(text(5), 16).unwrap() | bits;
        let nbits = u32::from_str_radix(text(6), 16).unwrap();
        let ntime = u32::from_str_radix(wanted.ntime, 16).expect(place);
        let prev: Vec<u8> =
            unhex(text(1)).chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
        let mut header = Vec::new();
        header.extend_from_slice(&version.to_le_bytes());
        header.extend_from_slice(&prev);
        header.extend_from_slice(&root);
        header.extend_from_slice(&ntime.to_le_bytes());
        header.extend_from_slice(&nbits.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        // The target of nbits, most significant byte first.
        let mut target = [0; 32];
        let first = 32 - (nbits >> 24) as usize;
        target[first..first + 3].copy_from_slice(&nbits.to_be_bytes()[1..]);
        (0x4e7..)
            .find(|nonce: &u32| {
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                let mut hash = sha256d(&header);
                hash.reverse();
                match wanted.hash {
                    Hash::Block => hash <= target,
                    Hash::NoBlock => hash > target,
                    Hash::Difficulty(least) => (least..2.0 * least).contains(&difficulty(&hash)),
                }
            })
            .expect("some nonce does")
    }
}

/// What a nonce is to make of the header.
enum Hash {
    Block,
    NoBlock,
    /// At least this difficulty, and less than twice as much.
    Difficulty(f64),
}

struct Wanted<'a> {
    hash: Hash,
    job: &'a str,
    extranonce2: &'a str,
    ntime: &'a str,
    bits: &'a str,
}

/// `notify <job> <time> clean` stands for the whole line, and so does `difficulty 1000`.
fn long_form(place: &str, pattern: &str, nbits: &str) -> String {
    match pattern.split(' ').collect::<Vec<_>>().as_slice() {
        ["difficulty", value] => {
            format!("{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{value}]}}")
        }
        ["notify", job, ntime, clean @ ("clean" | "more")] => format!(
            "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{job}\",\"<_prev>\",\
             \"<_hex>\",\"<_hex>\",<_branch>,\"20000000\",\"{nbits}\",\"{ntime}\",{}]}}",
            *clean == "clean"
        ),
        _ if pattern.starts_with('{') => pattern.to_owned(),
        _ => panic!("{place}: cannot read < {pattern}"),
    }
}

/// Compares a line with a pattern. A name that is known stands for what it is known as; one that
/// is not takes what it finds, as far as that has the form that the name's first letters tell;
/// one with an underscore does so every time.
fn matches(pattern: &str, heard: &str, names: &mut Names) -> Result<(), String> {
    let (mut pattern, mut heard) = (pattern, heard);
    while let Some((before, name, after)) = next_name(pattern) {
        heard = heard.strip_prefix(before).ok_or(format!("differs before <{name}>"))?;
        let value = match names.get(name) {
            Some(known) => known.clone(),
            None => {
                let kind =
                    name.trim_start_matches('_').trim_end_matches(|c: char| c.is_ascii_digit());
                let length = length_of(kind, heard).ok_or(format!("no <{name}> here"))?;
                heard[..length].to_owned()
            }
        };
        heard = heard.strip_prefix(value.as_str()).ok_or(format!("<{name}> is {value}"))?;
        if !name.starts_with('_') {
            names.insert(name.to_owned(), value);
        }
        pattern = after;
    }
    (pattern == heard).then_some(()).ok_or("differs at the end".to_owned())
}

/// How much of the text has the form of this kind of name.
fn length_of(kind: &str, text: &str) -> Option<usize> {
    let hex = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    let upper = text[..hex].bytes().any(|digit| digit.is_ascii_uppercase());
    match kind {
        "en" | "time" => (hex == 8 && !upper).then_some(hex),
        "job" => ((1..=8).contains(&hex) && !upper).then_some(hex),
        "sid" | "hex" => (hex > 0 && !upper).then_some(hex),
        "prev" => (hex == 64 && !upper).then_some(hex),
        "branch" => text.find(']').map(|end| end + 1).filter(|_| text.starts_with('[')),
        "number" => Some(text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count()),
        "words" => Some(text.find('"').unwrap_or(text.len())),
        _ => None,
    }
}

fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find('<')?;
    let end = start + text[start..].find('>')?;
    Some((&text[..start], &text[start + 1..end], &text[end + 1..]))
}

/// The difficulty of a hash, most significant byte first: 0xffff × 2^208 by the hash.
fn difficulty(hash: &[u8; 32]) -> f64 {
    let number = hash.iter().fold(0.0, |number, byte| number * 256.0 + f64::from(*byte));
    f64::from(0xffff) * 2f64.powi(208) / number
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}
