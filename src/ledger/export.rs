//! Blocks, workers and history for other programs: CSV (RFC 4180) and JSON.
//!
//! Pure. Times are Unix seconds UTC; difficulties are plain numbers. A text cell that a spreadsheet
//! would run as a formula gets an apostrophe in front: miners choose their names themselves.

use std::fmt::Write;

use serde::Serialize;

use super::record::{
    AuditEntry, BestShare, FoundBlock, Grain, Point, RejectReason, SettingChange, StoredState,
    Totals,
};
use super::totals::Ledger;

/// The found blocks as CSV, the oldest first.
pub fn blocks_csv(ledger: &Ledger) -> String {
    let mut csv = String::from(
        "height,hash,found_unix,worker,share_difficulty,network_difficulty,reward_satoshi,state,\
         detail,state_unix,payee\r\n",
    );
    for block in ledger.blocks() {
        let (state, detail) = state_words(&block.state);
        let name = cell(&block.name);
        let (difficulty, network) = (block.difficulty, block.network_difficulty);
        let _ = write!(
            csv,
            "{},{},{},{name},{difficulty},{network},{},{state},{},{},{}\r\n",
            block.height,
            block.hash,
            block.unix,
            block.reward,
            cell(&detail),
            block.state_unix,
            cell(&block.payee)
        );
    }
    csv
}

/// All points of a grain as CSV: the total first (its name is empty), then each worker.
pub fn history_csv(ledger: &Ledger, grain: Grain) -> String {
    let mut csv = String::from(
        "worker,device,start_unix,seconds,accepted,rejected,work,best_share,hashes_per_second,\
         connected_seconds\r\n",
    );
    for worker in ledger.everyone() {
        let (name, device) = (cell(&worker.name), cell(&worker.device));
        for point in worker.history(grain) {
            let seconds = grain.seconds();
            let rate = point.proven().hashrate();
            let _ = write!(
                csv,
                "{name},{device},{},{seconds},{},{},{},{},{rate:.0},{}\r\n",
                u64::from(point.period) * seconds,
                point.accepted,
                point.rejected,
                point.work,
                point.best,
                point.online
            );
        }
    }
    csv
}

/// The sums of the total (its name is empty) and of each worker as CSV.
pub fn workers_csv(ledger: &Ledger) -> String {
    let mut csv = String::from("worker,device,first_seen_unix,last_share_unix,accepted,");
    for reason in RejectReason::ALL {
        let _ = write!(csv, "rejected_{},", reason.name());
    }
    csv.push_str("work,best_share,best_share_unix,blocks\r\n");
    for worker in ledger.everyone() {
        let totals = worker.totals();
        let _ = write!(
            csv,
            "{},{},{},{},{},",
            cell(&worker.name),
            cell(&worker.device),
            totals.first_seen,
            totals.last_share,
            totals.ever.accepted
        );
        for count in totals.ever.rejects {
            let _ = write!(csv, "{count},");
        }
        let (best, unix) = totals.best.map_or((0.0, 0), |best| (best.difficulty, best.unix));
        let _ = write!(csv, "{},{best},{unix},{}\r\n", totals.ever.work, totals.blocks);
    }
    csv
}

/// Everything but the minutes, as one JSON object.
pub fn json(ledger: &Ledger) -> String {
    let workers = ledger.workers().map(|(_, worker)| worker);
    let export = Export {
        reject_reasons: RejectReason::ALL,
        total: ledger.total().totals(),
        hours: ledger.total().history(Grain::Hour),
        days: ledger.total().history(Grain::Day),
        workers: workers
            .map(|worker| ExportWorker {
                number: worker.number.0,
                name: &worker.name,
                device: &worker.device,
                totals: worker.totals(),
                hours: worker.history(Grain::Hour),
                days: worker.history(Grain::Day),
            })
            .collect(),
        best_shares: ledger.bests(),
        blocks: ledger.blocks().collect(),
        settings: ledger.settings().collect(),
        audit: ledger.audit().collect(),
    };
    serde_json::to_string(&export).expect("strings and finite numbers only")
}

#[derive(Serialize)]
struct Export<'a> {
    reject_reasons: [RejectReason; RejectReason::COUNT],
    total: Totals,
    hours: Vec<Point>,
    days: Vec<Point>,
    workers: Vec<ExportWorker<'a>>,
    best_shares: &'a [BestShare],
    blocks: Vec<&'a FoundBlock>,
    settings: Vec<&'a SettingChange>,
    audit: Vec<&'a AuditEntry>,
}

#[derive(Serialize)]
struct ExportWorker<'a> {
    number: u32,
    name: &'a str,
    device: &'a str,
    totals: Totals,
    hours: Vec<Point>,
    days: Vec<Point>,
}

fn state_words(state: &StoredState) -> (&'static str, String) {
    match state {
        StoredState::Candidate => ("candidate", String::new()),
        StoredState::Accepted { node } => ("accepted", node.clone()),
        StoredState::Confirmed { confirmations } => ("confirmed", confirmations.to_string()),
        StoredState::Mature => ("mature", String::new()),
        StoredState::Stale => ("stale", String::new()),
        StoredState::Rejected { reason } => ("rejected", reason.clone()),
    }
}

fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_not_run() {
        assert_eq!(cell("garage"), "garage");
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"hi\"\n"), "\"say \"\"hi\"\"\n\"");
        assert_eq!(cell("=cmd()"), "'=cmd()");
        assert_eq!(cell("-1"), "'-1");
    }
}
