//! A try of a broker, with settings that need not be saved: whether it takes us.

use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;

use super::connection::{Line, Moved, connect};
use super::link::FAREWELL_AT_MOST;
use super::session::{Purpose, Said, Session};
use super::{Fault, Settings};
use crate::rpc::HostLookup;
use crate::timeout::within;

/// How long a try may take.
pub const TRY_AT_MOST: Duration = Duration::from_secs(20);

/// Connects, introduces itself and says farewell. Nothing is published, and the connection that is there
/// already is not disturbed: brokers end the older of two with one name, so this one has another. The
/// arithmetic of TLS is done by the caller's thread.
///
/// # Errors
/// Why the broker does not take us.
pub async fn probe(settings: &Settings) -> Result<(), Fault> {
    within(TRY_AT_MOST, tried(settings)).await.unwrap_or_else(|| {
        let words = format!("no answer within {} s", TRY_AT_MOST.as_secs());
        Err(Fault::no_broker(words, settings.tls))
    })
}

async fn tried(settings: &Settings) -> Result<(), Fault> {
    let broker = &settings.broker;
    let mut lookup = HostLookup::new(broker.host.clone(), broker.port(settings.tls));
    let mut line = Line::new(connect(settings, &mut lookup).await?);
    let mut session = Session::new(Instant::now(), settings, Purpose::Try);
    loop {
        line.send(session.take_bytes());
        match session.next() {
            Some(Said::Welcome) => break,
            Some(Said::Refused(fault)) => return Err(fault),
            Some(Said::Over(why)) => return Err(Fault::no_broker(why, settings.tls)),
            Some(_) => continue,
            None => {}
        }
        let deadline = session.next_deadline();
        let late = async {
            match deadline {
                Some(at) => drop(Timer::at(at).await),
                None => future::pending().await,
            }
            None
        };
        match future::or(late, async { Some(line.next().await) }).await {
            Some(Moved::Read(bytes)) => session.read(Instant::now(), &bytes),
            Some(Moved::Left) => {}
            // How it does that, by a farewell or a reset, says nothing of why.
            Some(Moved::Broke(_)) => {
                let words = "it ends the connection as soon as we have introduced ourselves";
                return Err(Fault::no_broker(words, settings.tls));
            }
            None => session.tick(Instant::now()),
        }
    }
    session.farewell(Instant::now());
    line.send(session.take_bytes());
    within(FAREWELL_AT_MOST, line.empty()).await;
    Ok(())
}
