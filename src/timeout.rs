//! Time limits for futures.

use std::future::Future;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;

/// The result of a future, or `None` if it takes longer than `patience`; it is dropped then.
pub async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    until(Instant::now() + patience, future).await
}

/// The result of a future, or `None` if it is not ready by `deadline`; it is dropped then.
pub async fn until<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::at(deadline).await;
        None
    };
    future::or(async { Some(future.await) }, late).await
}
