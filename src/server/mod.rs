//! The two servers: Stratum for the miners, HTTP for the owner. Shells: they hold sockets and time
//! limits, no policy.

pub mod http;
pub mod stratum;
pub mod tls;
