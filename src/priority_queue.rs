//! A queue to a thread in which urgent items overtake waiting ones.
//!
//! The threads that handle solved blocks use it: after a start they offer all blocks of the spool
//! to the nodes again and store the answers, and a block that is solved meanwhile must not wait for
//! that.

use std::collections::VecDeque;
use std::sync::mpsc;

/// Makes a queue.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, orders) = mpsc::channel();
    (Sender(sender), Receiver { orders, urgent: VecDeque::new(), rest: VecDeque::new() })
}

/// The end that gives orders.
#[derive(Debug)]
pub struct Sender<T>(mpsc::Sender<(Urgency, T)>);

/// Whether an order overtakes others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It comes before all that are not.
    Urgent,
    /// It comes when nothing urgent is left.
    Normal,
}

impl<T> Sender<T> {
    /// Gives an order; false if nobody takes it any more.
    pub fn send(&self, urgency: Urgency, order: T) -> bool {
        self.0.send((urgency, order)).is_ok()
    }
}

/// The end that takes orders.
#[derive(Debug)]
pub struct Receiver<T> {
    orders: mpsc::Receiver<(Urgency, T)>,
    urgent: VecDeque<T>,
    rest: VecDeque<T>,
}

/// The orders: of the urgent ones the oldest, or of the others. Waits for one, and ends when the
/// sender is gone and all are through.
impl<T> Iterator for Receiver<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.orders.try_iter().for_each(|order| sort(&mut self.urgent, &mut self.rest, order));
        if self.urgent.is_empty() && self.rest.is_empty() {
            let order = self.orders.recv().ok()?;
            sort(&mut self.urgent, &mut self.rest, order);
        }
        self.urgent.pop_front().or_else(|| self.rest.pop_front())
    }
}

fn sort<T>(urgent: &mut VecDeque<T>, rest: &mut VecDeque<T>, (urgency, order): (Urgency, T)) {
    match urgency {
        Urgency::Urgent => urgent.push_back(order),
        Urgency::Normal => rest.push_back(order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urgent_overtakes_and_nothing_is_lost() {
        let (sender, mut receiver) = channel();
        for (urgency, order) in [
            (Urgency::Normal, 1),
            (Urgency::Normal, 2),
            (Urgency::Urgent, 3),
            (Urgency::Normal, 4),
            (Urgency::Urgent, 5),
        ] {
            assert!(sender.send(urgency, order));
        }
        assert_eq!(
            (receiver.next(), receiver.next(), receiver.next()),
            (Some(3), Some(5), Some(1))
        );
        sender.send(Urgency::Urgent, 6);
        drop(sender);
        assert_eq!(receiver.collect::<Vec<_>>(), [6, 2, 4]);
    }
}
