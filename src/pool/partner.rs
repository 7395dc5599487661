//! What the other box of a pair has given its miners, for when they come here: a share that one of them
//! found for a job of that box counts here, and a block that it found is one.
//!
//! Such a share is judged by its own job and by what its miner was given there, which is kept apart from
//! what this box gives: the ids of two boxes have no order among them.

use std::fmt;
use std::rc::Rc;

use super::{MAX_PARKED, Pool};
use crate::clock::Now;
use crate::coinbase;
use crate::ids::NodeId;
use crate::job::{Job, SameIds, Work};
use crate::job_journal::{JobRecord, RestoredJobs};
use crate::stratum::given::{Elsewhere, Parked};

/// The node id for work of the other box: it has its own nodes.
const ELSEWHERE: NodeId = NodeId(u32::MAX);

/// Counted shares of the other box that are remembered, the newest. A home's miners send as many in hours,
/// which no tip lasts.
const SHARES_KEPT: usize = 1 << 15;

/// Nodes of a merkle branch. A block has less than 2^17 transactions.
const BRANCH_MAX: usize = 20;

/// Why nothing is taken from the other box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untaken {
    /// Both boxes may give their jobs the same ids: they have been a pair since this run alone.
    SameIds,
    /// It has a coinbase or a merkle branch that no box makes.
    Impossible,
}

impl Pool {
    /// Takes what the other box of the pair has given its miners, in the place of what was taken before:
    /// how many jobs.
    ///
    /// # Errors
    /// Nothing is taken: why.
    pub fn take_partners(&mut self, now: Now, copied: RestoredJobs) -> Result<usize, Untaken> {
        let tip = copied.tip();
        let (mut jobs, mut shares) = (Vec::new(), Vec::new());
        let mut work = None;
        let mut given = std::collections::BTreeMap::new();
        for record in copied.records {
            match record {
                JobRecord::Tip => {}
                JobRecord::Work { template, coinbase, received, .. } => {
                    let size = coinbase.coinbase1.len() + coinbase.coinbase2.len();
                    if size > coinbase::MAX_SIZE || template.branch.len() > BRANCH_MAX {
                        return Err(Untaken::Impossible);
                    }
                    work = (Some(template.prev) == tip).then(|| {
                        let work =
                            Work::with_coinbase(template, coinbase, ELSEWHERE, received, false);
                        Rc::new(work.of_partner())
                    });
                }
                JobRecord::Job { id, ntime } => {
                    jobs.extend(work.clone().map(|work| Job { id, ntime, work }));
                }
                JobRecord::Level { extranonce1, from, difficulty } => {
                    let parked = given.entry(extranonce1);
                    parked
                        .or_insert_with(|| Parked::restored_session(now))
                        .restore_level(from, difficulty);
                }
                JobRecord::Payee { extranonce1, from, script } => {
                    let parked = given.entry(extranonce1);
                    parked
                        .or_insert_with(|| Parked::restored_session(now))
                        .restore_payee(from, script);
                }
                JobRecord::Share(key) => shares.push(key),
            }
        }
        let count = jobs.len();
        self.jobs.set_partners(now, jobs).map_err(|SameIds| Untaken::SameIds)?;
        while given.len() > MAX_PARKED {
            given.pop_first();
        }
        let late = shares.len().saturating_sub(SHARES_KEPT);
        let counted = shares.into_iter().skip(late).collect();
        self.partners = Elsewhere { given, counted };
        Ok(count)
    }
}

impl fmt::Display for Untaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Untaken::SameIds => {
                "both boxes may use the same numbers for jobs until each has been restarted once"
            }
            Untaken::Impossible => "it has a coinbase or a merkle branch that no box makes",
        })
    }
}
