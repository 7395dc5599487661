//! One node at work: its threads, its calls under way, and what it reports to the daemon's queue.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Sender;
use smol::{LocalExecutor, Task};

use super::rpc::{NodeConfig, Rpc};
use super::{Method, NodeEvent, NodeEventKind, NodeId, RpcError, TipSource, zmq_fd};
use crate::chain::BlockHash;
use crate::priority::{self, Urgency};
use crate::template::TxCache;

/// A node that is being watched and can be asked. Every question returns at once; the answers
/// come as [`NodeEvent`]s.
///
/// Two threads belong to each node: one holds the long poll, one is kept free for solved blocks.
/// ZMQ is a task on the executor. Everything else runs on the pool of `blocking`, where a node
/// that hangs ties up nine threads at the most: each kind of question has its number of places,
/// and a question for which there is no place is not asked, and its method returns false.
pub struct NodeHandle {
    rpc: Arc<Rpc>,
    cache: Arc<Mutex<TxCache>>,
    reporter: Reporter,
    busy: Busy,
    longpoll: mpsc::Sender<Option<String>>,
    submit: priority::Sender<(BlockHash, Arc<str>)>,
    /// Dropping a task ends it.
    _zmq: Option<Task<()>>,
}

/// The calls under way on the pool, by kind.
#[derive(Default)]
struct Busy {
    fetch: Fetch,
    poll: Places<1>,
    health: Places<1>,
    proposal: Places<1>,
    header: Places<2>,
    chain_tips: Places<1>,
    blocks_at: Places<1>,
    precious: Places<1>,
}

impl NodeHandle {
    /// Starts both threads and, where it is configured, the ZMQ subscription on `executor`.
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(
        id: NodeId,
        config: &NodeConfig,
        events: Sender<NodeEvent>,
        executor: &LocalExecutor<'_>,
    ) -> io::Result<NodeHandle> {
        let rpc = Arc::new(Rpc::new(config));
        let cache = Arc::new(Mutex::new(TxCache::default()));
        let reporter = Reporter { node: id, events };

        let (longpoll, orders) = mpsc::channel();
        let (client, shared, report) = (rpc.clone(), cache.clone(), reporter.clone());
        thread::Builder::new()
            .name(format!("longpoll-{}", id.0))
            .spawn(move || longpolls(&client, &shared, &report, &orders))?;

        let (submit, blocks) = priority::channel();
        let (client, report) = (rpc.clone(), reporter.clone());
        thread::Builder::new()
            .name(format!("submit-{}", id.0))
            .spawn(move || submissions(&client, &report, blocks))?;

        let zmq = config.zmq_hashblock.clone().map(|endpoint| {
            let report = reporter.clone();
            executor.spawn(async move {
                let tip = async |announced: zmq_fd::Announced| {
                    let zmq_fd::Announced { hash, after } = announced;
                    let (source, took) = (TipSource::Zmq, Duration::ZERO);
                    report.send(NodeEventKind::Tip { hash, after, source, took }).await;
                };
                zmq_fd::watch(&endpoint, tip).await;
            })
        });
        Ok(NodeHandle { rpc, cache, reporter, busy: Busy::default(), longpoll, submit, _zmq: zmq })
    }

    /// Asks for a template: `Template` or `Failed`. When one is under way already, another is
    /// fetched right after it, because the first may not know yet what this question is about.
    pub fn fetch_template(&self) {
        let fetch = self.busy.fetch.clone();
        if !fetch.begin() {
            return;
        }
        let (rpc, cache, report) = (self.rpc.clone(), self.cache.clone(), self.reporter.clone());
        blocking::unblock(move || {
            let mut again = true;
            while again {
                let started = Instant::now();
                let result = rpc.timed_block_template(None, &cache);
                let took = started.elapsed();
                // Before the event is sent: whoever asks again because of it must not be missed.
                again = fetch.end(result.is_ok());
                let method = Method::GetBlockTemplate;
                report.send_blocking(match result {
                    Ok((template, parsing)) => {
                        let template = Arc::new(template);
                        NodeEventKind::Template { template, method, took, parsing }
                    }
                    Err(error) => NodeEventKind::Failed { method, error, took },
                });
            }
        })
        .detach();
    }

    /// Asks for the hash of the tip: `Tip` or `Failed`.
    pub fn poll_tip(&self) -> bool {
        self.ask(&self.busy.poll, Rpc::get_best_block_hash, |result, took| {
            Some(match result {
                Ok(hash) => NodeEventKind::Tip { hash, after: None, source: TipSource::Poll, took },
                Err(error) => failed(Method::GetBestBlockHash, error, took),
            })
        })
    }

    /// Asks how the node is: `Health` or `Failed`.
    pub fn health(&self) -> bool {
        self.ask(&self.busy.health, Rpc::health, |result, took| {
            Some(match result {
                Ok(report) => NodeEventKind::Health { report, took },
                Err(error) => failed(Method::Health, error, took),
            })
        })
    }

    /// Asks whether the node would accept a block (BIP 23): `Proposed`.
    pub fn propose(&self, block: BlockHash, block_hex: Arc<str>) -> bool {
        self.ask(
            &self.busy.proposal,
            move |rpc| rpc.propose(&block_hex),
            move |verdict, _| Some(NodeEventKind::Proposed { block, verdict }),
        )
    }

    /// Asks where a block stands: `Confirmations` or `Failed`.
    pub fn confirmations(&self, block: BlockHash) -> bool {
        self.ask(
            &self.busy.header,
            move |rpc| rpc.confirmations(block),
            move |result, took| {
                Some(match result {
                    Ok(confirmations) => NodeEventKind::Confirmations { block, confirmations },
                    Err(error) => failed(Method::GetBlockHeader, error, took),
                })
            },
        )
    }

    /// Asks which branches the node has refused: `ChainTips` or `Failed`.
    pub fn chain_tips(&self) -> bool {
        self.ask(&self.busy.chain_tips, Rpc::refused_branches, |result, took| {
            Some(match result {
                Ok(refused) => NodeEventKind::ChainTips { refused, took },
                Err(error) => failed(Method::GetChainTips, error, took),
            })
        })
    }

    /// Asks for the blocks of the node's best chain at these heights: `BlocksAt` or `Failed`.
    pub fn blocks_at(&self, heights: Vec<u64>) -> bool {
        self.ask(
            &self.busy.blocks_at,
            move |rpc| rpc.blocks_at(&heights),
            |result, took| {
                Some(match result {
                    Ok(blocks) => NodeEventKind::BlocksAt { blocks, took },
                    Err(error) => failed(Method::GetBlockHash, error, took),
                })
            },
        )
    }

    /// Tells the node to prefer a block over others of equal work: `Failed`, or no event.
    pub fn precious(&self, block: BlockHash) -> bool {
        self.ask(
            &self.busy.precious,
            move |rpc| rpc.precious_block(block),
            move |result, took| {
                result.err().map(|error| failed(Method::PreciousBlock, error, took))
            },
        )
    }

    /// Turns the long poll on, with the `longpollid` of a template of this node, or off.
    ///
    /// While it is on, each answer is a `Template`, and the next question is asked with that
    /// template's id; a node that says nothing until the deadline is asked again in silence. A
    /// failure is reported and turns it off. A question under way is never given up: an order
    /// that comes meanwhile counts from the answer on, and that answer is reported even when the
    /// long poll has been turned off, for it may be the first to know a new tip.
    pub fn longpoll(&self, longpollid: Option<String>) {
        self.longpoll.send(longpollid).ok();
    }

    /// Submits a block on the thread for blocks: `Submitted`. What is urgent overtakes what another
    /// node has already. Trying again is up to the caller. Blocks handed over before
    /// [`NodeHandle::stop`] are still submitted after it.
    pub fn submit(&self, block: BlockHash, block_hex: Arc<str>, urgency: Urgency) {
        self.submit.send(urgency, (block, block_hex));
    }

    /// Ends the watch without waiting for anything. Calls under way end by themselves, and their
    /// events may still come.
    pub fn stop(self) {}

    /// One call on the pool, if there is a place for it.
    fn ask<T, const N: usize>(
        &self,
        places: &Places<N>,
        call: impl FnOnce(&Rpc) -> Result<T, RpcError> + Send + 'static,
        event: impl FnOnce(Result<T, RpcError>, Duration) -> Option<NodeEventKind> + Send + 'static,
    ) -> bool {
        let Some(place) = places.take() else { return false };
        let (rpc, report) = (self.rpc.clone(), self.reporter.clone());
        blocking::unblock(move || {
            let started = Instant::now();
            let result = call(&rpc);
            let took = started.elapsed();
            // Before the event is sent, so that its reader finds the place free.
            drop(place);
            if let Some(event) = event(result, took) {
                report.send_blocking(event);
            }
        })
        .detach();
        true
    }
}

fn failed(method: Method, error: RpcError, took: Duration) -> NodeEventKind {
    NodeEventKind::Failed { method, error, took }
}

/// No more than five long polls a second, whatever the node answers.
const LONGPOLL_SPACING: Duration = Duration::from_millis(200);

/// The long poll's thread. Ends when the handle is dropped, after the answer under way.
fn longpolls(
    rpc: &Rpc,
    cache: &Mutex<TxCache>,
    report: &Reporter,
    orders: &mpsc::Receiver<Option<String>>,
) {
    let mut wanted: Option<String> = None;
    loop {
        let Some(id) = wanted.take() else {
            match orders.recv() {
                Ok(order) => wanted = order,
                Err(mpsc::RecvError) => return,
            }
            continue;
        };
        let started = Instant::now();
        let result = rpc.timed_block_template(Some(&id), cache);
        let took = started.elapsed();

        // Before the event is sent: an order that answers it must not be taken for an older one.
        let mut ordered = Some(id);
        loop {
            match orders.try_recv() {
                Ok(order) => ordered = order,
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
        }
        let method = Method::Longpoll;
        match result {
            Ok((template, parsing)) => {
                // The answer's own id is newer than any that was ordered before it came.
                wanted = ordered.and_then(|_| template.longpollid.clone());
                report.send_blocking(NodeEventKind::Template {
                    template: Arc::new(template),
                    method,
                    took,
                    parsing,
                });
                thread::sleep(LONGPOLL_SPACING.saturating_sub(took));
            }
            // A quiet mempool; a dead node is found by the regular poll.
            Err(RpcError::Timeout(_)) => wanted = ordered,
            Err(error) => report.send_blocking(failed(method, error, took)),
        }
    }
}

/// The thread for solved blocks. Ends when the handle is dropped and all blocks are through.
fn submissions(rpc: &Rpc, report: &Reporter, blocks: priority::Receiver<(BlockHash, Arc<str>)>) {
    for (block, hex) in blocks {
        let started = Instant::now();
        let answer = rpc.submit_block(&hex);
        report.send_blocking(NodeEventKind::Submitted { block, answer, took: started.elapsed() });
    }
}

/// Where a node's events go. When the daemon's queue is gone, the daemon is ending.
#[derive(Clone)]
struct Reporter {
    node: NodeId,
    events: Sender<NodeEvent>,
}

impl Reporter {
    async fn send(&self, kind: NodeEventKind) {
        self.events.send(NodeEvent { node: self.node, kind }).await.ok();
    }

    fn send_blocking(&self, kind: NodeEventKind) {
        self.events.send_blocking(NodeEvent { node: self.node, kind }).ok();
    }
}

/// Room for `N` calls at a time.
#[derive(Default)]
struct Places<const N: usize>(Arc<AtomicUsize>);

/// Given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl<const N: usize> Places<N> {
    fn take(&self) -> Option<Place> {
        let one_more = |taken| (taken < N).then_some(taken + 1);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Place(self.0.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Room for one fetch, and a note that another is wanted after it.
///
/// ```text
///          begin            begin
///   Idle ────────▶ Running ────────▶ Again
///    ▲               │  ▲              │ end
///    └───────────────┘  └──────────────┤ after a success
///    ▲      end                        │
///    └─────────────────────────────────┘ after a failure
/// ```
#[derive(Clone, Default)]
struct Fetch(Arc<AtomicU8>);

impl Fetch {
    const IDLE: u8 = 0;
    const RUNNING: u8 = 1;
    const AGAIN: u8 = 2;

    /// True when the caller shall fetch; false when the one who is at it will do it once more.
    fn begin(&self) -> bool {
        let next = |state| Some(if state == Fetch::IDLE { Fetch::RUNNING } else { Fetch::AGAIN });
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(Fetch::IDLE)
    }

    /// True when the caller shall fetch once more. After a failure it shall not: what to do then
    /// is decided by whoever hears of it.
    fn end(&self, good: bool) -> bool {
        let next =
            |state| Some(if state == Fetch::AGAIN && good { Fetch::RUNNING } else { Fetch::IDLE });
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(Fetch::AGAIN) && good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let places = Places::<2>::default();
        let first = places.take().unwrap();
        let second = places.take().unwrap();
        assert!(places.take().is_none());
        drop(first);
        let third = places.take().unwrap();
        assert!(places.take().is_none());
        drop((second, third));
        assert!(places.take().is_some());
    }

    #[test]
    fn a_fetch_asked_for_meanwhile_follows() {
        let fetch = Fetch::default();
        assert!(fetch.begin());
        assert!(!fetch.begin());
        assert!(!fetch.begin());
        assert!(fetch.end(true), "asked again, twice counts once");
        assert!(!fetch.end(true));
        assert!(fetch.begin());
        assert!(!fetch.begin());
        assert!(!fetch.end(false), "a failure ends it");
        assert!(fetch.begin());
        assert!(!fetch.end(true));
    }
}
