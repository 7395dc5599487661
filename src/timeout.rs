//! A future that is not waited for longer than one wants.

use std::future::Future;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;

/// What a future gives, or `None` when it takes longer. It is dropped then.
pub async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    let slow = async {
        Timer::after(patience).await;
        None
    };
    future::or(async { Some(future.await) }, slow).await
}
