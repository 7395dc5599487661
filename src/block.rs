//! A solved block.

/// A node's answer to `submitblock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// `null`: the block is in the node's chain.
    Accepted,
    /// The node has it already: as good as accepted.
    Duplicate,
    /// Valid as far as checked, not (yet) in the best chain.
    Inconclusive(String),
    /// Refused, with the node's reason.
    Rejected(String),
}
