//! Blocks made by the cores from a real node's template, as they come or spoiled on purpose.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bitcoin::ScriptBuf;
use soloist::block::assemble;
use soloist::chain::BlockHash;
use soloist::hash::sha256d;
use soloist::ids::NodeId;
use soloist::job::{Job, JobId, Work};
use soloist::rpc::Rpc;
use soloist::share::{RolledVersion, Share, Submission};
use soloist::template::{Template, TxCache};

/// Everybody may spend this output, with a witness and without a key: `OP_TRUE` as P2WSH.
pub fn anyone_can_spend() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&ScriptBuf::from_bytes(vec![0x51]).wscript_hash())
}

pub fn template(rpc: &Rpc) -> Template {
    rpc.get_block_template(&Mutex::new(TxCache::default())).unwrap()
}

pub fn job(template: Template) -> Job {
    let ntime = template.curtime.max(template.mintime);
    let script = anyone_can_spend();
    let work =
        Work::new(template.into(), NodeId(0), Instant::now(), false, script.as_bytes(), "/test/");
    Job { id: JobId(1), ntime, work: Rc::new(work) }
}

pub struct Solved {
    pub hash: BlockHash,
    pub bytes: Vec<u8>,
    pub hex: Arc<str>,
    /// The coinbase's id, internal byte order.
    pub coinbase: [u8; 32],
}

/// Tries nonces until the job is solved: two of them, on average.
pub fn solve(job: &Job, extranonce: u8, version_bits: Option<u32>) -> Solved {
    let extranonce = [extranonce; 12];
    let share = (0..)
        .map(|nonce| {
            let version = RolledVersion::Bits(version_bits.unwrap_or(0));
            let submission =
                Submission { job: job.id, extranonce, ntime: job.ntime, nonce, version };
            Share::prove(job, &submission)
        })
        .find(|share| share.solves)
        .unwrap();
    let work = &job.work;
    let bytes = assemble(&share.header, &work.coinbase.in_block(&extranonce), &work.template.txs);
    Solved {
        hash: share.hash,
        hex: faster_hex::hex_string(&bytes).into(),
        bytes,
        coinbase: sha256d(&work.coinbase.without_witness(&extranonce)),
    }
}
