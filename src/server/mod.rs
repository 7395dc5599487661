//! The two servers: Stratum for the miners, HTTP for the owner. Shells: they hold sockets and time
//! limits, no policy.

pub mod background_executor;
pub mod http;
mod rtt;
pub mod stratum;
pub mod tls;
