//! What the command line says of the settings.

use std::path::PathBuf;

/// What the command line says. It goes over the file for this run and is never written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--node URL`, any number. If there is one, the nodes of the file are not used.
    pub nodes: Vec<NodeFlag>,
    /// `--payout ADDRESS`
    pub payout: Option<String>,
    /// `--tag TEXT`
    pub tag: Option<String>,
    /// `--listen ADDRESS:PORT`, any number.
    pub listen: Vec<String>,
    /// `--http ADDRESS:PORT`, any number.
    pub http: Vec<String>,
    /// `--data DIR`
    pub data: Option<PathBuf>,
    /// `--log LEVEL`
    pub log: Option<String>,
}

/// One `--node`, with the flags that follow it.
#[derive(Clone, PartialEq)]
pub struct NodeFlag {
    /// `--node URL`
    pub url: String,
    /// `--zmq tcp://…`
    pub zmq: Option<String>,
    /// `--cookie FILE`
    pub cookie: Option<String>,
    /// `--cert FILE`
    pub cert: Option<String>,
}

/// The URL may hold a password.
impl std::fmt::Debug for NodeFlag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = super::url::without_credentials(&self.url);
        let NodeFlag { zmq, cookie, cert, .. } = self;
        write!(f, "NodeFlag({url}, zmq {zmq:?}, cookie {cookie:?}, cert {cert:?})")
    }
}
