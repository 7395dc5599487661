//! The journal's records and their form on disk.
//!
//! Pure: bytes in, records out. The journal is the truth of the ledger; whatever else is on the
//! card can be rebuilt from it.
//!
//! # The file
//!
//! Eight bytes `SOLOJRN1`, then frames, one after the other, never changed once written:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | `4a 52`, where a reader that lost its place takes up again |
//! | 2 | 1 | kind of the record, see [`Record`] |
//! | 3 | 1 | version of this kind's layout, now 3 for counts (2, 3, 13), 2 for points (4), a found block (6) and a difficulty (12), else 1 |
//! | 4 | 4 | length n of the payload, little-endian, at most [`MAX_PAYLOAD`] |
//! | 8 | 8 | sequence number, little-endian; each record's is one more than the last |
//! | 16 | n | payload |
//! | 16+n | 4 | CRC-32 (IEEE 802.3) of the bytes 0 to 16+n, little-endian |
//!
//! Payload numbers are LEB128 varints unless said otherwise, difficulties are IEEE doubles
//! (singles in [`Point`]), text is a varint of its length and UTF-8.
//!
//! # Damage
//!
//! [`scan`] reads every whole frame of any bytes, steps over what is broken, and tells how many
//! records are missing: a gap in the sequence numbers is a count of what was lost.
//!
//! # Versions
//!
//! A kind's layout never changes under its version. A new layout gets the next version, the
//! decoder keeps all older arms, and the encoder writes the newest; so a journal is brought up to
//! date when it is next compacted. A kind or version that this program does not know (the card was
//! used by a newer one) is kept as [`Record::Unknown`] and written back byte for byte.

use serde::Serialize;

use super::codec::{Field, Reader, fields, write_text};
pub use super::codec::{MAX_TEXT, RecordError};
use super::heat::{Slot, Span, Sum};
use super::heat_history::{read_cells, write_cells};
pub use crate::block::StoredState;
use crate::chain::BlockHash;
use crate::listed::listed;
use crate::rate::Proven;

/// The first bytes of a journal file; the digit is the version of the framing.
pub const FILE_HEADER: &[u8; 8] = b"SOLOJRN1";
/// The longest payload in bytes; a longer one is damage.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// The longest worker's name in bytes.
pub const MAX_NAME: usize = 128;
/// The longest name of a device's model in bytes.
pub const MAX_DEVICE: usize = 64;
/// At most so many points stand in one [`Record::Points`].
pub const MAX_POINTS: usize = 512;

const MARKER: [u8; 2] = [0x4a, 0x52];
const HEAD: usize = 16;
const CRC: usize = 4;

listed! {
    /// Why a share was refused, with Stratum's error code.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum RejectReason {
        /// For a tip that was no longer ours for more than a second (21).
        Stale,
        /// The same share a second time (22).
        Duplicate,
        /// Below its job's difficulty (23).
        LowDifficulty,
        /// For a job that we never sent or no longer know (21).
        UnknownJob,
        /// NTime outside the job's window (20).
        BadTime,
        /// Version bits outside the mask (20).
        BadVersion,
        /// Fields that cannot be read (20).
        Malformed,
        /// Before `mining.authorize` (24).
        Unauthorized,
        /// For the previous tip, within one second of the new one: it was already on its way (21).
        StaleAtChange,
    }
}

impl RejectReason {
    /// A word for pages, files and metrics.
    pub fn name(self) -> &'static str {
        match self {
            RejectReason::Stale => "stale",
            RejectReason::Duplicate => "duplicate",
            RejectReason::LowDifficulty => "low_difficulty",
            RejectReason::UnknownJob => "unknown_job",
            RejectReason::BadTime => "bad_time",
            RejectReason::BadVersion => "bad_version",
            RejectReason::Malformed => "malformed",
            RejectReason::Unauthorized => "unauthorized",
            RejectReason::StaleAtChange => "stale_at_change",
        }
    }
}

/// How many reasons the counts of each version hold, from version 1 on. A new reason stands at the
/// end of [`RejectReason`], and gives the counts a new version. Since version 3 a tally says how
/// long its worker was connected.
const REASONS: [usize; 3] = [8, 9, 9];
/// The version of the records that hold counts.
const COUNTS: u8 = REASONS.len() as u8;
const _: () = assert!(
    REASONS[REASONS.len() - 1] == RejectReason::COUNT,
    "a new reason needs a new version of the counts: add to REASONS"
);

/// A worker's permanent number in the journal. 0 is the sum of all workers; the others count up
/// from 1 and are never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct WorkerNumber(pub u32);

impl WorkerNumber {
    /// The sum of all workers.
    pub const TOTAL: WorkerNumber = WorkerNumber(0);
}

/// What was counted over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Accepted shares.
    pub accepted: u64,
    /// Refused shares, in the order of [`RejectReason::ALL`], which is that of the journal.
    pub rejects: [u64; RejectReason::COUNT],
    /// Sum of the credited difficulties of the accepted shares.
    pub work: f64,
    /// Sum of credited difficulty ÷ network difficulty of the time: how many blocks that work
    /// finds on average.
    pub expected_blocks: f64,
}

impl Counts {
    /// Refused shares of all reasons.
    pub fn rejected(&self) -> u64 {
        self.rejects.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Counts) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        for (mine, theirs) in self.rejects.iter_mut().zip(other.rejects) {
            *mine = mine.saturating_add(theirs);
        }
        self.work += other.work;
        self.expected_blocks += other.expected_blocks;
    }

    /// True when nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Counts::default()
    }
}

/// A share that was the best of something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BestShare {
    /// Whose.
    pub worker: WorkerNumber,
    /// Its real difficulty: difficulty-1 target ÷ hash.
    pub difficulty: f64,
    /// When, Unix seconds.
    pub unix: u64,
    /// Height of the block that it worked on.
    pub height: u32,
    /// It was not accepted (stale, for instance): shown, and labelled.
    pub rejected: bool,
}

/// Everything ever counted for a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Since the beginning.
    pub ever: Counts,
    /// Since the last found block of the appliance.
    pub since_block: Counts,
    /// How many tallies are in it; the next one has this number.
    pub tallies: u32,
    /// Found blocks.
    pub blocks: u32,
    /// First seen, Unix seconds.
    pub first_seen: u64,
    /// Last seen (connected, or a share), Unix seconds.
    pub last_seen: u64,
    /// Last accepted share, Unix seconds; 0 for none.
    pub last_share: u64,
    /// Best ever.
    pub best: Option<BestShare>,
    /// Best since the last found block.
    pub best_since_block: Option<BestShare>,
}

impl Totals {
    /// Adds what a tally counted.
    pub fn add(&mut self, tally: &Tally) {
        self.ever.add(&tally.counts);
        self.since_block.add(&tally.counts);
        self.last_share = self.last_share.max(tally.last_share);
        self.last_seen = self.last_seen.max(self.last_share);
        self.best = better(self.best, tally.best);
        self.best_since_block = better(self.best_since_block, tally.best);
    }
}

/// The better of two shares, the first one of equals.
pub fn better(a: Option<BestShare>, b: Option<BestShare>) -> Option<BestShare> {
    if best_difficulty(&b) > best_difficulty(&a) { b } else { a.or(b) }
}

/// Real difficulty of the share; 0 for none.
pub fn best_difficulty(best: &Option<BestShare>) -> f64 {
    best.map_or(0.0, |best| best.difficulty)
}

/// What a worker did from one moment to another, at most an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Whose.
    pub worker: WorkerNumber,
    /// The worker's tallies are numbered from 0: one that was applied already is recognised.
    pub number: u32,
    /// Start, Unix seconds: decides the hour and the day that it is drawn in.
    pub from: u64,
    /// Last accepted share in it, Unix seconds; 0 for none.
    pub last_share: u64,
    /// What was counted.
    pub counts: Counts,
    /// The best share in it.
    pub best: Option<BestShare>,
    /// Seconds in which the worker was connected: in which it could have sent shares. Since version 3
    /// of the record; of an older one the whole hour.
    pub online: u32,
    /// Sum of the squares of the credited difficulties of the accepted shares. Not on the card: the
    /// confidence of a rate is told for windows of minutes, and their points keep it.
    pub squares: f64,
}

impl Tally {
    /// Adds what was counted after it.
    pub fn add(&mut self, later: &Tally) {
        if self.is_empty() {
            self.from = later.from;
        }
        self.counts.add(&later.counts);
        self.last_share = self.last_share.max(later.last_share);
        self.best = better(self.best, later.best);
        self.online = self.online.saturating_add(later.online);
        self.squares += later.squares;
    }

    /// True when nothing was counted and nobody was connected.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.online == 0
    }
}

listed! {
    /// The width of a point of history. The journal has its place in the list.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Grain {
        /// 60 s, kept for a day.
        Minute,
        /// 3,600 s, kept for 90 days.
        Hour,
        /// 86,400 s (UTC), kept for ever within the ledger's bound.
        Day,
    }
}

impl Grain {
    /// Width in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Grain::Minute => 60,
            Grain::Hour => 3_600,
            Grain::Day => 86_400,
        }
    }

    /// The period that a time falls into.
    pub fn period(self, unix: u64) -> u32 {
        u32::try_from(unix / self.seconds()).unwrap_or(u32::MAX)
    }
}

/// One point of history. Single precision: it is drawn, not added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Unix seconds ÷ the grain's seconds.
    pub period: u32,
    /// Accepted shares.
    pub accepted: u32,
    /// Refused shares.
    pub rejected: u32,
    /// Sum of credited difficulties.
    pub work: f32,
    /// Real difficulty of the best share.
    pub best: f32,
    /// Seconds in which the worker was connected. Since version 2 of the record; of an older one the
    /// whole period.
    pub online: u32,
    /// Sum of the squares of the credited difficulties, of minutes only. Since version 2 of the
    /// record; of an older one that of equal shares.
    pub squares: f32,
}

impl Point {
    /// What was counted in the period of a tally's start.
    pub fn of(grain: Grain, tally: &Tally) -> Point {
        let Tally { from, counts, best, online, squares, .. } = tally;
        let clamp = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Point {
            period: grain.period(*from),
            accepted: clamp(counts.accepted),
            rejected: clamp(counts.rejected()),
            work: (counts.work as f32).min(f32::MAX),
            best: (best_difficulty(best) as f32).min(f32::MAX),
            online: *online,
            squares: match grain {
                Grain::Minute => (*squares as f32).min(f32::MAX),
                Grain::Hour | Grain::Day => 0.0,
            },
        }
    }

    /// Adds what was counted in the same period.
    pub fn add(&mut self, other: &Point) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.work = (self.work + other.work).min(f32::MAX);
        self.best = self.best.max(other.best).min(f32::MAX);
        self.online = self.online.saturating_add(other.online);
        self.squares = (self.squares + other.squares).min(f32::MAX);
    }

    /// Takes away what belongs elsewhere. The best share stays: it is not known whose it is.
    pub fn take(&mut self, part: &Point) {
        self.accepted = self.accepted.saturating_sub(part.accepted);
        self.rejected = self.rejected.saturating_sub(part.rejected);
        self.online = self.online.saturating_sub(part.online);
        // What is left of single precision is nothing.
        let left =
            |all: f32, part: f32| if self.accepted == 0 { 0.0 } else { (all - part).max(0.0) };
        self.work = left(self.work, part.work);
        self.squares = left(self.squares, part.squares);
    }

    /// All shares, accepted or not.
    pub fn shares(&self) -> u64 {
        u64::from(self.accepted) + u64::from(self.rejected)
    }

    /// True without a share and without a connection.
    pub fn is_empty(&self) -> bool {
        self.shares() == 0 && self.online == 0
    }

    /// What its accepted shares prove.
    pub fn proven(&self) -> Proven {
        Proven {
            work: self.work.into(),
            squares: self.squares.into(),
            shares: self.accepted.into(),
            seconds: self.online.into(),
        }
    }

    /// The squares of shares that are all of the same difficulty.
    fn even_squares(&self) -> f32 {
        (self.work * self.work / self.accepted.max(1) as f32).min(f32::MAX)
    }
}

/// A block that one of our miners solved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundBlock {
    /// Its hash.
    #[serde(serialize_with = "shown")]
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// When it was solved, Unix seconds.
    pub unix: u64,
    /// Who solved it.
    pub worker: WorkerNumber,
    /// The worker's name, which outlives the worker.
    pub name: String,
    /// Real difficulty of the share.
    pub difficulty: f64,
    /// Network difficulty of the time.
    pub network_difficulty: f64,
    /// Value of its coinbase in satoshi; 0 where unknown.
    pub reward: u64,
    /// The address that its coinbase pays; empty where unknown. Since version 2 of the record, at
    /// its end.
    pub payee: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: StoredState,
    /// When that was found out, Unix seconds.
    pub state_unix: u64,
}

fn shown<S: serde::Serializer>(hash: &BlockHash, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(hash)
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// When, Unix seconds.
    pub unix: u64,
    /// Who: `page`, `file`, `restore`, …
    pub by: String,
    /// Which one, such as `payout.address`.
    pub key: String,
    /// The value before; a secret is written as `(secret)`.
    pub old: String,
    /// The value now.
    pub new: String,
}

/// Something that the owner may want to look up later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// When, Unix seconds.
    pub unix: u64,
    /// A sentence.
    pub text: String,
}

/// A run of the program, so that a later one knows what its dates are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The system's name for the time since it started: while it is the same, [`Run::up`] tells how the
    /// clocks of two runs differ.
    pub boot: String,
    /// When the run began, seconds since the system started.
    pub up: u64,
    /// The same by the wall clock, Unix seconds.
    pub since: u64,
    /// When it last wrote, Unix seconds.
    pub until: u64,
    /// Its clock was right at last: somebody set it, or it agreed with another one. Else its dates are
    /// no better than the time of the last shutdown.
    pub known: bool,
}

listed! {
    /// What explains a dent in a chart, beside blocks and starts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Dent {
        /// Another node took the lead.
        Failover,
        /// There was no work for the miners.
        Outage,
    }
}

/// A moment, or a time, that explains a chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// What.
    pub kind: Dent,
    /// When it was, or began, Unix seconds.
    pub unix: u64,
    /// When it was over, Unix seconds; 0 for what took no time, and for what goes on.
    pub until: u64,
    /// The node's name, where it is about one.
    pub about: String,
}

/// One record of the journal. The number in brackets is its kind on disk.
///
/// Replay is idempotent: a record that was applied before changes nothing when it comes again.
/// So a snapshot, and then whatever could be read of a damaged journal, give the whole again.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// \[1\] A worker got its number.
    Worker {
        /// The number.
        number: WorkerNumber,
        /// Its name, as authorised.
        name: String,
        /// Its device, as the user agent tells.
        device: String,
        /// When, Unix seconds.
        unix: u64,
    },
    /// \[2\] Counts to be added, once.
    Tally(Tally),
    /// \[3\] All counts of a worker; written by compaction, replaces what fewer tallies gave.
    Totals {
        /// Whose.
        worker: WorkerNumber,
        /// The sums.
        totals: Totals,
    },
    /// \[4\] Points of history; written by compaction, each replaces the point of its period.
    Points {
        /// Whose.
        worker: WorkerNumber,
        /// Their width.
        grain: Grain,
        /// At most [`MAX_POINTS`], by rising period.
        points: Vec<Point>,
    },
    /// \[5\] A share among the best ever.
    Best(BestShare),
    /// \[6\] A found block, whole.
    Block(FoundBlock),
    /// \[7\] Where a found block stands now.
    BlockState {
        /// Which.
        hash: BlockHash,
        /// Since when, Unix seconds.
        unix: u64,
        /// The state.
        state: StoredState,
    },
    /// \[8\] A setting was changed.
    Setting(SettingChange),
    /// \[9\] For the audit list.
    Audit(AuditEntry),
    /// \[10\] A worker was dropped: vanished for 30 days, pushed out, or forgotten by the owner.
    Forget {
        /// Whose number ends.
        worker: WorkerNumber,
    },
    /// \[11\] A file that travels in a backup, such as the configuration.
    Attachment {
        /// Its name, without a folder.
        name: String,
        /// Its bytes, at most 60 kB.
        bytes: Vec<u8>,
    },
    /// \[12\] A worker's difficulty of the moment.
    Level {
        /// Whose.
        worker: WorkerNumber,
        /// The share difficulty.
        difficulty: f64,
        /// What the miner last wished for. Since version 2 of the record.
        wish: Option<f64>,
    },
    /// \[13\] What was counted since a worker's last tally, up to now. It will be in the tally of the
    /// same number; until then the largest one holds.
    Open(Tally),
    /// \[14\] The owner fixed a worker's difficulty.
    Fixed {
        /// Whose.
        worker: WorkerNumber,
        /// The share difficulty; `None` (on disk 0): it is found by itself again.
        difficulty: Option<f64>,
    },
    /// \[15\] The owner says that two workers are one miner, which was renamed.
    Join {
        /// Whose history moves; this worker is no more.
        from: WorkerNumber,
        /// Whose it becomes.
        into: WorkerNumber,
        /// It is counted as the tally of this number of `into`: once.
        number: u32,
    },
    /// \[16\] A run as it stands now; replaces what was told of it before.
    Run(Run),
    /// \[17\] A mark in the charts; replaces the one of its kind and moment.
    Mark(Mark),
    /// \[18\] How hot miners were and what they drew: each slot replaces the one of its time, unless
    /// that is made of more answers.
    Heat {
        /// The width of the slots.
        span: Span,
        /// Whose, and by rising period; all together at most [`MAX_PAYLOAD`] bytes.
        of: Vec<(WorkerNumber, Vec<(u32, Slot)>)>,
    },
    /// \[19\] What all miners drew together, in the same way.
    Watts {
        /// The width of the slots.
        span: Span,
        /// By rising period.
        slots: Vec<(u32, Sum)>,
    },
    /// Of a kind or version that this program does not know.
    Unknown {
        /// The kind.
        kind: u8,
        /// The version.
        version: u8,
        /// The payload.
        payload: Vec<u8>,
    },
}

/// Appends a record's frame to `out`.
pub fn encode(record: &Record, sequence: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&record.kind());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&sequence.to_le_bytes());
    record.payload(out);
    let length = (out.len() - start - HEAD).min(MAX_PAYLOAD) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Appends the frames of records, numbered from `first` on.
pub fn encode_all(records: &[Record], first: u64, out: &mut Vec<u8>) {
    (first..).zip(records).for_each(|(sequence, record)| encode(record, sequence, out));
}

/// The records of nothing but whole frames; `None` when anything else is among them.
pub fn decode_all(bytes: &[u8]) -> Option<Vec<Record>> {
    let scan = scan_frames(bytes);
    (scan.torn_tail == 0 && scan.damaged_bytes == 0).then_some(scan.records)
}

/// Reads the frame at the start of `bytes`: its sequence number, its record and its length.
/// `None` when no whole, undamaged frame starts here.
pub fn decode(bytes: &[u8]) -> Option<(u64, Record, usize)> {
    let length = frame_length(bytes)?;
    let (body, crc) = bytes[..length].split_at(length - CRC);
    if crc32fast::hash(body).to_le_bytes() != crc {
        return None;
    }
    let sequence = u64::from_le_bytes(body[8..16].try_into().expect("eight bytes"));
    let (kind, version, payload) = (body[2], body[3], &body[HEAD..]);
    let record = Record::from_payload(kind, version, payload).unwrap_or_else(|_| {
        // The bytes are as they were written: whoever wrote them may read them again.
        Record::Unknown { kind, version, payload: payload.to_vec() }
    });
    Some((sequence, record, length))
}

/// What could be read of a journal.
#[derive(Debug, Default)]
pub struct Scan {
    /// The whole records, in the file's order.
    pub records: Vec<Record>,
    /// The sequence number of the last one; 0 when there is none.
    pub last_sequence: u64,
    /// Records that are missing between the first and the last.
    pub lost: u64,
    /// Damaged bytes before the last whole record (or before the file's header).
    pub damaged_bytes: u64,
    /// Bytes after the last whole record: the usual end of a file that was being written when the
    /// power went.
    pub torn_tail: u64,
    /// The file's first eight bytes are right.
    pub header: bool,
    /// Where the last whole record ends, in bytes from the start of the file.
    pub end: u64,
}

impl Scan {
    /// True when the file is as it was written, but for a torn tail.
    pub fn is_sound(&self) -> bool {
        self.header && self.lost == 0 && self.damaged_bytes == 0
    }
}

/// Reads everything that can be read of a journal file, whatever happened to it.
///
/// The work is bounded: looking for the next whole frame costs at most [`SEARCH_LIMIT`] bytes of
/// checksums over the whole file; what lies behind counts as damaged.
pub fn scan(file: &[u8]) -> Scan {
    let header = file.starts_with(FILE_HEADER);
    let start = if header { FILE_HEADER.len() } else { 0 };
    let mut scan = scan_frames(&file[start..]);
    scan.header = header;
    scan.end += start as u64;
    scan
}

/// The same for bytes without the file's header.
pub fn scan_frames(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut place = 0;
    let mut search = SEARCH_LIMIT;
    while place < bytes.len() {
        let Some((sequence, record, length)) = decode(&bytes[place..]) else {
            // What a candidate costs is its checksum.
            let cost = frame_length(&bytes[place..]).unwrap_or(0) as u64;
            search = search.saturating_sub(cost);
            if search == 0 {
                break;
            }
            let next = memchr::memchr(MARKER[0], &bytes[place + 1..]);
            place += 1 + next.unwrap_or(bytes.len() - place - 1);
            continue;
        };
        scan.damaged_bytes += place as u64 - scan.end;
        if !scan.records.is_empty() {
            // Pages that were swapped give a number that goes back; only gaps count as lost.
            let gap = sequence.saturating_sub(scan.last_sequence).saturating_sub(1);
            scan.lost = scan.lost.saturating_add(gap);
        }
        scan.last_sequence = scan.last_sequence.max(sequence);
        scan.records.push(record);
        place += length;
        scan.end = place as u64;
    }
    scan.torn_tail = bytes.len() as u64 - scan.end;
    scan
}

/// See [`scan`]. 1 GiB: about a second on the slowest board.
pub const SEARCH_LIMIT: u64 = 1 << 30;

/// The length of the frame that `bytes` begin with, if they may.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..HEAD)?;
    if head[..2] != MARKER {
        return None;
    }
    let length = u32::from_le_bytes(head[4..8].try_into().expect("four bytes")) as usize;
    let whole = HEAD + length + CRC;
    (length <= MAX_PAYLOAD && whole <= bytes.len()).then_some(whole)
}

impl Record {
    /// Its kind and the version of its layout.
    fn kind(&self) -> [u8; 2] {
        match self {
            Record::Worker { .. } => [1, 1],
            Record::Tally(_) => [2, COUNTS],
            Record::Totals { .. } => [3, COUNTS],
            Record::Points { .. } => [4, 2],
            Record::Best(_) => [5, 1],
            Record::Block(_) => [6, 2],
            Record::BlockState { .. } => [7, 1],
            Record::Setting(_) => [8, 1],
            Record::Audit(_) => [9, 1],
            Record::Forget { .. } => [10, 1],
            Record::Attachment { .. } => [11, 1],
            Record::Level { .. } => [12, 2],
            Record::Open(_) => [13, COUNTS],
            Record::Fixed { .. } => [14, 1],
            Record::Join { .. } => [15, 1],
            Record::Run(_) => [16, 1],
            Record::Mark(_) => [17, 1],
            Record::Heat { .. } => [18, 1],
            Record::Watts { .. } => [19, 1],
            Record::Unknown { kind, version, .. } => [*kind, *version],
        }
    }

    fn payload(&self, to: &mut Vec<u8>) {
        match self {
            Record::Worker { number, name, device, unix } => {
                number.write(to);
                write_text(name, MAX_NAME, to);
                write_text(device, MAX_DEVICE, to);
                unix.write(to);
            }
            Record::Tally(tally) | Record::Open(tally) => tally.write(to),
            Record::Totals { worker, totals } => {
                worker.write(to);
                totals.write(to);
            }
            Record::Points { worker, grain, points } => {
                worker.write(to);
                write_points(*grain, &points[..points.len().min(MAX_POINTS)], to);
            }
            Record::Best(best) => best.write(to),
            Record::Block(block) => block.write(to),
            Record::BlockState { hash, unix, state } => {
                hash.write(to);
                unix.write(to);
                state.write(to);
            }
            Record::Setting(change) => change.write(to),
            Record::Audit(entry) => entry.write(to),
            Record::Forget { worker } => worker.write(to),
            Record::Attachment { name, bytes } => {
                write_text(name, MAX_NAME, to);
                to.extend_from_slice(&bytes[..bytes.len().min(MAX_ATTACHMENT)]);
            }
            Record::Level { worker, difficulty, wish } => {
                worker.write(to);
                difficulty.write(to);
                wish.write(to);
            }
            Record::Fixed { worker, difficulty } => {
                worker.write(to);
                difficulty.unwrap_or(0.0).write(to);
            }
            Record::Join { from, into, number } => {
                from.write(to);
                into.write(to);
                number.write(to);
            }
            Record::Run(run) => run.write(to),
            Record::Mark(mark) => mark.write(to),
            Record::Heat { span, of } => write_heat(*span, of, to),
            Record::Watts { span, slots } => {
                span.write(to);
                write_cells(0, slots, to);
            }
            Record::Unknown { payload, .. } => {
                to.extend_from_slice(&payload[..payload.len().min(MAX_PAYLOAD)]);
            }
        }
    }

    /// Reads a payload. The arms of older versions stay for ever.
    fn from_payload(kind: u8, version: u8, payload: &[u8]) -> Result<Record, RecordError> {
        let from = &mut Reader { bytes: payload, version };
        // In the order in which they are written.
        let record = match (kind, version) {
            (1, 1) => Record::Worker {
                number: Field::read(from)?,
                name: from.text(MAX_NAME)?,
                device: from.text(MAX_DEVICE)?,
                unix: Field::read(from)?,
            },
            (2, 1..=COUNTS) => Record::Tally(Field::read(from)?),
            (3, 1..=COUNTS) => {
                Record::Totals { worker: Field::read(from)?, totals: Field::read(from)? }
            }
            (4, 1..=2) => {
                let worker = Field::read(from)?;
                let (grain, points) = read_points(from)?;
                Record::Points { worker, grain, points }
            }
            (5, 1) => Record::Best(Field::read(from)?),
            // Version 1 ended before the payee: an empty text.
            (6, 1) => return Record::from_payload(6, 2, &[payload, &[0]].concat()),
            (6, 2) => {
                let block = FoundBlock::read(from)?;
                if block.name.len() > MAX_NAME {
                    return Err(RecordError::BadValue("text"));
                }
                Record::Block(block)
            }
            (7, 1) => Record::BlockState {
                hash: Field::read(from)?,
                unix: Field::read(from)?,
                state: Field::read(from)?,
            },
            (8, 1) => Record::Setting(Field::read(from)?),
            (9, 1) => Record::Audit(Field::read(from)?),
            (10, 1) => Record::Forget { worker: Field::read(from)? },
            (11, 1) => {
                let name = from.text(MAX_NAME)?;
                Record::Attachment { name, bytes: from.take(from.bytes.len())?.to_vec() }
            }
            (12, 1..=2) => Record::Level {
                worker: Field::read(from)?,
                difficulty: Field::read(from)?,
                wish: if version > 1 { Field::read(from)? } else { None },
            },
            (13, 1..=COUNTS) => Record::Open(Field::read(from)?),
            (14, 1) => {
                let (worker, difficulty) = (Field::read(from)?, f64::read(from)?);
                Record::Fixed { worker, difficulty: Some(difficulty).filter(|&d| d > 0.0) }
            }
            (15, 1) => Record::Join {
                from: Field::read(from)?,
                into: Field::read(from)?,
                number: Field::read(from)?,
            },
            (16, 1) => Record::Run(Field::read(from)?),
            (17, 1) => Record::Mark(Field::read(from)?),
            (18, 1) => {
                let (span, of) = read_heat(from)?;
                Record::Heat { span, of }
            }
            (19, 1) => {
                let (span, mut slots) = (Field::read(from)?, Vec::new());
                read_cells(0, from, &mut slots)?;
                Record::Watts { span, slots }
            }
            _ => Record::Unknown { kind, version, payload: from.take(payload.len())?.to_vec() },
        };
        from.end()?;
        Ok(record)
    }
}

/// The longest attached file in bytes.
pub const MAX_ATTACHMENT: usize = 60 * 1024;

fields!(WorkerNumber { 0 });
fields!(BestShare { worker, difficulty, unix, height, rejected });
fields!(Totals {
    ever,
    since_block,
    tallies,
    blocks,
    first_seen,
    last_seen,
    last_share,
    best,
    best_since_block
});
fields!(SettingChange { unix, by, key, old, new });
fields!(AuditEntry { unix, text });
fields!(Run { boot, up, since, until, known });
fields!(Mark { kind, unix, until, about });

impl Field for Dent {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(*self as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<Dent, RecordError> {
        let kind = Dent::ALL.get(usize::from(from.byte()?));
        kind.copied().ok_or(RecordError::BadValue("mark"))
    }
}

impl Field for Span {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(*self as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<Span, RecordError> {
        let span = Span::ALL.get(usize::from(from.byte()?));
        span.copied().ok_or(RecordError::BadValue("span"))
    }
}

/// The first period of all, then for each worker its number and how many bytes of slots follow.
fn write_heat(span: Span, of: &[(WorkerNumber, Vec<(u32, Slot)>)], to: &mut Vec<u8>) {
    span.write(to);
    let first = of.iter().filter_map(|(_, slots)| Some(slots.first()?.0)).min().unwrap_or(0);
    first.write(to);
    let mut bytes = Vec::new();
    for (worker, slots) in of {
        bytes.clear();
        write_cells(first, slots, &mut bytes);
        worker.write(to);
        (bytes.len() as u64).write(to);
        to.extend_from_slice(&bytes);
    }
}

/// What stands in a [`Record::Heat`].
type Heats = (Span, Vec<(WorkerNumber, Vec<(u32, Slot)>)>);

fn read_heat(from: &mut Reader<'_>) -> Result<Heats, RecordError> {
    let span = Field::read(from)?;
    let first = u32::read(from)?;
    let mut of = Vec::new();
    while !from.bytes.is_empty() {
        let (worker, length) = (Field::read(from)?, u64::read(from)?);
        let length = usize::try_from(length).map_err(|_| RecordError::Short)?;
        let bytes = &mut Reader { bytes: from.take(length)?, version: from.version };
        let mut slots = Vec::new();
        read_cells(first, bytes, &mut slots)?;
        of.push((worker, slots));
    }
    Ok((span, of))
}

impl Field for Counts {
    fn write(&self, to: &mut Vec<u8>) {
        self.accepted.write(to);
        self.rejects.iter().for_each(|count| count.write(to));
        self.work.write(to);
        self.expected_blocks.write(to);
    }

    /// An older version holds fewer reasons.
    fn read(from: &mut Reader<'_>) -> Result<Counts, RecordError> {
        let mut counts = Counts { accepted: Field::read(from)?, ..Counts::default() };
        let reasons = REASONS[usize::from(from.version) - 1];
        for count in &mut counts.rejects[..reasons] {
            *count = Field::read(from)?;
        }
        counts.work = Field::read(from)?;
        counts.expected_blocks = Field::read(from)?;
        Ok(counts)
    }
}

impl Field for Tally {
    fn write(&self, to: &mut Vec<u8>) {
        self.worker.write(to);
        self.number.write(to);
        self.from.write(to);
        self.last_share.write(to);
        self.counts.write(to);
        self.best.write(to);
        self.online.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Tally, RecordError> {
        Ok(Tally {
            worker: Field::read(from)?,
            number: Field::read(from)?,
            from: Field::read(from)?,
            last_share: Field::read(from)?,
            counts: Field::read(from)?,
            best: Field::read(from)?,
            online: if from.version < 3 { HOUR } else { Field::read(from)? },
            squares: 0.0,
        })
    }
}

/// Seconds of a tally that does not say how long its worker was connected.
const HOUR: u32 = 3_600;

/// The first period stands whole, each further one as the distance to the one before.
fn write_points(grain: Grain, points: &[Point], to: &mut Vec<u8>) {
    to.push(grain as u8);
    (points.len() as u64).write(to);
    let mut before = 0;
    for point in points {
        let period = point.period.saturating_sub(before);
        before = point.period;
        period.write(to);
        point.accepted.write(to);
        point.rejected.write(to);
        point.work.write(to);
        point.best.write(to);
        point.online.write(to);
        if grain == Grain::Minute {
            point.squares.write(to);
        }
    }
}

fn read_points(from: &mut Reader<'_>) -> Result<(Grain, Vec<Point>), RecordError> {
    let grain = Grain::ALL.get(usize::from(from.byte()?));
    let grain = *grain.ok_or(RecordError::BadValue("grain"))?;
    let count = u64::read(from)?;
    if count > MAX_POINTS as u64 {
        return Err(RecordError::BadValue("count"));
    }
    let mut points = Vec::with_capacity(count as usize);
    let mut before = 0_u32;
    for index in 0..count {
        let step = u32::read(from)?;
        if index > 0 && step == 0 {
            return Err(RecordError::BadValue("period"));
        }
        before = before.checked_add(step).ok_or(RecordError::BadValue("period"))?;
        let mut point = Point {
            period: before,
            accepted: Field::read(from)?,
            rejected: Field::read(from)?,
            work: Field::read(from)?,
            best: Field::read(from)?,
            online: grain.seconds() as u32,
            squares: 0.0,
        };
        if from.version > 1 {
            point.online = Field::read(from)?;
        }
        if grain == Grain::Minute {
            point.squares =
                if from.version > 1 { Field::read(from)? } else { point.even_squares() };
        }
        points.push(point);
    }
    Ok((grain, points))
}

fields!(FoundBlock {
    hash,
    height,
    unix,
    worker,
    name,
    difficulty,
    network_difficulty,
    reward,
    state,
    state_unix,
    payee
});

impl Field for BlockHash {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<BlockHash, RecordError> {
        from.array().map(BlockHash)
    }
}

impl Field for StoredState {
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            StoredState::Candidate => to.push(0),
            StoredState::Accepted { node } => {
                to.push(1);
                node.write(to);
            }
            StoredState::Confirmed { confirmations } => {
                to.push(2);
                confirmations.write(to);
            }
            StoredState::Mature => to.push(3),
            StoredState::Stale => to.push(4),
            StoredState::Rejected { reason } => {
                to.push(5);
                reason.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<StoredState, RecordError> {
        Ok(match from.byte()? {
            0 => StoredState::Candidate,
            1 => StoredState::Accepted { node: Field::read(from)? },
            2 => StoredState::Confirmed { confirmations: Field::read(from)? },
            3 => StoredState::Mature,
            4 => StoredState::Stale,
            5 => StoredState::Rejected { reason: Field::read(from)? },
            _ => return Err(RecordError::BadValue("state")),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::heat::Cell;
    use super::super::heat::tests::{any_slot, any_sum};
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn amount() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), 0.0..1e15, 1e-9..1.0]
    }

    fn counts() -> impl Strategy<Value = Counts> {
        (0..u64::MAX, proptest::array::uniform9(0..u64::MAX), amount(), amount()).prop_map(
            |(accepted, rejects, work, expected_blocks)| Counts {
                accepted,
                rejects,
                work,
                expected_blocks,
            },
        )
    }

    fn best() -> impl Strategy<Value = BestShare> {
        (any::<u32>(), amount(), any::<u64>(), any::<u32>(), any::<bool>()).prop_map(
            |(worker, difficulty, unix, height, rejected)| BestShare {
                worker: WorkerNumber(worker),
                difficulty,
                unix,
                height,
                rejected,
            },
        )
    }

    fn state() -> impl Strategy<Value = StoredState> {
        prop_oneof![
            Just(StoredState::Candidate),
            ".{0,40}".prop_map(|node| StoredState::Accepted { node }),
            any::<u32>().prop_map(|confirmations| StoredState::Confirmed { confirmations }),
            Just(StoredState::Mature),
            Just(StoredState::Stale),
            ".{0,40}".prop_map(|reason| StoredState::Rejected { reason }),
        ]
    }

    fn points() -> impl Strategy<Value = (Grain, Vec<Point>)> {
        let grain = prop_oneof![Just(Grain::Minute), Just(Grain::Hour), Just(Grain::Day)];
        let steps =
            vec((1_u32..1000, any::<[u32; 3]>(), 0_f32..1e9, 0_f32..1e9, 0_f32..1e18), 0..20);
        (grain, steps).prop_map(|(grain, steps)| {
            let mut period = 0;
            let points = steps.into_iter().map(|(step, counts, work, best, squares)| {
                period += step;
                let [accepted, rejected, online] = counts;
                let point = Point { period, accepted, rejected, work, best, online, squares };
                match grain {
                    Grain::Minute => point,
                    Grain::Hour | Grain::Day => Point { squares: 0.0, ..point },
                }
            });
            (grain, points.collect())
        })
    }

    /// Any record that this program writes.
    pub(in crate::ledger) fn any_record() -> impl Strategy<Value = Record> {
        let worker = any::<u32>().prop_map(WorkerNumber);
        let tally = (
            worker.clone(),
            any::<u32>(),
            any::<u64>(),
            any::<u64>(),
            counts(),
            option::of(best()),
            any::<u32>(),
        )
            .prop_map(|(worker, number, from, last_share, counts, best, online)| Tally {
                worker,
                number,
                from,
                last_share,
                counts,
                best,
                online,
                squares: 0.0,
            });
        let totals = (
            worker.clone(),
            counts(),
            counts(),
            any::<(u32, u32, u64, u64, u64)>(),
            option::of(best()),
            option::of(best()),
        )
            .prop_map(|(worker, ever, since_block, numbers, best, best_since_block)| {
                let (tallies, blocks, first_seen, last_seen, last_share) = numbers;
                let totals = Totals {
                    ever,
                    since_block,
                    tallies,
                    blocks,
                    first_seen,
                    last_seen,
                    last_share,
                    best,
                    best_since_block,
                };
                Record::Totals { worker, totals }
            });
        let block = (
            any::<[u8; 32]>(),
            any::<(u32, u64, u64, u64)>(),
            worker.clone(),
            (".{0,30}", ".{0,90}"),
            amount(),
            amount(),
            state(),
        )
            .prop_map(
                |(hash, numbers, worker, (name, payee), difficulty, network_difficulty, state)| {
                    let (height, unix, reward, state_unix) = numbers;
                    Record::Block(FoundBlock {
                        hash: BlockHash(hash),
                        height,
                        unix,
                        worker,
                        name,
                        difficulty,
                        network_difficulty,
                        reward,
                        payee,
                        state,
                        state_unix,
                    })
                },
            );
        prop_oneof![
            (worker.clone(), ".{0,30}", ".{0,15}", any::<u64>()).prop_map(
                |(number, name, device, unix)| Record::Worker { number, name, device, unix }
            ),
            (tally, any::<bool>()).prop_map(|(tally, open)| {
                if open { Record::Open(tally) } else { Record::Tally(tally) }
            }),
            totals,
            (worker.clone(), points()).prop_map(|(worker, (grain, points))| Record::Points {
                worker,
                grain,
                points
            }),
            best().prop_map(Record::Best),
            block,
            (any::<[u8; 32]>(), any::<u64>(), state()).prop_map(|(hash, unix, state)| {
                Record::BlockState { hash: BlockHash(hash), unix, state }
            }),
            (any::<u64>(), ".{0,40}", ".{0,40}", ".{0,40}", ".{0,40}").prop_map(
                |(unix, by, key, old, new)| Record::Setting(SettingChange {
                    unix,
                    by,
                    key,
                    old,
                    new
                })
            ),
            (any::<u64>(), ".{0,80}")
                .prop_map(|(unix, text)| Record::Audit(AuditEntry { unix, text })),
            (worker.clone(), amount(), option::of(amount()))
                .prop_map(|(worker, difficulty, wish)| Record::Level { worker, difficulty, wish }),
            (worker.clone(), prop::option::of(1e-4..1e12))
                .prop_map(|(worker, difficulty)| Record::Fixed { worker, difficulty }),
            worker.clone().prop_map(|worker| Record::Forget { worker }),
            // Few of them, so that some are known.
            (0_u32..4, 0_u32..4, 0_u32..9, any::<bool>()).prop_map(|(from, into, number, far)| {
                let far = if far { u32::MAX - 4 } else { 0 };
                let [from, into] = [from + far, into].map(WorkerNumber);
                Record::Join { from, into, number }
            }),
            (".{0,20}", vec(any::<u8>(), 0..300))
                .prop_map(|(name, bytes)| Record::Attachment { name, bytes }),
            ("[a-c]{0,2}", any::<(u64, u64, u64, bool)>()).prop_map(|(boot, numbers)| {
                let (up, since, until, known) = numbers;
                Record::Run(Run { boot, up, since, until, known })
            }),
            (0..Dent::COUNT, any::<u64>(), any::<u64>(), ".{0,9}").prop_map(
                |(kind, unix, until, about)| Record::Mark(Mark {
                    kind: Dent::ALL[kind],
                    unix,
                    until,
                    about
                })
            ),
            (0..Span::COUNT, vec((0_u32..9, slots(any_slot())), 0..6)).prop_map(|(span, of)| {
                let of = of.into_iter().map(|(worker, slots)| (WorkerNumber(worker), slots));
                Record::Heat { span: Span::ALL[span], of: of.collect() }
            }),
            (0..Span::COUNT, slots(any_sum()))
                .prop_map(|(span, slots)| Record::Watts { span: Span::ALL[span], slots }),
            (20_u8.., any::<u8>(), vec(any::<u8>(), 0..100))
                .prop_map(|(kind, version, payload)| Record::Unknown { kind, version, payload }),
        ]
    }

    /// By rising period, some of them at the end of time.
    fn slots<T: Cell>(cell: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<(u32, T)>> {
        let step = prop_oneof![4 => Just(1_u32), 1 => 1..1_000_u32, 1 => Just(2_900_000)];
        vec((step, cell), 0..12).prop_map(|cells| {
            let mut period = 0_u32;
            let dated = cells.into_iter().map(|(step, cell)| {
                period += step;
                (period, cell)
            });
            dated.collect()
        })
    }

    fn journal(records: &[Record], first: u64) -> (Vec<u8>, Vec<usize>) {
        let mut file = FILE_HEADER.to_vec();
        let mut ends = Vec::new();
        for (sequence, record) in (first..).zip(records) {
            encode(record, sequence, &mut file);
            ends.push(file.len());
        }
        (file, ends)
    }

    #[test]
    fn a_block_of_the_first_version_is_read_without_payee() {
        let block = FoundBlock {
            hash: BlockHash([7; 32]),
            height: 900_123,
            unix: 1_790_000_000,
            worker: WorkerNumber(3),
            name: "garage".to_owned(),
            difficulty: 1e14,
            network_difficulty: 1e14,
            reward: 312_500_000,
            payee: "bc1qw508".to_owned(),
            state: StoredState::Mature,
            state_unix: 1_790_000_001,
        };
        let mut second = Vec::new();
        block.write(&mut second);
        let first = &second[..second.len() - 1 - block.payee.len()];
        let old = FoundBlock { payee: String::new(), ..block.clone() };
        assert_eq!(Record::from_payload(6, 1, first), Ok(Record::Block(old)));
        assert_eq!(Record::from_payload(6, 2, &second), Ok(Record::Block(block)));
        assert_eq!(Record::from_payload(6, 2, first), Err(RecordError::Short));
    }

    #[test]
    fn a_difficulty_of_the_first_version_is_read_without_a_wish() {
        let (worker, difficulty) = (WorkerNumber(300), 512.5);
        let mut second = Vec::new();
        Record::Level { worker, difficulty, wish: None }.payload(&mut second);
        let read = Record::Level { worker, difficulty, wish: None };
        let first = &second[..second.len() - 1];
        assert_eq!(Record::from_payload(12, 1, first), Ok(read.clone()));
        assert_eq!(Record::from_payload(12, 2, &second), Ok(read));
        assert_eq!(Record::from_payload(12, 2, first), Err(RecordError::Short));
    }

    proptest! {
        #[test]
        fn every_record_comes_back(record in any_record(), sequence: u64) {
            let mut frame = Vec::new();
            encode(&record, sequence, &mut frame);
            prop_assert_eq!(decode(&frame), Some((sequence, record, frame.len())));
            prop_assert_eq!(decode(&frame[..frame.len() - 1]), None);
        }

        #[test]
        fn no_payload_makes_the_decoder_panic(
            kind in 0_u8..21, version in 0_u8..3, payload in vec(any::<u8>(), 0..400)
        ) {
            let _ = Record::from_payload(kind, version, &payload);
        }

        /// Payloads that are nearly right, with a right checksum: the deep paths of the decoder.
        /// What it accepts is written again as it was read.
        #[test]
        fn nearly_right_payloads_are_read_or_kept(
            record in any_record(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in 0_usize..4
        ) {
            let mut frame = Vec::new();
            encode(&record, 1, &mut frame);
            let mut payload = frame[HEAD..frame.len() - CRC].to_vec();
            for (at, byte) in changes {
                if !payload.is_empty() {
                    let at = at.index(payload.len());
                    payload[at] = byte;
                }
            }
            payload.truncate(payload.len() - cut.min(payload.len()));
            let (kind, version) = (frame[2], frame[3]);
            let mut changed = Vec::new();
            encode(&Record::Unknown { kind, version, payload }, 1, &mut changed);
            let (_, read, length) = decode(&changed).unwrap();
            prop_assert_eq!(length, changed.len());
            let mut again = Vec::new();
            encode(&read, 1, &mut again);
            prop_assert_eq!(decode(&again).unwrap().1, read);
        }

        #[test]
        fn no_bytes_make_the_scan_panic(bytes in vec(any::<u8>(), 0..2000)) {
            let scan = scan(&bytes);
            prop_assert!(scan.end + scan.torn_tail == bytes.len() as u64);
        }

        #[test]
        fn a_flipped_bit_costs_one_record_and_is_counted(
            records in vec(any_record(), 3..12), at: prop::sample::Index, bit in 0..8_u32
        ) {
            let (mut file, ends) = journal(&records, 7);
            let at = at.index(file.len() - 8) + 8;
            file[at] ^= 1 << bit;
            let hurt = ends.iter().position(|&end| at < end).unwrap();
            let mut rest = records.clone();
            rest.remove(hurt);
            let scan = scan(&file);
            prop_assert_eq!(&scan.records, &rest);
            if hurt == records.len() - 1 {
                prop_assert!(scan.torn_tail > 0 && scan.is_sound());
            } else if hurt == 0 {
                // Nothing before it tells its number, but its bytes are seen.
                prop_assert!(!scan.is_sound() && scan.lost == 0);
            } else {
                prop_assert!(!scan.is_sound() && scan.lost == 1);
            }
        }

        #[test]
        fn a_cut_keeps_every_record_before_it(
            records in vec(any_record(), 1..12), at: prop::sample::Index
        ) {
            let (file, ends) = journal(&records, 1);
            let cut = at.index(file.len() + 1);
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            let scan = scan(&file[..cut]);
            prop_assert_eq!(&scan.records[..], &records[..whole]);
        }

        #[test]
        fn swapped_and_zeroed_pages_leave_the_others(
            records in vec(any_record(), 20..60), a in 0_usize..8, b in 0_usize..8, zero: bool
        ) {
            let (mut file, _) = journal(&records, 1);
            let pages = file.len() / 512;
            prop_assume!(pages > 1);
            let (a, b) = (a % pages, b % pages);
            if zero {
                file[a * 512..(a + 1) * 512].fill(0);
            } else {
                let page: Vec<u8> = file[a * 512..(a + 1) * 512].to_vec();
                file.copy_within(b * 512..(b + 1) * 512, a * 512);
                file[b * 512..(b + 1) * 512].copy_from_slice(&page);
            }
            for record in scan(&file).records {
                prop_assert!(records.contains(&record));
            }
        }
    }

    #[test]
    fn a_file_of_nothing_but_markers_is_scanned_in_bounded_time() {
        // Each marker promises a payload as long as allowed: the worst case of the search.
        let mut file = Vec::new();
        while file.len() < 8 << 20 {
            file.extend_from_slice(&MARKER);
            file.extend_from_slice(&[1, 1, 0, 0xff, 0, 0]);
        }
        let scan = scan(&file);
        assert!(scan.records.is_empty() && scan.torn_tail == file.len() as u64);
    }

    /// The bytes of version 1 as they were first written. They must be readable for ever: change
    /// this test only to add to it.
    #[test]
    fn the_first_versions_bytes_are_still_understood() {
        let mut frame = Vec::new();
        let record = Record::Worker {
            number: WorkerNumber(3),
            name: "garage".into(),
            device: "bitaxe".into(),
            unix: 1_790_000_000,
        };
        encode(&record, 5, &mut frame);
        assert_eq!(
            faster_hex::hex_string(&frame),
            "4a52010114000000050000000000000003066761726167650662697461786580\
             f7c4d5060a108902"
        );
    }

    /// Counts of version 1 as they were written: eight reasons, none of them [`StaleAtChange`].
    ///
    /// [`StaleAtChange`]: RejectReason::StaleAtChange
    #[test]
    fn counts_of_the_first_version_are_read_without_the_ninth_reason() {
        let counts = Counts {
            accepted: 300,
            rejects: [1, 2, 3, 4, 5, 6, 7, 8, 0],
            work: 1.5,
            expected_blocks: 0.25,
        };
        let tally = Tally {
            worker: WorkerNumber(3),
            number: 2,
            from: 1_790_000_000,
            last_share: 1_790_000_001,
            counts,
            best: None,
            online: 3_600,
            squares: 0.0,
        };
        let totals = Totals {
            ever: counts,
            tallies: 3,
            first_seen: 1_790_000_000,
            last_seen: 1_790_000_002,
            last_share: 1_790_000_001,
            ..Totals::default()
        };
        for (record, frame) in [
            (
                Record::Tally(tally),
                "4a520201270000000500000000000000030280f7c4d50681f7c4d506ac0201020304050607080000\
                 00000000f83f000000000000d03f001e172019",
            ),
            (
                Record::Open(tally),
                "4a520d01270000000500000000000000030280f7c4d50681f7c4d506ac0201020304050607080000\
                 00000000f83f000000000000d03f00128e7dfa",
            ),
            (
                Record::Totals { worker: WorkerNumber(3), totals },
                "4a52030147000000050000000000000003ac020102030405060708000000000000f83f0000000000\
                 00d03f00000000000000000000000000000000000000000000000000030080f7c4d50682f7c4d506\
                 81f7c4d5060000152ab08e",
            ),
        ] {
            let mut bytes = vec![0; frame.len() / 2];
            faster_hex::hex_decode(frame.as_bytes(), &mut bytes).unwrap();
            assert_eq!(decode(&bytes), Some((5, record.clone(), bytes.len())));
            // Written anew it has the ninth.
            let mut anew = Vec::new();
            encode(&record, 5, &mut anew);
            assert_eq!((anew[3], decode(&anew).map(|(_, read, _)| read)), (3, Some(record)));
        }
    }

    #[test]
    fn a_newer_programs_records_are_kept_as_they_are() {
        let newer = Record::Unknown { kind: 2, version: 9, payload: vec![1, 2, 3] };
        let mut frame = Vec::new();
        encode(&newer, 1, &mut frame);
        let (_, read, _) = decode(&frame).unwrap();
        let mut again = Vec::new();
        encode(&read, 1, &mut again);
        assert_eq!(frame, again);
        assert_eq!(read, newer);
    }

    /// Length and CRC of one frame of each kind, in each of its forms. What is on the cards of
    /// owners stays readable: another layout needs another version, and lines of its own here.
    #[test]
    fn the_bytes_of_every_kind_are_as_they_were_first_written() {
        let worker = WorkerNumber(300);
        let counts = Counts {
            accepted: 300,
            rejects: [1, 2, 3, 4, 5, 6, 7, 8, 200],
            work: 1.5,
            expected_blocks: 0.25,
        };
        let best = BestShare {
            worker,
            difficulty: 1e6,
            unix: 1_790_000_003,
            height: 900_001,
            rejected: true,
        };
        let tally = Tally {
            worker,
            number: 200,
            from: 1_790_000_000,
            last_share: 1_790_000_001,
            counts,
            best: Some(best),
            online: 3_000,
            squares: 0.0,
        };
        let totals = Totals {
            ever: counts,
            since_block: Counts { accepted: 7, ..counts },
            tallies: 3,
            blocks: 1,
            first_seen: 1_790_000_000,
            last_seen: 1_790_000_002,
            last_share: 1_790_000_001,
            best: Some(best),
            best_since_block: None,
        };
        let point = |period| Point {
            period,
            accepted: 5,
            rejected: 1,
            work: 2.5,
            best: 1e3,
            online: 47,
            squares: 1.25,
        };
        let hash = BlockHash([7; 32]);
        let block = |state| FoundBlock {
            hash,
            height: 900_123,
            unix: 1_790_000_000,
            worker,
            name: "garage".into(),
            difficulty: 2e14,
            network_difficulty: 1e14,
            reward: 312_500_000,
            payee: "bc1qexample".into(),
            state,
            state_unix: 1_790_000_009,
        };
        let state = |state| Record::BlockState { hash, unix: 1_790_000_000, state };
        let slot = Slot::from_bytes([120, 110, 173, 0, 20]).unwrap();
        let sum = Sum::from_bytes([173, 0, 3, 60, 0]).unwrap();
        let written = [
            Record::Worker { number: worker, name: "garage".into(), device: "x".into(), unix: 9 },
            Record::Tally(tally),
            Record::Open(Tally { best: None, ..tally }),
            Record::Totals { worker, totals },
            Record::Points { worker, grain: Grain::Minute, points: vec![point(7), point(900)] },
            Record::Points {
                worker,
                grain: Grain::Hour,
                points: vec![Point { squares: 0.0, ..point(3) }],
            },
            Record::Points { worker, grain: Grain::Day, points: Vec::new() },
            Record::Best(best),
            Record::Block(block(StoredState::Candidate)),
            state(StoredState::Candidate),
            state(StoredState::Accepted { node: "a".into() }),
            state(StoredState::Confirmed { confirmations: 200 }),
            state(StoredState::Mature),
            state(StoredState::Stale),
            state(StoredState::Rejected { reason: "bad-cb-amount".into() }),
            Record::Setting(SettingChange {
                unix: 1_790_000_000,
                by: "page".into(),
                key: "http.name".into(),
                old: "a".into(),
                new: "b".into(),
            }),
            Record::Audit(AuditEntry { unix: 1_790_000_000, text: "a sentence".into() }),
            Record::Forget { worker },
            Record::Attachment { name: "settings".into(), bytes: vec![1, 2, 3] },
            Record::Level { worker, difficulty: 512.5, wish: Some(8.0) },
            Record::Level { worker, difficulty: 512.5, wish: None },
            Record::Fixed { worker, difficulty: Some(512.5) },
            Record::Fixed { worker, difficulty: None },
            Record::Join { from: worker, into: WorkerNumber(301), number: 200 },
            Record::Run(Run {
                boot: "b".into(),
                up: 200,
                since: 1_790_000_000,
                until: 1_790_000_001,
                known: true,
            }),
            Record::Mark(Mark {
                kind: Dent::Outage,
                unix: 1_790_000_000,
                until: 1_790_000_001,
                about: String::new(),
            }),
            Record::Heat {
                span: Span::TenMinutes,
                of: vec![
                    (worker, vec![(2_983_333, slot), (2_983_334, slot), (2_983_400, slot)]),
                    (WorkerNumber(301), vec![(2_983_334, slot)]),
                ],
            },
            Record::Heat { span: Span::Day, of: Vec::new() },
            Record::Watts { span: Span::FourHours, slots: vec![(124_305, sum), (124_306, sum)] },
        ]
        .map(|record| {
            let mut frame = Vec::new();
            encode(&record, 5, &mut frame);
            assert_eq!(decode(&frame), Some((5, record, frame.len())));
            let (payload, crc) = frame.split_last_chunk().unwrap();
            (payload.len(), u32::from_le_bytes(*crc))
        });
        let known = [
            (28, 0x1c93bc75),
            (80, 0xd2605e64),
            (61, 0x9e359fdd),
            (111, 0x66c4dc8d),
            (53, 0x3950e7ce),
            (32, 0xc4541779),
            (20, 0xe2cf2671),
            (35, 0xac1a33f3),
            (104, 0x1d62ae29),
            (54, 0x784c4da0),
            (56, 0x9281034a),
            (56, 0xc74db04c),
            (54, 0xe1451c1a),
            (54, 0x7f2189b9),
            (68, 0x2a5380fb),
            (40, 0x560581e1),
            (32, 0x76f6c20c),
            (18, 0xf78bea08),
            (28, 0x57922cba),
            (35, 0xa385b33b),
            (27, 0xfb66b718),
            (26, 0x05679c8b),
            (26, 0x4f31ed8c),
            (22, 0x53a8fbc5),
            (31, 0x29bef051),
            (28, 0x675c988c),
            (53, 0x1f9aa115),
            (18, 0xbc35bb92),
            (31, 0xe607a858),
        ];
        assert_eq!(written, known);
    }
}
