//! A miner that speaks Stratum V2, made of the reference implementation's crates: a second opinion on
//! everything that the daemon says. It knows nothing of the daemon's code. Coinbase, merkle root and
//! header are put together here from the messages alone, and every message is held to the rules of
//! the specification and to what the firmwares can take (see `channel.rs`); one that breaks them is
//! a panic.

mod channel;
mod line;
mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bitcoin::base58;
use common_messages_sv2::{MESSAGE_TYPE_SETUP_CONNECTION, Protocol, SetupConnection};
use mining_sv2::*;

// Each program takes what it needs of these.
#[allow(unused_imports)]
pub use channel::{Channel, Found, Goal, Kind, reaches, sha256d, target_of};
#[allow(unused_imports)]
pub use line::{CHANNEL_MESSAGE, Frame, Line, Received};
pub use message::{Message, frame};

/// For what must come at once on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// As every firmware says it, whatever the device does.
const HASHRATE: f32 = 1e12;

/// Flags of `SetupConnection`.
pub const REQUIRES_STANDARD_JOBS: u32 = 1;
pub const REQUIRES_WORK_SELECTION: u32 = 2;
pub const REQUIRES_VERSION_ROLLING: u32 = 4;

/// What a miner says of itself when it connects.
#[derive(Clone, Copy, Debug)]
pub struct Introduction {
    pub flags: u32,
    pub vendor: &'static str,
    pub hardware: &'static str,
    pub firmware: &'static str,
    pub device: &'static str,
}

impl Introduction {
    /// ESP-Miner as it comes: an extended channel.
    pub const BITAXE: Introduction =
        Introduction { flags: 0, vendor: "bitaxe", hardware: "BM1370", firmware: "", device: "" };
    /// ESP-Miner set to standard channels.
    pub const BITAXE_STANDARD: Introduction =
        Introduction { flags: REQUIRES_STANDARD_JOBS, ..Introduction::BITAXE };
    pub const NERDQAXE: Introduction =
        Introduction { vendor: "NerdQAxe++", ..Introduction::BITAXE };
    /// A proxy with miners of the older protocol behind it.
    pub const TRANSLATOR: Introduction = Introduction {
        flags: REQUIRES_VERSION_ROLLING,
        vendor: "SRI",
        hardware: "Translator Proxy",
        firmware: "",
        device: "",
    };
}

/// What became of a share: accepted, or why not.
pub type Verdict = Result<(), String>;

/// A connection with its channels.
pub struct MinerV2 {
    pub line: Line,
    heard: Heard,
    requests: u32,
    ended: bool,
}

/// What a miner has been told on a connection.
#[derive(Default)]
pub struct Heard {
    channels: BTreeMap<u32, Channel>,
    /// Channels that were closed: nothing may be said of them.
    closed: BTreeSet<u32>,
    /// Group ids, none of which may be a channel's.
    groups: BTreeSet<u32>,
    verdicts: BTreeMap<(u32, u32), Verdict>,
}

/// The key in the form in which people carry it: base58check of `01 00` and 32 bytes. Panics where the
/// text is none.
pub fn authority(text: &str) -> [u8; 32] {
    let bytes = base58::decode_check(text).expect("base58check");
    let (version, key) = bytes.split_at(2);
    assert_eq!(version, [1, 0], "the version of {text}");
    key.try_into().expect("32 bytes")
}

impl MinerV2 {
    /// Connects, greets and introduces itself. Panics where it is not welcome.
    pub fn connect(
        address: SocketAddr,
        authority: Option<[u8; 32]>,
        introduction: &Introduction,
    ) -> MinerV2 {
        MinerV2::try_connect(address, authority, introduction).unwrap()
    }

    /// The same. Errors: no connection, no handshake, another authority, or what the server says
    /// against the introduction.
    pub fn try_connect(
        address: SocketAddr,
        authority: Option<[u8; 32]>,
        introduction: &Introduction,
    ) -> Result<MinerV2, String> {
        let line = Line::connect(address, authority)?;
        MinerV2::begin(line, address, introduction)
    }

    /// The same over a connection that has greeted.
    pub fn begin(
        line: Line,
        address: SocketAddr,
        introduction: &Introduction,
    ) -> Result<MinerV2, String> {
        let mut miner = MinerV2::silent(line);
        let host = address.ip().to_string();
        let setup = SetupConnection {
            protocol: Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags: introduction.flags,
            endpoint_host: host.as_str().try_into().unwrap(),
            endpoint_port: address.port(),
            vendor: introduction.vendor.try_into().unwrap(),
            hardware_version: introduction.hardware.try_into().unwrap(),
            firmware: introduction.firmware.try_into().unwrap(),
            device_id: introduction.device.try_into().unwrap(),
        };
        miner.say(&[frame(MESSAGE_TYPE_SETUP_CONNECTION, false, setup)]);
        match miner.next(PATIENCE) {
            Some(Message::SetupSuccess(success)) => {
                assert_eq!(success.used_version, 2);
                assert_eq!(success.flags, 0, "everybody may have both kinds of channel, and roll");
                Ok(miner)
            }
            Some(Message::SetupError(error)) => Err(error.error_code.as_utf8_or_hex()),
            other => Err(format!("{other:?} after SetupConnection")),
        }
    }

    /// A miner that has not introduced itself.
    pub fn silent(line: Line) -> MinerV2 {
        MinerV2 { line, heard: Heard::default(), requests: 0, ended: false }
    }

    /// Opens a standard channel and waits for its first work. Panics where it is refused.
    pub fn open_standard(&mut self, user: &str) -> u32 {
        let channel = self.try_open(user, None).unwrap();
        self.wait_work(channel);
        channel
    }

    /// The same for an extended channel, with room for at least so many bytes of extranonce.
    pub fn open_extended(&mut self, user: &str, min_extranonce_size: u16) -> u32 {
        let channel = self.try_open(user, Some(min_extranonce_size)).unwrap();
        self.wait_work(channel);
        channel
    }

    /// Opens a channel: an extended one, if a size for the extranonce is given. Errors: the code with
    /// which it is refused.
    pub fn try_open(&mut self, user: &str, extended: Option<u16>) -> Result<u32, String> {
        self.requests += 1;
        let request_id = self.requests;
        let user_identity = user.try_into().unwrap();
        let everything = [0xff; 32];
        let max_target = (&everything).into();
        let nominal_hash_rate = HASHRATE;
        let ask = match extended {
            Some(min_extranonce_size) => frame(
                MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
                false,
                OpenExtendedMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size,
                },
            ),
            None => frame(
                MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL,
                false,
                OpenStandardMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                },
            ),
        };
        self.say(&[ask]);
        loop {
            let message = self.next(PATIENCE).expect("an answer to the channel's opening");
            match (message, extended) {
                (Message::StandardOpened(it), None) if it.request_id == request_id => {
                    return Ok(it.channel_id);
                }
                (Message::ExtendedOpened(it), Some(at_least)) if it.request_id == request_id => {
                    assert!(it.extranonce_size >= at_least, "{it}");
                    return Ok(it.channel_id);
                }
                (Message::OpenError(it), _) if it.request_id == request_id => {
                    return Err(it.error_code.as_utf8_or_hex());
                }
                // The firmwares take anything else for a refusal.
                (other, _) if self.heard.channels.is_empty() => {
                    panic!("before the answer: {other:?}")
                }
                _ => {}
            }
        }
    }

    /// Sends messages in one piece.
    pub fn say(&mut self, frames: &[Frame]) {
        self.line.send(frames).unwrap();
    }

    /// The next message, after it has been taken to heart. None: nothing came, or the connection has
    /// ended.
    pub fn next(&mut self, within: Duration) -> Option<Message> {
        let message = match self.line.receive(within) {
            Received::Frame(frame) => Message::read(&frame).unwrap(),
            Received::Closed => {
                self.ended = true;
                return None;
            }
            Received::Nothing => return None,
        };
        self.heard.hear(&message);
        Some(message)
    }

    /// Reads until the server ends the connection, which it must do within the time.
    pub fn wait_closed(&mut self, within: Duration) {
        let asked = Instant::now();
        while !self.ended {
            let left = within.checked_sub(asked.elapsed()).expect("the connection is still open");
            self.next(left);
        }
    }

    /// A channel. Panics where there is none of this id.
    pub fn channel(&self, id: u32) -> &Channel {
        self.heard.channel(id)
    }

    /// Waits until there is work for a channel.
    pub fn wait_work(&mut self, channel: u32) {
        self.wait(channel, "work", |channel| channel.job().is_some());
    }

    /// Waits for a further job of a channel.
    pub fn wait_job(&mut self, channel: u32) {
        let seen = self.channel(channel).jobs_seen;
        self.wait(channel, "a job", |channel| channel.jobs_seen > seen);
    }

    /// Waits for work on another tip than that on which a share was found last, or for which was
    /// waited last.
    pub fn wait_new_tip(&mut self, channel: u32) {
        self.wait(channel, "another tip", |channel| {
            channel.tip().is_some_and(|tip| tip != channel.left)
        });
        let tip = self.channel(channel).tip().unwrap();
        self.heard.channel_mut(channel).left = tip;
    }

    /// Hears messages until a channel is as wished.
    pub fn wait(&mut self, id: u32, what: &str, mut done: impl FnMut(&Channel) -> bool) {
        let asked = Instant::now();
        while !done(self.channel(id)) {
            let left = (2 * PATIENCE).checked_sub(asked.elapsed());
            let left = left.unwrap_or_else(|| panic!("channel {id} waited in vain for {what}"));
            if self.next(left).is_none() {
                assert!(!self.ended, "the connection ended while channel {id} waited for {what}");
            }
        }
    }

    /// Finds a share on a channel's present job.
    pub fn find(&mut self, channel: u32, goal: Goal) -> Found {
        self.heard.find(channel, goal)
    }

    /// Finds a share on one of a channel's jobs that reaches the easier target and not the harder one.
    #[allow(dead_code)]
    pub fn find_between(
        &mut self,
        channel: u32,
        job: u32,
        easy: [u8; 32],
        hard: [u8; 32],
    ) -> Found {
        let found = self.heard.channel_mut(channel).find_between(job, easy, hard);
        Found { channel, ..found }
    }

    /// Sends shares in one piece; their sequence numbers.
    pub fn submit(&mut self, found: &[Found]) -> Vec<u32> {
        let mut frames = Vec::new();
        let mut sequences = Vec::new();
        for found in found {
            let sequence = self.heard.channel_mut(found.channel).next_sequence();
            frames.push(found.frame(sequence));
            sequences.push(sequence);
        }
        self.say(&frames);
        sequences
    }

    /// Waits for what becomes of a share.
    pub fn verdict(&mut self, channel: u32, sequence: u32) -> Verdict {
        let asked = Instant::now();
        loop {
            if let Some(verdict) = self.heard.verdicts.get(&(channel, sequence)) {
                return verdict.clone();
            }
            let left = PATIENCE.checked_sub(asked.elapsed()).expect("a share's verdict");
            if self.next(left).is_none() {
                assert!(!self.ended, "the connection ended before a share's verdict");
            }
        }
    }

    /// Sends a share and waits for what becomes of it.
    pub fn submit_one(&mut self, found: &Found) -> Verdict {
        let sequence = self.submit(std::slice::from_ref(found))[0];
        self.verdict(found.channel, sequence)
    }

    /// Finds a block on the present job and submits it; its verdict and the block's hash as shown.
    pub fn mine(&mut self, channel: u32) -> (Verdict, String) {
        let found = self.find(channel, Goal::Block);
        (self.submit_one(&found), found.shown())
    }

    /// Tells the server what a channel can do, and the easiest target that it can take.
    pub fn update(&mut self, channel_id: u32, nominal_hash_rate: f32, maximum_target: [u8; 32]) {
        let maximum_target = (&maximum_target).into();
        let update = UpdateChannel { channel_id, nominal_hash_rate, maximum_target };
        self.say(&[frame(MESSAGE_TYPE_UPDATE_CHANNEL, CHANNEL_BIT_UPDATE_CHANNEL, update)]);
    }

    /// Closes a channel, and waits until the server knows it: from then on nothing may be said of it.
    pub fn close(&mut self, channel_id: u32, reason: &str) {
        let close = CloseChannel { channel_id, reason_code: reason.try_into().unwrap() };
        self.say(&[frame(MESSAGE_TYPE_CLOSE_CHANNEL, CHANNEL_BIT_CLOSE_CHANNEL, close)]);
        // An answer tells that all before it has been read.
        self.update(channel_id, HASHRATE, [0xff; 32]);
        loop {
            match self.next(PATIENCE).expect("an answer about a closed channel") {
                Message::UpdateError(error) if error.channel_id == channel_id => {
                    assert_eq!(error.error_code.as_utf8_or_hex(), "invalid-channel-id");
                    break;
                }
                _ => {}
            }
        }
        self.heard.close(channel_id);
    }
}

impl Heard {
    /// Takes a message to heart. Panics where it breaks a rule.
    pub fn hear(&mut self, message: &Message) {
        match message {
            Message::StandardOpened(it) => {
                let prefix = it.extranonce_prefix.as_bytes().to_vec();
                let channel = Channel::new(Kind::Standard, prefix, it.target.to_array());
                self.opened(it.channel_id, it.group_channel_id, channel);
            }
            Message::ExtendedOpened(it) => {
                let prefix = it.extranonce_prefix.as_bytes().to_vec();
                let kind = Kind::Extended { size: it.extranonce_size.into() };
                let channel = Channel::new(kind, prefix, it.target.to_array());
                self.opened(it.channel_id, it.group_channel_id, channel);
            }
            Message::StandardJob(job) => self.channel_mut(job.channel_id).standard_job(job),
            Message::ExtendedJob(job) => self.channel_mut(job.channel_id).extended_job(job),
            Message::PrevHash(it) => self.channel_mut(it.channel_id).prev_hash(it),
            Message::Target(it) => {
                let target = it.maximum_target.to_array();
                self.channel_mut(it.channel_id).set_target(target);
            }
            Message::Accepted(it) => {
                let done = self.channel_mut(it.channel_id).accepted(it);
                let done = done.into_iter().map(|sequence| ((it.channel_id, sequence), Ok(())));
                self.verdicts.extend(done);
            }
            Message::Refused(it) => {
                let code = it.error_code.as_utf8_or_hex();
                assert!(code.bytes().all(|byte| byte.is_ascii_graphic()), "{code}");
                if let Some(channel) = self.channels.get_mut(&it.channel_id) {
                    channel.refused(it.sequence_number);
                }
                self.verdicts.insert((it.channel_id, it.sequence_number), Err(code));
            }
            Message::Close(it) => self.close(it.channel_id),
            Message::SetupSuccess(_)
            | Message::SetupError(_)
            | Message::OpenError(_)
            | Message::UpdateError(_) => {}
        }
    }

    fn opened(&mut self, id: u32, group: u32, channel: Channel) {
        self.groups.insert(group);
        assert!(!self.groups.contains(&id), "{id} is a channel's id and a group's");
        assert!(!self.closed.contains(&id), "channel {id} is there again");
        assert!(self.channels.insert(id, channel).is_none(), "channel {id} twice");
        assert!(!self.channels.contains_key(&group), "{group} is a group's id and a channel's");
    }

    /// A channel. Panics where there is none of this id.
    pub fn channel(&self, id: u32) -> &Channel {
        self.channels.get(&id).unwrap_or_else(|| panic!("there is no channel {id}"))
    }

    pub fn channel_mut(&mut self, id: u32) -> &mut Channel {
        self.channels
            .get_mut(&id)
            .unwrap_or_else(|| panic!("something for channel {id}: it is none"))
    }

    /// Finds a share on a channel's present job.
    pub fn find(&mut self, channel: u32, goal: Goal) -> Found {
        let found = self.channel_mut(channel).find(goal);
        Found { channel, ..found }
    }

    /// A share was sent on a channel, which may be none.
    pub fn sent(&mut self, channel: u32, sequence: u32) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.sent(sequence);
        }
    }

    /// Whether there is work on a channel.
    pub fn mines(&self) -> bool {
        self.channels.values().any(|channel| channel.job().is_some())
    }

    /// What belongs together was sent together: a target and a job for it, a job and its tip.
    pub fn end_of_burst(&self) {
        self.channels.values().for_each(Channel::end_of_burst);
    }

    /// Nothing may be said of this channel any more.
    pub fn close(&mut self, id: u32) {
        assert!(self.channels.remove(&id).is_some(), "there is no channel {id} to be closed");
        self.closed.insert(id);
    }
}
