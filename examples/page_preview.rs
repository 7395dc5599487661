//! Serves the page with sample data, so that it can be looked at without a daemon:
//! `cargo run --example page_preview [-- 127.0.0.1:8080]`, then `http://127.0.0.1:8080/?forty`.
//! The scenario is chosen when it starts: `-- 127.0.0.1:8080 forty`.
//!
//! `-- write DIR` writes each scenario's page, style sheet and script into files instead.

#[path = "../tests/page/sample.rs"]
#[allow(unreachable_pub)]
mod sample;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use smol::{Async, LocalExecutor};
use soloist::server::http::admin::Local;
use soloist::server::http::{Http, NoBlock, Options, View};
use soloist::status::html::{self, Miners};
use soloist::status::{HistoryView, Snapshot, verdict};

struct Sample(Snapshot);

impl View for Sample {
    fn snapshot(&self) -> Rc<Snapshot> {
        Rc::new(at_present(self.0.clone()))
    }

    fn history(&self, _: &str) -> Option<HistoryView> {
        let history = sample::miner_history(&self.0);
        Some(at_present(Snapshot { history, ..self.0.clone() }).history)
    }

    fn block(&self, hash: &str) -> Local<Result<Vec<u8>, NoBlock>> {
        let known = self.0.blocks.iter().any(|block| block.hash == hash);
        let block = known.then(|| vec![0; 80]).ok_or(NoBlock::Unknown);
        Box::pin(async { block })
    }
}

/// The clock runs, so that ages can be seen to count.
fn at_present(mut snapshot: Snapshot) -> Snapshot {
    let now = std::time::SystemTime::now();
    let unix = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    shift(&mut snapshot, unix);
    snapshot
}

/// Moves the times that count on the page to the present.
fn shift(snapshot: &mut Snapshot, now: u64) {
    let by = now.saturating_sub(sample::NOW);
    snapshot.now = now;
    snapshot.started_at += by;
    for miner in &mut snapshot.miners {
        miner.since += by;
        miner.last_share_at = miner.last_share_at.map(|at| at + by - by % 7);
    }
    if let Some(job) = &mut snapshot.job {
        job.sent_at = now - now % 30;
    }
    for list in [&mut snapshot.history.day, &mut snapshot.history.month, &mut snapshot.history.all]
    {
        list.iter_mut().for_each(|point| (point.from, point.at) = (point.from + by, point.at + by));
    }
    let heat = &mut snapshot.history.heat;
    for list in [&mut heat.day, &mut heat.month, &mut heat.all] {
        list.iter_mut().for_each(|point| (point.from, point.at) = (point.from + by, point.at + by));
    }
    for mark in &mut snapshot.history.marks {
        mark.at += by;
        mark.until = mark.until.map(|until| until + by);
    }
    snapshot.events.iter_mut().for_each(|event| event.at += by);
    snapshot.best_shares.iter_mut().for_each(|share| share.at += by);
    snapshot.blocks.iter_mut().for_each(|block| block.at += by);
    snapshot.nodes.iter_mut().filter_map(|n| n.rehearsal.as_mut()).for_each(|r| r.at += by);
    if let Some(canary) = &mut snapshot.canary {
        canary.last_ok_at = Some(now - now % 60);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, directory] = arguments.as_slice()
        && command == "write"
    {
        return write(directory);
    }
    let address: SocketAddr = arguments.first().map_or("127.0.0.1:8080", String::as_str).parse()?;
    let name = arguments.get(1).map_or("home", String::as_str);
    let (_, snapshot) = sample::all()
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or("there is no such scenario")?;
    let executor = Rc::new(LocalExecutor::new());
    let http = Http::new(Rc::new(Sample(snapshot)), Options::default());
    let listener = Async::<TcpListener>::bind(address)?;
    println!("http://{address}/ shows {name}");
    smol::block_on(executor.run(http.serve(executor.clone(), listener, None)));
    Ok(())
}

fn write(directory: &str) -> Result<(), Box<dyn Error>> {
    for (name, snapshot) in sample::all() {
        let page = html::page(&snapshot, &verdict(&snapshot), Miners::Few);
        std::fs::write(format!("{directory}/{name}.html"), page)?;
    }
    std::fs::write(format!("{directory}/style.css"), html::STYLE)?;
    std::fs::write(format!("{directory}/app.js"), html::script())?;
    Ok(())
}
