//! A lane: calls to one node, one after the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::priority_queue::Urgency;

/// A queue of calls that are made one at a time, on a thread of `blocking`'s pool that is taken
/// when there is something to do.
///
/// A node has few threads for RPC (Bitcoin Core up to version 28: four, for all its clients), so
/// how many of them we use is decided by the number of lanes. An urgent call overtakes those that
/// wait, not the one under way. The queue needs no bound of its own: each kind of question has its
/// number of places.
#[derive(Clone, Default)]
pub(super) struct Lane(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    running: bool,
    urgent: VecDeque<Call>,
    others: VecDeque<Call>,
}

type Call = Box<dyn FnOnce() + Send>;

impl Lane {
    /// Has the call made when its turn comes.
    pub(super) fn push(&self, urgency: Urgency, call: impl FnOnce() + Send + 'static) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match urgency {
            Urgency::Urgent => queue.urgent.push_back(Box::new(call)),
            Urgency::Normal => queue.others.push_back(Box::new(call)),
        }
        if !queue.running {
            queue.running = true;
            let lane = self.clone();
            blocking::unblock(move || lane.drain()).detach();
        }
    }

    fn drain(&self) {
        while let Some(call) = self.next() {
            call();
        }
    }

    fn next(&self) -> Option<Call> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let call = queue.urgent.pop_front().or_else(|| queue.others.pop_front());
        queue.running = call.is_some();
        call
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn one_at_a_time_and_the_urgent_before_those_that_wait() {
        let lane = Lane::default();
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begin) = mpsc::channel();
        let (done, order) = mpsc::channel();
        let say = |what: &'static str| {
            let done = done.clone();
            move || done.send(what).unwrap()
        };
        let first = say("first");
        lane.push(Urgency::Normal, move || {
            begun.send(()).unwrap();
            wait.recv().unwrap();
            first();
        });
        begin.recv().unwrap();
        lane.push(Urgency::Normal, say("third"));
        lane.push(Urgency::Urgent, say("second"));
        assert!(order.try_recv().is_err(), "the first has not ended");
        go.send(()).unwrap();
        let said: Vec<_> = (0..3).map(|_| order.recv().unwrap()).collect();
        assert_eq!(said, ["first", "second", "third"]);
        lane.push(Urgency::Normal, say("again"));
        assert_eq!(order.recv().unwrap(), "again", "an empty lane starts anew");
    }
}
