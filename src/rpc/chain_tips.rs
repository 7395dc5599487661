//! `getchaintips` → the branches that a node has refused.

use serde::Deserialize;

use crate::node::{InvalidBranch, MAX_BRANCHES, RpcError};

/// Reads the `result` of `getchaintips`: the [`MAX_BRANCHES`] highest that are `invalid`.
///
/// bcoin has no such status: it forgets what it refuses, and its answer reads as empty.
///
/// # Errors
/// [`RpcError::Malformed`] where it is no list of tips.
pub(super) fn read(json: &str) -> Result<Vec<InvalidBranch>, RpcError> {
    let tips: Vec<Tip> = super::client::read_json(json)?;
    let mut branches = Vec::new();
    for tip in tips.iter().filter(|tip| tip.status == "invalid") {
        // Impossible numbers name no branch.
        if tip.branchlen == 0 || tip.branchlen > tip.height {
            continue;
        }
        let hash = super::client::hash(&tip.hash)?;
        branches.push(InvalidBranch { height: tip.height, tip: hash, length: tip.branchlen });
    }
    branches.sort_by_key(|branch| std::cmp::Reverse(branch.height));
    branches.truncate(MAX_BRANCHES);
    Ok(branches)
}

#[derive(Deserialize)]
struct Tip {
    height: u64,
    hash: String,
    branchlen: u64,
    status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(height: u64, branchlen: u64, status: &str) -> String {
        format!(
            r#"{{"height":{height},"hash":"{height:064x}","branchlen":{branchlen},"status":"{status}"}}"#
        )
    }

    #[test]
    fn refused_branches_are_found_and_others_are_not() {
        let tips = [
            tip(112, 0, "active"),
            tip(115, 4, "invalid"),
            tip(113, 2, "valid-fork"),
            tip(114, 3, "headers-only"),
            tip(90, 1, "invalid"),
        ];
        let branches = read(&format!("[{}]", tips.join(","))).unwrap();
        assert_eq!(branches.len(), 2);
        assert_eq!((branches[0].height, branches[0].length, branches[0].first()), (115, 4, 112));
        assert_eq!(branches[0].tip.to_string(), format!("{:064x}", 115));
        assert_eq!(branches[1].first(), 90);
        assert_eq!(read("[]"), Ok(Vec::new()));
    }

    #[test]
    fn a_long_list_is_cut_and_impossible_numbers_are_left_out() {
        let tips: Vec<String> = (1..3000).map(|n| tip(n, 1, "invalid")).collect();
        let branches = read(&format!("[{}]", tips.join(","))).unwrap();
        assert_eq!(branches.len(), MAX_BRANCHES);
        assert_eq!(branches[0].height, 2999);
        for odd in [tip(7, 0, "invalid"), tip(7, 8, "invalid"), tip(0, 0, "invalid")] {
            assert_eq!(read(&format!("[{odd}]")), Ok(Vec::new()), "{odd}");
        }
        let most = format!(
            r#"[{{"height":{0},"hash":"{1:064x}","branchlen":{0},"status":"invalid"}}]"#,
            u64::MAX,
            5
        );
        assert_eq!(read(&most).unwrap()[0].first(), 1);
    }

    #[test]
    fn what_is_no_list_of_tips_is_an_error() {
        let bad_hash = r#"[{"height":7,"hash":"xyz","branchlen":1,"status":"invalid"}]"#;
        for bad in ["null", "{}", "[7]", "[{}]", "\"x\"", bad_hash, r#"[{"height":-1}]"#] {
            assert!(matches!(read(bad), Err(RpcError::Malformed(_))), "{bad}");
        }
    }
}
