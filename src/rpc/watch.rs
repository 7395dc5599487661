//! The watch of one node: its calls in progress, and its reports to the daemon's queue.
//!
//! **Few threads of the node.** A node answers RPC with few threads: Bitcoin Core with four up to
//! version 28 and sixteen since, for all its clients together. Soloist uses at most two of them,
//! one for each lane, and a third while a solved block is submitted. It opens no long polls: a long
//! poll occupies its thread until the tip or the mempool changes, even when its client is gone (see
//! ARCHITECTURE.md, "Why no long polls").

use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Sender;
use smol::{LocalExecutor, Task};

use super::client::{NodeConfig, Questions, Rpc};
use super::lane::Lane;
use super::tripwire;
#[cfg(feature = "zmq")]
use super::zmq_fd;
use crate::chain::BlockHash;
use crate::ids::NodeId;
use crate::node::{Ask, Method, NodeEvent, NodeEventKind, RpcError, TipSource, WAIT};
use crate::priority_queue::{
    self,
    Urgency::{self, Normal, Urgent},
};
use crate::template::TxCache;

/// A node that is being watched and can be asked. [`NodeHandle::ask`] returns at once; the answers
/// come as [`NodeEvent`]s.
///
/// Questions are asked over two lanes, one call at a time in each: the quick one asks for the tip,
/// its header and the node's health; the slow one for templates, and for whatever makes the node
/// check a block. A template overtakes what waits there. Solved blocks have a thread of their own,
/// and ZMQ is a task on the executor. Each kind of question has its number of places, and a question for
/// which there is no place is not asked.
pub struct NodeHandle {
    rpc: Arc<Rpc>,
    cache: Arc<Mutex<TxCache>>,
    reporter: Reporter,
    quick: Lane,
    slow: Lane,
    busy: Busy,
    submit: priority_queue::Sender<(BlockHash, Arc<str>)>,
    /// Dropping a task ends it.
    _tasks: Vec<Task<()>>,
}

/// The calls under way or waiting in a lane, by kind.
#[derive(Default)]
struct Busy {
    fetch: Fetch,
    poll: Places<1>,
    header: Places<1>,
    health: Places<1>,
    trial: Places<1>,
    proposal: Places<1>,
    position: Places<2>,
    chain_tips: Places<1>,
    blocks_at: Places<1>,
    addresses: Places<1>,
    precious: Places<1>,
    permissions: Places<1>,
}

impl NodeHandle {
    /// Starts the thread for blocks and, on `executor`, the tripwire and, where it is configured, the
    /// ZMQ subscription. Nothing is asked yet.
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
        let reporter = Reporter { node: id, events };

        let (submit, blocks) = priority_queue::channel();
        let (client, report) = (rpc.clone(), reporter.clone());
        thread::Builder::new()
            .name(format!("submit-{}", id.0))
            .spawn(move || submissions(&client, &report, blocks))?;

        let mut tasks = Vec::new();
        if let Some((host, port)) = config.place() {
            let report = reporter.clone();
            tasks.push(executor.spawn(tripwire::watch(host, port, async move || {
                report.send(NodeEventKind::HungUp).await;
            })));
        }
        #[cfg(feature = "zmq")]
        if let Some(endpoint) = config.zmq.clone() {
            let report = reporter.clone();
            tasks.push(executor.spawn(async move {
                zmq_fd::watch(&endpoint, async |kind| report.send(kind).await).await;
            }));
        }
        Ok(NodeHandle {
            rpc,
            cache: Arc::default(),
            reporter,
            quick: Lane::default(),
            slow: Lane::default(),
            busy: Busy::default(),
            submit,
            _tasks: tasks,
        })
    }

    /// Asks. False where there is no place for the question: then it is not asked.
    pub fn ask(&self, ask: Ask) -> bool {
        let (quick, slow, busy) = (&self.quick, &self.slow, &self.busy);
        let method = ask.method();
        match ask {
            Ask::Template(_) => {
                self.fetch_template();
                true
            }
            Ask::Tip => self.call(
                (quick, Normal),
                &busy.poll,
                method,
                Rpc::get_best_block_hash,
                |hash, took| NodeEventKind::Tip {
                    hash,
                    height: None,
                    source: TipSource::Poll,
                    took,
                },
            ),
            Ask::WaitForTip => self.call(
                (quick, Normal),
                &busy.poll,
                method,
                |rpc| rpc.wait_for_new_block(WAIT),
                |(hash, height), took| {
                    let (height, source) = (Some(height), TipSource::Wait);
                    NodeEventKind::Tip { hash, height, source, took }
                },
            ),
            Ask::TryWait => self.try_wait(),
            Ask::Header(tip) => self.call(
                // Before a health question that waits: miners are on the dead tip.
                (quick, Urgent),
                &busy.header,
                method,
                move |rpc| rpc.tip_header(tip),
                move |header, _| NodeEventKind::Header { hash: tip, header },
            ),
            Ask::Health => self.call(
                (quick, Normal),
                &busy.health,
                method,
                |rpc| {
                    let report = rpc.health()?;
                    // So that a solved block finds a connection; what keeps it from one will be heard.
                    rpc.keep_spare().ok();
                    Ok(report)
                },
                |report, took| NodeEventKind::Health { report: Box::new(report), took },
            ),
            Ask::Permissions => self.ask_permissions(),
            Ask::ChainTips => self.call(
                (slow, Normal),
                &busy.chain_tips,
                method,
                Rpc::refused_branches,
                |refused, took| NodeEventKind::ChainTips { refused, took },
            ),
            Ask::BlocksAt(heights) => self.call(
                (slow, Normal),
                &busy.blocks_at,
                method,
                move |rpc| rpc.blocks_at(&heights),
                |blocks, took| NodeEventKind::BlocksAt { blocks, took },
            ),
            Ask::Addresses => self.call(
                (slow, Normal),
                &busy.addresses,
                method,
                Rpc::node_addresses,
                |list, took| NodeEventKind::Addresses { list, took },
            ),
            Ask::Precious(block) => self.in_lane((slow, Normal), &busy.precious, move |rpc| {
                let started = Instant::now();
                let error = rpc.precious_block(block).err()?;
                Some(failed(method, error, started.elapsed()))
            }),
            Ask::Position { block, height } => {
                self.in_lane((quick, Normal), &busy.position, move |rpc| {
                    let started = Instant::now();
                    let answer = rpc.best_chain_position(block, height);
                    Some(NodeEventKind::Position { block, answer, took: started.elapsed() })
                })
            }
            Ask::Propose { block, hex } => {
                self.in_lane((slow, Normal), &busy.proposal, move |rpc| {
                    Some(NodeEventKind::Proposed { block, verdict: rpc.propose(&hex) })
                })
            }
        }
    }

    fn fetch_template(&self) {
        let fetch = self.busy.fetch.clone();
        if !fetch.begin() {
            return;
        }
        let (rpc, cache, report) = (self.rpc.clone(), self.cache.clone(), self.reporter.clone());
        self.slow.push(Urgent, move || {
            let mut again = true;
            while again {
                let started = Instant::now();
                let result = rpc.timed_block_template(&cache);
                let took = started.elapsed();
                // Before the event is sent: whoever asks again because of it must not be missed.
                again = fetch.end(result.is_ok());
                report.send_blocking(match result {
                    Ok((template, parsing)) => {
                        let template = Arc::new(template);
                        NodeEventKind::Template { template, took, parsing }
                    }
                    Err(error) => failed(Method::GetBlockTemplate, error, took),
                });
            }
        });
    }

    fn try_wait(&self) -> bool {
        let Some(place) = self.busy.trial.take() else { return false };
        let trial = Arc::new(Trial::default());
        let (rpc, seen) = (self.rpc.clone(), trial.clone());
        self.quick.push(Normal, move || {
            seen.set(TrialState::Waiting);
            let result = rpc.wait_for_new_block(WAIT).map(|_| ());
            seen.set(TrialState::Ended(result));
        });
        let (rpc, report) = (self.rpc.clone(), self.reporter.clone());
        self.slow.push(Normal, move || {
            // The other lane's call is to be there first.
            thread::sleep(WAIT / 8);
            let began = trial.is(|state| matches!(state, TrialState::Waiting));
            let asked = Instant::now();
            let answered = rpc.get_best_block_hash();
            // Without a thread to spare it is answered right after the one that waits.
            let beside = asked.elapsed() < WAIT / 2
                && trial.is(|state| matches!(state, TrialState::Waiting));
            let outcome = match (answered, trial.error()) {
                (_, Some(error)) | (Err(error), _) => Err(error),
                (Ok(_), None) if !began => {
                    drop(place);
                    return;
                }
                (Ok(_), None) => Ok(beside),
            };
            drop(place);
            report.send_blocking(NodeEventKind::WaitTried(outcome));
        });
        true
    }

    /// Each of the questions takes its own turn in the lane, so that a template waits for one of them
    /// at most.
    fn ask_permissions(&self) -> bool {
        let Some(place) = self.busy.permissions.take() else { return false };
        let (rpc, report) = (self.rpc.clone(), self.reporter.clone());
        ask_next_permission(self.slow.clone(), rpc, report, place, None);
        true
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

    /// One call in a lane, whose failure is `Failed`.
    fn call<T, const N: usize>(
        &self,
        lane: (&Lane, Urgency),
        places: &Places<N>,
        method: Method,
        call: impl FnOnce(&Rpc) -> Result<T, RpcError> + Send + 'static,
        event: impl FnOnce(T, Duration) -> NodeEventKind + Send + 'static,
    ) -> bool {
        self.in_lane(lane, places, move |rpc| {
            let started = Instant::now();
            let result = call(rpc);
            let took = started.elapsed();
            Some(match result {
                Ok(answer) => event(answer, took),
                Err(error) => failed(method, error, took),
            })
        })
    }

    /// Has this done in a lane, if there is a place for it, and reports what comes of it.
    fn in_lane<const N: usize>(
        &self,
        (lane, urgency): (&Lane, Urgency),
        places: &Places<N>,
        work: impl FnOnce(&Rpc) -> Option<NodeEventKind> + Send + 'static,
    ) -> bool {
        let Some(place) = places.take() else { return false };
        let (rpc, report) = (self.rpc.clone(), self.reporter.clone());
        lane.push(urgency, move || {
            let event = work(&rpc);
            // Before the event is sent, so that its reader finds the place free.
            drop(place);
            if let Some(event) = event {
                report.send_blocking(event);
            }
        });
        true
    }
}

fn failed(method: Method, error: RpcError, took: Duration) -> NodeEventKind {
    NodeEventKind::Failed { method, error, took }
}

/// One question of [`Ask::Permissions`], and behind it the others.
fn ask_next_permission(
    lane: Lane,
    rpc: Arc<Rpc>,
    report: Reporter,
    place: Place,
    questions: Option<Questions>,
) {
    let next = lane.clone();
    lane.push(Normal, move || {
        let mut questions = questions.unwrap_or_else(|| rpc.questions());
        let Some(result) = rpc.ask_next(&mut questions) else {
            return ask_next_permission(next, rpc, report, place, Some(questions));
        };
        let took = questions.took;
        drop(place);
        report.send_blocking(match result {
            Ok(permissions) => NodeEventKind::Permissions { permissions, took },
            Err(error) => failed(Method::Permissions, error, took),
        });
    });
}

/// What became of the call that waits in [`NodeHandle::try_wait`].
#[derive(Default)]
struct Trial(Mutex<TrialState>);

#[derive(Default)]
enum TrialState {
    #[default]
    Before,
    Waiting,
    Ended(Result<(), RpcError>),
}

impl Trial {
    fn set(&self, state: TrialState) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn is(&self, what: impl FnOnce(&TrialState) -> bool) -> bool {
        what(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn error(&self) -> Option<RpcError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            TrialState::Ended(Err(error)) => Some(error.clone()),
            TrialState::Before | TrialState::Waiting | TrialState::Ended(Ok(())) => None,
        }
    }
}

/// The thread for solved blocks. Ends when the handle is dropped and all blocks are through.
fn submissions(
    rpc: &Rpc,
    report: &Reporter,
    blocks: priority_queue::Receiver<(BlockHash, Arc<str>)>,
) {
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
