//! The jobs that miners hold, as bytes, so that they survive a restart of the daemon.
//!
//! A miner that reconnects after a restart sends the shares that it found meanwhile, and one of
//! them may be a block. To check them the new run needs the jobs of the old one, with everything
//! that their blocks consist of, and each miner's difficulty. The pool notes these as
//! [`JobRecord`]s, an [`Encoder`] makes bytes from them that are only appended, and
//! [`RestoredJobs::read`] reads them.
//!
//! The bytes are kept in memory as long as the system runs (`/run`), never on the card, because a
//! block's transactions are two megabytes. Each transaction is written once for all works of a tip.
//!
//! ```text
//! file:    "soloist jobs 1\n" | boot id, 36 bytes | records
//! record:  length u32 | CRC-32 of the rest u32 | kind u8 | fields, little-endian
//! ```
//!
//! A truncated or damaged record ends the reading; the records before it are valid.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chain::{BlockHash, Txid};
use crate::coinbase::Coinbase;
use crate::difficulty::{Difficulty, NBits, Target};
use crate::framed::{self, Fields};
use crate::ids::Extranonce1;
use crate::job::JobId;
use crate::template::{Template, Tx};

/// One record, in the order of the events.
#[derive(Clone, Debug)]
pub enum JobRecord {
    /// Work on a new tip follows; all earlier records are stale.
    Tip,
    /// New work: the jobs that follow are made from it.
    Work {
        /// The template.
        template: Arc<Template>,
        /// The owner's coinbase for it.
        coinbase: Coinbase,
        /// [`crate::job::Work::version`]: replaces the template's version when the job is restored.
        version: u32,
        /// When the template came.
        received: Instant,
    },
    /// A job was made from the last work.
    Job {
        /// Its id.
        id: JobId,
        /// Its time, Unix seconds.
        ntime: u32,
    },
    /// A miner's difficulty, from a job on.
    Level {
        /// The miner.
        extranonce1: Extranonce1,
        /// The first job.
        from: JobId,
        /// The difficulty.
        difficulty: Difficulty,
    },
    /// The payee of a miner's blocks, from a job on.
    Payee {
        /// The miner.
        extranonce1: Extranonce1,
        /// The first job.
        from: JobId,
        /// The output script; `None` for the owner's.
        script: Script,
    },
    /// A share was counted: [`crate::share::Seen::key`].
    Share(u64),
}

/// One instant on two clocks: as [`Instant`], and as the time since the system started, which later
/// processes understand too.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For this process.
    pub mono: Instant,
    /// For all processes: CLOCK_MONOTONIC.
    pub uptime: Duration,
}

/// Job records → bytes.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The index of each transaction in the file's list.
    txs: HashMap<Txid, u32>,
}

/// An output script that is paid instead of the owner's, if any.
pub type Script = Option<Arc<[u8]>>;

/// The restored records.
#[derive(Debug, Default)]
pub struct RestoredJobs {
    /// In their order: jobs by rising id, each after its work. The version of a work is that of its
    /// template.
    pub records: Vec<JobRecord>,
    /// The last job.
    pub last_job: Option<JobId>,
    /// Every transaction of the file, in the file's order.
    txs: Vec<Arc<Tx>>,
}

const MAGIC: &[u8] = b"soloist jobs 1\n";

/// The longest record: a work names each of its transactions, and no transaction is longer than a
/// block.
const MAX_RECORD: usize = 4_000_000;

/// Records of a copy of another box's file that are read. A home's miners send as many shares in hours,
/// which no tip lasts; and what a record takes in memory is several times what it takes in the file.
const COPIED_MAX: usize = 200_000;

const TX: u8 = 1;
const WORK: u8 = 2;
const JOB: u8 = 3;
const LEVEL: u8 = 4;
const PAYEE: u8 = 5;
const SHARE: u8 = 6;

/// The beginning of a file. `boot_id` identifies this boot: times of another boot mean nothing.
pub fn header(boot_id: &str) -> Vec<u8> {
    [MAGIC, format!("{boot_id:36.36}").as_bytes()].concat()
}

impl Encoder {
    /// An encoder that continues a file that was read.
    pub fn following(recall: &RestoredJobs) -> Encoder {
        Encoder { txs: recall.txs.iter().zip(0..).map(|(tx, place)| (tx.txid, place)).collect() }
    }

    /// Appends a record's bytes. [`JobRecord::Tip`] has none: with it a new file begins, with a new
    /// encoder.
    pub fn encode(&mut self, now: Moment, record: &JobRecord, out: &mut Vec<u8>) {
        match record {
            JobRecord::Tip => {}
            JobRecord::Work { template, coinbase, version, received } => {
                for tx in &template.txs {
                    let next = self.txs.len() as u32;
                    if let std::collections::hash_map::Entry::Vacant(entry) =
                        self.txs.entry(tx.txid)
                    {
                        entry.insert(next);
                        framed::write(out, TX, |b| {
                            b.extend_from_slice(&tx.txid.0);
                            b.extend_from_slice(&tx.wtxid.0);
                            b.extend_from_slice(&tx.fee.to_le_bytes());
                            b.extend_from_slice(&tx.bytes);
                        });
                    }
                }
                let age = now.mono.saturating_duration_since(*received);
                let since = now.uptime.saturating_sub(age);
                framed::write(out, WORK, |b| self.work(b, template, coinbase, *version, since));
            }
            JobRecord::Job { id, ntime } => framed::write(out, JOB, |b| {
                b.extend_from_slice(&id.0.to_le_bytes());
                b.extend_from_slice(&ntime.to_le_bytes());
            }),
            JobRecord::Level { extranonce1, from, difficulty } => framed::write(out, LEVEL, |b| {
                b.extend_from_slice(&extranonce1.0);
                b.extend_from_slice(&from.0.to_le_bytes());
                b.extend_from_slice(&difficulty.0.to_le_bytes());
            }),
            JobRecord::Payee { extranonce1, from, script } => framed::write(out, PAYEE, |b| {
                b.extend_from_slice(&extranonce1.0);
                b.extend_from_slice(&from.0.to_le_bytes());
                b.extend_from_slice(script.as_deref().unwrap_or_default());
            }),
            JobRecord::Share(key) => {
                framed::write(out, SHARE, |b| b.extend_from_slice(&key.to_le_bytes()))
            }
        }
    }

    fn work(
        &self,
        b: &mut Vec<u8>,
        template: &Template,
        coinbase: &Coinbase,
        version: u32,
        since: Duration,
    ) {
        for number in [template.height, version, template.nbits.0] {
            b.extend_from_slice(&number.to_le_bytes());
        }
        for number in [template.curtime, template.mintime] {
            b.extend_from_slice(&number.to_le_bytes());
        }
        b.extend_from_slice(&template.prev.0);
        b.extend_from_slice(&template.value.to_le_bytes());
        b.extend_from_slice(&(since.as_millis() as u64).to_le_bytes());
        b.push(u8::from(coinbase.has_witness));
        let commitment = template.witness_commitment.as_deref().unwrap_or_default();
        for bytes in [&coinbase.coinbase1, &coinbase.coinbase2, commitment] {
            b.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            b.extend_from_slice(bytes);
        }
        b.extend_from_slice(&(template.branch.len() as u32).to_le_bytes());
        template.branch.iter().for_each(|node| b.extend_from_slice(node));
        b.extend_from_slice(&(template.txs.len() as u32).to_le_bytes());
        for tx in &template.txs {
            let place = self.txs.get(&tx.txid).copied().unwrap_or(u32::MAX);
            b.extend_from_slice(&place.to_le_bytes());
        }
    }
}

impl RestoredJobs {
    /// Reads a file: the records of this boot, and the number of valid bytes.
    pub fn read(now: Moment, boot_id: &str, bytes: &[u8]) -> (RestoredJobs, usize) {
        match bytes.strip_prefix(header(boot_id).as_slice()) {
            Some(records) => {
                let (recall, good) = RestoredJobs::read_records(now, records, usize::MAX);
                (recall, bytes.len() - records.len() + good)
            }
            None => (RestoredJobs::default(), 0),
        }
    }

    /// Reads a copy of the file of another box. `now` is this box's time with the other one's uptime.
    pub fn read_copy(now: Moment, bytes: &[u8]) -> RestoredJobs {
        let after = |length: usize| bytes.get(length..).unwrap_or_default();
        match bytes.starts_with(MAGIC) {
            // Which boot of it that was does not matter: it is running, or was a moment ago.
            true => RestoredJobs::read_records(now, after(header("").len()), COPIED_MAX).0,
            false => RestoredJobs::default(),
        }
    }

    /// Reads records up to the first that is none, or so many: what they say, and the number of their bytes.
    fn read_records(now: Moment, records: &[u8], at_most: usize) -> (RestoredJobs, usize) {
        let (mut recall, mut rest) = (RestoredJobs::default(), records);
        for _ in 0..at_most {
            let mut next = rest;
            let good =
                framed::take(&mut next, MAX_RECORD).and_then(|payload| recall.take(now, payload));
            if good.is_none() {
                break;
            }
            rest = next;
        }
        (recall, records.len() - rest.len())
    }

    /// The tip that the jobs build on.
    pub fn tip(&self) -> Option<BlockHash> {
        self.records.iter().rev().find_map(|record| match record {
            JobRecord::Work { template, .. } => Some(template.prev),
            _ => None,
        })
    }

    fn take(&mut self, now: Moment, payload: &[u8]) -> Option<()> {
        let (kind, fields) = payload.split_first()?;
        let mut fields = Fields(fields);
        match *kind {
            TX => {
                let txid = Txid(fields.array()?);
                let wtxid = Txid(fields.array()?);
                let fee = u64::from_le_bytes(fields.array()?);
                self.txs.push(Arc::new(Tx { txid, wtxid, bytes: fields.0.into(), fee }));
            }
            WORK => {
                let work = self.work(now, &mut fields)?;
                self.records.push(work);
            }
            JOB => {
                let (id, ntime) = (JobId(fields.number()?), fields.number()?);
                let follows = self.last_job.is_none_or(|last| last.is_before(id));
                // A job is made from a work.
                self.tip().filter(|_| follows)?;
                self.last_job = Some(id);
                self.records.push(JobRecord::Job { id, ntime });
            }
            LEVEL => {
                let (extranonce1, from) = (Extranonce1(fields.array()?), JobId(fields.number()?));
                let difficulty = Difficulty(f64::from_le_bytes(fields.array()?));
                let good = difficulty.0.is_finite() && difficulty.0 > 0.0;
                let level = JobRecord::Level { extranonce1, from, difficulty };
                self.records.push(good.then_some(level)?);
            }
            PAYEE => {
                let (extranonce1, from) = (Extranonce1(fields.array()?), JobId(fields.number()?));
                let script = (!fields.0.is_empty()).then(|| fields.0.into());
                self.records.push(JobRecord::Payee { extranonce1, from, script });
            }
            SHARE => self.records.push(JobRecord::Share(u64::from_le_bytes(fields.array()?))),
            _ => return None,
        }
        Some(())
    }

    fn work(&self, now: Moment, fields: &mut Fields<'_>) -> Option<JobRecord> {
        let (height, version, nbits) = (fields.number()?, fields.number()?, fields.number()?);
        let (curtime, mintime) = (fields.number()?, fields.number()?);
        let prev = BlockHash(fields.array()?);
        let value = u64::from_le_bytes(fields.array()?);
        let since = Duration::from_millis(u64::from_le_bytes(fields.array()?));
        let [has_witness] = fields.array()?;
        let coinbase1 = fields.bytes()?.to_vec();
        let coinbase2 = fields.bytes()?.to_vec();
        let commitment = fields.bytes()?;
        let mut branch = Vec::new();
        for _ in 0..fields.number()? {
            branch.push(fields.array()?);
        }
        let mut txs = Vec::new();
        for _ in 0..fields.number()? {
            txs.push(self.txs.get(fields.number()? as usize)?.clone());
        }
        let template = Template {
            height,
            version,
            prev,
            nbits: NBits(nbits),
            target: Target::from_nbits(NBits(nbits)).ok()?,
            curtime,
            mintime,
            value,
            txs,
            branch,
            witness_commitment: (!commitment.is_empty()).then(|| commitment.to_vec()),
            version_bits: Default::default(),
        };
        let coinbase = Coinbase { coinbase1, coinbase2, has_witness: has_witness != 0 };
        let received = now.mono.checked_sub(now.uptime.saturating_sub(since)).unwrap_or(now.mono);
        Some(JobRecord::Work { template: Arc::new(template), coinbase, version, received })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::template;

    const BOOT: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn tx(n: u8) -> Arc<Tx> {
        let bytes = vec![n; 100].into_boxed_slice();
        Arc::new(Tx { txid: Txid([n; 32]), wtxid: Txid([n ^ 1; 32]), bytes, fee: n.into() })
    }

    fn work(txs: &[u8], received: Instant) -> JobRecord {
        let txs: Vec<_> = txs.iter().map(|n| tx(*n)).collect();
        let mut tree = crate::merkle::Tree::default();
        tree.update(std::iter::once([0; 32]).chain(txs.iter().map(|tx| tx.txid.0)).collect());
        let branch = tree.branch();
        let template = Arc::new(Template { txs, branch, ..template(7) });
        let coinbase =
            Coinbase { coinbase1: vec![1; 60], coinbase2: vec![2; 90], has_witness: true };
        let version = 0x2000_0200;
        JobRecord::Work { template, coinbase, version, received }
    }

    /// A file, the job records in it, and where each of them ends.
    fn file(now: Moment) -> (Vec<u8>, Vec<JobRecord>, Vec<usize>) {
        let a_minute_ago = now.mono - Duration::from_secs(60);
        let en = Extranonce1([1, 2, 3, 4]);
        let job_records = vec![
            work(&[5, 6], a_minute_ago),
            JobRecord::Job { id: JobId(0x100), ntime: 1_700_000_000 },
            JobRecord::Level {
                extranonce1: en,
                from: JobId(0x100),
                difficulty: Difficulty(0.0015),
            },
            JobRecord::Payee {
                extranonce1: en,
                from: JobId(0x100),
                script: Some([0x51; 22].into()),
            },
            JobRecord::Share(77),
            work(&[6, 5, 7], now.mono),
            JobRecord::Job { id: JobId(0x101), ntime: 1_700_000_030 },
            JobRecord::Payee { extranonce1: en, from: JobId(0x101), script: None },
        ];
        let (mut bytes, mut encoder) = (header(BOOT), Encoder::default());
        let mut ends = Vec::new();
        for record in &job_records {
            encoder.encode(now, record, &mut bytes);
            ends.push(bytes.len());
        }
        (bytes, job_records, ends)
    }

    fn now() -> Moment {
        let mono = Instant::now() + Duration::from_secs(3600);
        Moment { mono, uptime: Duration::from_secs(5000) }
    }

    #[test]
    fn what_was_noted_is_recalled() {
        let start = now();
        let (bytes, job_records, _) = file(start);
        let later = Moment {
            mono: start.mono + Duration::from_secs(9),
            uptime: start.uptime + Duration::from_secs(2),
        };
        let (recall, good) = RestoredJobs::read(later, BOOT, &bytes);
        assert_eq!(good, bytes.len());
        assert_eq!(recall.txs.len(), 3, "each transaction is written once");
        assert_eq!(recall.records.len(), job_records.len());
        let mut ages = Vec::new();
        for (noted, recalled) in job_records.into_iter().zip(recall.records.clone()) {
            match (noted, recalled) {
                (
                    JobRecord::Work { template, coinbase, .. },
                    JobRecord::Work { template: recalled, coinbase: same, received, .. },
                ) => {
                    // The block that the miners hash has the owner's bits, not the template's.
                    let version = 0x2000_0200;
                    assert_eq!(Template { version, ..(*template).clone() }, *recalled);
                    assert_eq!(coinbase, same);
                    ages.push(later.mono - received);
                }
                // Everything else is as it was.
                (noted, recalled) => assert_eq!(format!("{noted:?}"), format!("{recalled:?}")),
            }
        }
        let age = ages[0];
        assert!(age.abs_diff(Duration::from_secs(62)) < Duration::from_millis(5), "{age:?}");
        assert_eq!(recall.last_job, Some(JobId(0x101)));
        assert_eq!(recall.tip(), Some(BlockHash([7; 32])));
    }

    #[test]
    fn a_file_goes_on_where_the_run_before_left_it() {
        let (mut bytes, _, _) = file(now());
        let (recall, _) = RestoredJobs::read(now(), BOOT, &bytes);
        let before = bytes.len();
        let mut encoder = Encoder::following(&recall);
        encoder.encode(now(), &work(&[7, 8], now().mono), &mut bytes);
        assert!(bytes.len() - before < 700, "only one transaction is new");
        let (recall, _) = RestoredJobs::read(now(), BOOT, &bytes);
        let Some(JobRecord::Work { template, .. }) = recall.records.last() else { panic!() };
        let txids: Vec<_> = template.txs.iter().map(|tx| tx.txid.0[0]).collect();
        assert_eq!(txids, [7, 8]);
    }

    #[test]
    fn damage_costs_what_comes_after_it_and_nothing_else() {
        let (bytes, _, ends) = file(now());
        for cut in 0..bytes.len() {
            let (_, good) = RestoredJobs::read(now(), BOOT, &bytes[..cut]);
            assert!(good <= cut);
            let mut bad = bytes.clone();
            bad[cut] ^= 0x40;
            let (recall, good) = RestoredJobs::read(now(), BOOT, &bad);
            assert!(good <= cut || cut < 51, "{good} of {cut}");
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(recall.records.len(), whole, "byte {cut}");
        }
        let other = "ffffffff-89ab-cdef-0123-456789abcdef";
        assert_eq!(RestoredJobs::read(now(), other, &bytes).1, 0, "another boot");
        // A count of billions must not be believed.
        let mut lies = header(BOOT);
        framed::write(&mut lies, WORK, |b| b.extend_from_slice(&[0xff; 400]));
        assert!(RestoredJobs::read(now(), BOOT, &lies).0.records.is_empty());
    }
}
