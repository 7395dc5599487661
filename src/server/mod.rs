//! The two servers: Stratum for the miners, HTTP for the owner. Shells: they have sockets and
//! timeouts, and no policy.

pub mod background_executor;
pub mod http;
pub mod kept;
mod rtt;
pub mod stratum;
pub mod tls;
mod wire;
