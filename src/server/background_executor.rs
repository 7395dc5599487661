//! An executor for the page's tasks, with lower priority than the miners: it runs in short slices,
//! and everything that miners sent is handled between them.
//!
//! One executor for both would serve in the order of arrival: a share that arrives after the
//! requests of a hundred readers would wait for all of them. Here it waits for at most one slice,
//! or for the one step in progress.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future;
use smol::LocalExecutor;

/// Duration of a slice, after which the sockets are checked again.
const SLICE: Duration = Duration::from_micros(300);

/// Runs `main`, and the tasks of `beside` in the remaining time, until `main` ends. Run it with
/// `async_io::block_on`, which checks the sockets after each turn.
pub async fn run<T>(main: impl Future<Output = T>, beside: Rc<LocalExecutor<'static>>) -> T {
    let slices = async {
        loop {
            beside.tick().await;
            let begun = Instant::now();
            while begun.elapsed() < SLICE && beside.try_tick() {}
            // Back to block_on, which reads the sockets and polls `main` first.
            future::yield_now().await;
        }
    };
    // `main` is polled first in every turn.
    future::or(main, slices).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_is_beside_never_holds_the_main_task_up() {
        let (main, beside) = (Rc::new(LocalExecutor::new()), Rc::new(LocalExecutor::new()));
        let steps = Rc::new(Cell::new(0u64));
        for _ in 0..100 {
            let steps = steps.clone();
            beside
                .spawn(async move {
                    loop {
                        let begun = Instant::now();
                        while begun.elapsed() < Duration::from_micros(200) {
                            std::hint::spin_loop();
                        }
                        steps.set(steps.get() + 1);
                        future::yield_now().await;
                    }
                })
                .detach();
        }
        let (sender, receiver) = async_channel::unbounded();
        // Counts the steps that pass before each message is heard.
        let told = steps.clone();
        let listener = main.spawn(async move {
            let mut most = 0;
            while let Ok(sent) = receiver.recv().await {
                most = most.max(told.get() - sent);
            }
            most
        });
        let told = steps.clone();
        beside
            .spawn(async move {
                for _ in 0..50 {
                    sender.send(told.get()).await.unwrap();
                    future::yield_now().await;
                }
            })
            .detach();
        let most = async_io::block_on(run(main.run(listener), beside));
        assert!(most <= 3, "{most} steps of the page came before a message to the miners' side");
        assert!(steps.get() >= 100, "the page was served: {}", steps.get());
    }
}
