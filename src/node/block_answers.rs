//! A node's answers about a block that was submitted to it.

/// A node's answer to `submitblock` (BIP 22), by what it says of the block's bytes. None of them
/// says that the block is in the node's best chain: that is what a [`Position`] shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// `null`: no objection. The block is the node's new tip; with bcoin it may also stand beside the
    /// tip.
    Accepted,
    /// The node has seen these bytes before, and nothing else: bcoin says it of a block that it
    /// refused, Core of one that lost.
    Duplicate,
    /// The node holds it but has not (yet) put it into its best chain: another block came first,
    /// or it lacks the parent. Not lost: it may still win.
    Inconclusive(String),
    /// Refused, with the node's reason, such as `high-hash` or `bad-cb-amount`.
    Rejected(String),
}

impl SubmitAnswer {
    /// Reads the `result` of `submitblock`: `null`, or Core's and bcoin's words (bcoin writes
    /// `rejected: bad-cb-amount`, or `invalid-…`, where Core gives the bare reason).
    pub fn parse(result: Option<&str>) -> SubmitAnswer {
        let Some(said) = result else { return SubmitAnswer::Accepted };
        let reason = said.strip_prefix("rejected: ").unwrap_or(said).trim();
        match reason {
            "" => SubmitAnswer::Accepted,
            "duplicate" => SubmitAnswer::Duplicate,
            "inconclusive" | "duplicate-inconclusive" | "inconclusive-not-best-prevblk" => {
                SubmitAnswer::Inconclusive(reason.to_string())
            }
            _ => SubmitAnswer::Rejected(reason.to_string()),
        }
    }

    /// Whether it only says that the node has answered before: the reason was in its first answer.
    pub fn is_repeat(&self) -> bool {
        match self {
            SubmitAnswer::Duplicate => true,
            SubmitAnswer::Rejected(reason) => reason == "duplicate-invalid",
            SubmitAnswer::Accepted | SubmitAnswer::Inconclusive(_) => false,
        }
    }
}

/// Where a block stands with a node, by what the node shows of its best chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// In the node's best chain.
    InChain {
        /// 1 for the tip; `None` where the node may not be asked for it.
        confirmations: Option<u32>,
    },
    /// The node knows the block and has it outside its best chain.
    Outside {
        /// Confirmations of the block that has its height there: 1 is a tie with the tip, more is a
        /// race that is decided for now, 0 means that the best chain is shorter.
        rival: u32,
    },
    /// The node does not know the block.
    Missing,
    /// The node may not be asked, and the block is not its tip.
    Untold,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        use SubmitAnswer::*;
        for (said, meant) in [
            (None, Accepted),
            (Some("duplicate"), Duplicate),
            (Some("rejected: duplicate"), Duplicate),
            (Some("inconclusive"), Inconclusive("inconclusive".into())),
            (Some("high-hash"), Rejected("high-hash".into())),
            (Some("rejected: bad-cb-amount"), Rejected("bad-cb-amount".into())),
            (Some("duplicate-invalid"), Rejected("duplicate-invalid".into())),
        ] {
            assert_eq!(SubmitAnswer::parse(said), meant);
        }
        assert!(Duplicate.is_repeat() && Rejected("duplicate-invalid".into()).is_repeat());
        assert!(!Accepted.is_repeat() && !Rejected("bad-cb-amount".into()).is_repeat());
    }
}
