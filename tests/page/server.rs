//! A server of its own for one test: sample data behind the real HTTP code.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use smol::{Async, LocalExecutor};
use soloist::server::http::admin::Local;
use soloist::server::http::guard::Reach;
use soloist::server::http::{Http, NoBlock, Options, View};
use soloist::status::Snapshot;

use crate::sample;

struct Sample {
    reach: Reach,
    snapshot: Rc<Snapshot>,
    taken: Cell<u64>,
    changing: bool,
}

impl View for Sample {
    fn snapshot(&self) -> Rc<Snapshot> {
        self.taken.set(self.taken.get() + 1);
        let mut snapshot = (*self.snapshot).clone();
        if self.changing {
            snapshot.failovers = self.taken.get();
            if let Some(miner) = snapshot.miners.first_mut() {
                miner.accepted += self.taken.get();
            }
        }
        Rc::new(snapshot)
    }

    fn history(&self, miner: &str) -> Option<soloist::status::HistoryView> {
        let snapshot = self.snapshot();
        let known = snapshot.miners.iter().any(|known| known.id == miner);
        known.then(|| sample::miner_history(&snapshot))
    }

    fn reach(&self) -> Reach {
        self.reach.clone()
    }

    fn block(&self, hash: &str) -> Local<Result<Vec<u8>, NoBlock>> {
        let known = self.snapshot.blocks.iter().any(|block| block.hash == hash);
        let block = known.then(|| vec![0xab; 2_000_000]).ok_or(NoBlock::Unknown);
        Box::pin(async { block })
    }
}

/// Runs until it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Option<async_channel::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// With `changing`, the number of failovers tells how many snapshots were taken, and the first miner
    /// has as many shares more.
    pub fn start(snapshot: Snapshot, options: Options, changing: bool) -> Server {
        Server::reached(Reach::default(), snapshot, options, changing)
    }

    /// The same by further names, and for other pages.
    pub fn reached(reach: Reach, snapshot: Snapshot, options: Options, changing: bool) -> Server {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let thread = thread::spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            let view = Sample { reach, snapshot: Rc::new(snapshot), taken: Cell::new(0), changing };
            let http = Http::new(Rc::new(view), options);
            let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
            tell.send(listener.get_ref().local_addr().unwrap()).unwrap();
            executor.spawn(http.serve(executor.clone(), listener, None)).detach();
            let _ = smol::block_on(executor.run(stopped.recv()));
        });
        let address = told.recv().unwrap();
        Server { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            // A panic in the server must fail its test, but not hide another failure.
            if !thread::panicking() {
                ended.unwrap();
            }
        }
    }
}
