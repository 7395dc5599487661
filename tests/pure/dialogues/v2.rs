//! Reads and plays a dialogue of Stratum V2; `README.md` beside the dialogues describes their language.

mod words;

use std::collections::BTreeMap;

use self::words::{difficulty, hex, unhex};
use super::world::{Chain, World};
use crate::common::miner_v2::{Channel, Frame, Kind, target_of};
use crate::common::miner_v2::{reaches, sha256d};

/// Plays a dialogue against a fresh pool. Panics where they differ, with the file and the line.
pub fn play(file: &str, text: &str) {
    let chain = if text.lines().any(|line| line == "hard") { Chain::Hard } else { Chain::Easy };
    let mut world = World::new(chain);
    let conn = world.connect_v2();
    let mut player = Player { world, conn, names: BTreeMap::new(), unsent: Vec::new() };
    // A line that begins with spaces goes on with the one before.
    let mut whole: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let goes_on = line.starts_with("  ") && !line.trim_start().starts_with('=');
        match whole.last_mut().filter(|_| goes_on) {
            Some((_, before)) => *before = format!("{before} {}", line.trim()),
            None => whole.push((number + 1, line.trim().to_owned())),
        }
    }
    for (number, line) in whole {
        player.step(&format!("{file}:{number}"), &line);
    }
    player.send();
    player.nothing_unread(file);
}

struct Player {
    world: World,
    conn: u64,
    names: BTreeMap<String, String>,
    /// Said and not yet on the wire: consecutive messages go out in one piece.
    unsent: Vec<Frame>,
}

impl Player {
    fn step(&mut self, place: &str, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" => return self.say(place, rest),
            "=" => {
                let said = self.unsent.last().unwrap_or_else(|| panic!("{place}: after a message"));
                assert_eq!(hex(&said.bytes()), hex(&unhex(rest).expect(place)), "{place}");
                return;
            }
            _ => self.send(),
        }
        if word == "<" {
            return self.expect(place, rest);
        }
        self.nothing_unread(place);
        match (word, rest.split(' ').collect::<Vec<_>>().as_slice()) {
            ("wait", [amount, unit]) => {
                let amount: u64 = amount.parse().expect(place);
                self.world.wait(match *unit {
                    "ms" => amount,
                    "s" => 1000 * amount,
                    _ => panic!("{place}: ms or s"),
                });
            }
            ("hard", [""]) => {}
            ("nodes", ["dead"]) => self.world.drop_work(),
            ("block", [""]) => self.world.block(),
            ("reconnect", [""]) => {
                self.world.cut(self.conn);
                self.conn = self.world.connect_v2();
            }
            ("closed", [""]) => assert!(!self.world.is_open(self.conn), "{place}: still open"),
            ("open", [""]) => assert!(self.world.is_open(self.conn), "{place}: closed"),
            ("counted", [count]) => {
                assert_eq!(self.world.counted, count.parse::<usize>().expect(place), "{place}");
            }
            ("blocks", [count]) => {
                let count = count.parse::<usize>().expect(place);
                assert_eq!(self.world.blocks.len(), count, "{place}");
            }
            ("solve" | "miss", [name, "=", ..]) => {
                let nonce = self.mine(place, word == "solve", rest);
                self.names.insert((*name).to_owned(), format!("{nonce:#010x}"));
            }
            ("half", [name, "=", target]) => {
                let mut bytes = unhex(&self.fill(place, target)).expect(place);
                let mut carry = 0;
                for byte in bytes.iter_mut().rev() {
                    (*byte, carry) = (*byte >> 1 | carry, *byte << 7);
                }
                self.names.insert((*name).to_owned(), hex(&bytes));
            }
            _ => panic!("{place}: cannot read {line}"),
        }
    }

    fn say(&mut self, place: &str, line: &str) {
        self.nothing_unread(place);
        let line = self.fill(place, line);
        let frame = match line.strip_prefix("raw ") {
            Some(raw) => {
                let bytes = unhex(raw).expect(place);
                let extension = u16::from_le_bytes([bytes[0], bytes[1]]);
                Frame { extension, kind: bytes[2], payload: bytes[3..].to_vec() }
            }
            None => {
                let (name, fields) =
                    words::split(&line).unwrap_or_else(|why| panic!("{place}: {why}"));
                let fields: Vec<_> =
                    fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
                words::write(name, &fields).unwrap_or_else(|why| panic!("{place}: {why}"))
            }
        };
        self.unsent.push(frame);
    }

    fn send(&mut self) {
        let frames = std::mem::take(&mut self.unsent);
        if frames.is_empty() {
            return;
        }
        let heard = self.world.heard_v2(self.conn);
        for frame in &frames {
            let number =
                |at: usize| u32::from_le_bytes(frame.payload[at..at + 4].try_into().unwrap());
            match words::read(frame).map(|words| words.name) {
                Ok("SubmitSharesStandard" | "SubmitSharesExtended") => {
                    heard.sent(number(0), number(4));
                }
                Ok("CloseChannel") => heard.close(number(0)),
                _ => {}
            }
        }
        self.world.send_frames(self.conn, &frames);
    }

    fn expect(&mut self, place: &str, pattern: &str) {
        let frame = self.world.next_frame(self.conn).unwrap_or_else(|| {
            panic!("{place}: nothing was said; expected\n  {pattern}");
        });
        let heard = words::read(&frame).unwrap_or_else(|why| panic!("{place}: {why}"));
        let (name, fields) = words::split(pattern).unwrap_or_else(|why| panic!("{place}: {why}"));
        let told = || {
            let fields = heard.fields.iter().map(|(field, value)| format!(" {field}={value}"));
            format!("{}{}", heard.name, fields.collect::<String>())
        };
        assert_eq!(name, heard.name, "{place}: heard\n  {}", told());
        let (expected, given): (Vec<_>, Vec<_>) =
            (fields.iter().map(|it| it.0).collect(), heard.fields.iter().map(|it| it.0).collect());
        assert_eq!(expected, given, "{place}: the fields of {name}");
        for ((field, pattern), (_, value)) in fields.iter().zip(&heard.fields) {
            if let Err(why) = self.matches(pattern, value) {
                panic!("{place}: {field}: {why}, heard\n  {}", told());
            }
        }
    }

    /// Compares a value with a pattern: the value itself, `*`, `difficulty:1000`, or a name, which takes
    /// what it finds the first time.
    fn matches(&mut self, pattern: &str, value: &str) -> Result<(), String> {
        if pattern == "*" {
            return Ok(());
        }
        if let Some(wanted) = pattern.strip_prefix("difficulty:") {
            let wanted: f64 = wanted.parse().map_err(|_| "no number".to_owned())?;
            let told = difficulty(value);
            let near = (told / wanted - 1.0).abs() < 1e-9;
            // Where a whole number is told, the firmwares that cut it off must come out at it.
            let cut = wanted < 1.0 || told.floor() == wanted;
            return (near && cut).then_some(()).ok_or(format!("is difficulty {told}"));
        }
        match pattern.strip_prefix('<').and_then(|name| name.strip_suffix('>')) {
            Some(name) => {
                let known = self.names.entry(name.to_owned()).or_insert_with(|| value.to_owned());
                (known == value).then_some(()).ok_or(format!("<{name}> is {known}"))
            }
            None => (pattern == value).then_some(()).ok_or("differs".to_owned()),
        }
    }

    fn nothing_unread(&mut self, place: &str) {
        if let Some(frame) = self.world.next_frame(self.conn) {
            panic!("{place}: before this, unexpectedly\n  < {:?}", words::read(&frame));
        }
    }

    /// The text with `<names>` replaced by what they stand for.
    fn fill(&self, place: &str, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let (name, after) = after.split_once('>').expect(place);
            filled.push_str(before);
            let value = self.names.get(name).unwrap_or_else(|| panic!("{place}: who is <{name}>?"));
            filled.push_str(value);
            rest = after;
        }
        filled + rest
    }

    /// Does what a miner does, from the messages alone: tries nonces until the header is a block, or none.
    fn mine(&mut self, place: &str, solves: bool, rest: &str) -> u32 {
        let (_, rest) = rest.split_once("= ").expect(place);
        let rest = self.fill(place, rest);
        let line = format!("{} {rest}", if solves { "solve" } else { "miss" });
        let (_, fields) = words::split(&line).expect(place);
        let fields: BTreeMap<_, _> = fields.into_iter().collect();
        let number = |name: &str| -> u32 {
            let text = fields.get(name).unwrap_or_else(|| panic!("{place}: {name}=?"));
            match text.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).expect(place),
                None => text.parse().expect(place),
            }
        };
        let channel: &Channel = self.world.heard_v2(self.conn).channel(number("channel_id"));
        let mut job = channel.job_of(number("job_id")).expect(place).clone();
        job.ntime = number("ntime");
        let tip = job.tip.expect(place);
        let extranonce = match channel.kind {
            Kind::Standard => Vec::new(),
            Kind::Extended { .. } => unhex(fields["extranonce"]).expect(place),
        };
        let mut header = channel.header(&job, &tip, number("version"), &extranonce);
        let target = target_of(tip.nbits);
        (0x4e7..)
            .find(|nonce: &u32| {
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                reaches(&sha256d(&header), &target) == solves
            })
            .expect("some nonce does")
    }
}
