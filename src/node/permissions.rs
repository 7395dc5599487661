//! Which methods a node lets us call, asked before it matters.
//!
//! Bitcoin Core can limit a user to some methods (`rpcwhitelist`), and other nodes lack some. Such
//! a node may give work for years and then refuse the block. So every method that we use is called
//! with arguments that a node rejects before it does anything; the node decides before that whether
//! we may call the method.
//!
//! Pure: [`Permission::of`] reads one answer, [`Permissions`] makes the sentences.
//! [`Rpc::permissions`](crate::rpc::Rpc::permissions) asks.

use super::RpcError;
use crate::listed::listed;

listed! {
    /// A method that we call, those that mining needs first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Command {
        /// Work, and the rehearsal of a block.
        GetBlockTemplate,
        /// A solved block's way into the chain.
        SubmitBlock,
        /// Chain, height and work.
        GetBlockchainInfo,
        /// The tip.
        GetBestBlockHash,
        /// The first block, by which a chain is known, and whether ours is in it.
        GetBlockHash,
        /// Confirmations of our blocks, height of a new tip.
        GetBlockHeader,
        /// Version and peers.
        GetNetworkInfo,
        /// Our block before a rival of equal work.
        PreciousBlock,
        /// Whether a node that stays behind has refused a block.
        GetChainTips,
        /// News of a tip without ZMQ.
        WaitForNewBlock,
        /// Other nodes, to which a block of ours can be offered.
        GetNodeAddresses,
    }
}

impl Command {
    /// Its name at the node.
    pub const fn name(self) -> &'static str {
        match self {
            Command::GetBlockTemplate => "getblocktemplate",
            Command::SubmitBlock => "submitblock",
            Command::GetBlockchainInfo => "getblockchaininfo",
            Command::GetBestBlockHash => "getbestblockhash",
            Command::GetBlockHash => "getblockhash",
            Command::GetBlockHeader => "getblockheader",
            Command::GetNetworkInfo => "getnetworkinfo",
            Command::PreciousBlock => "preciousblock",
            Command::GetChainTips => "getchaintips",
            Command::WaitForNewBlock => "waitfornewblock",
            Command::GetNodeAddresses => "getnodeaddresses",
        }
    }

    /// Mining needs it. The others are useful, and something stands in for them.
    pub const fn is_needed(self) -> bool {
        match self {
            Command::GetBlockTemplate
            | Command::SubmitBlock
            | Command::GetBlockchainInfo
            | Command::GetBestBlockHash
            | Command::GetBlockHash => true,
            Command::GetBlockHeader
            | Command::GetNetworkInfo
            | Command::PreciousBlock
            | Command::GetChainTips
            | Command::WaitForNewBlock
            | Command::GetNodeAddresses => false,
        }
    }

    /// What it means when we may not call it, as a clause.
    const fn without_it(self) -> &'static str {
        match self {
            Command::GetBlockTemplate => "it gives us no work",
            Command::SubmitBlock => "a block that we find could not be handed to it",
            Command::GetBlockchainInfo => "we cannot see which chain it is on",
            Command::GetBestBlockHash => "we cannot see which block is its newest",
            Command::GetBlockHash => "we cannot make sure of its chain",
            Command::GetBlockHeader => "confirmations of our blocks are not counted",
            Command::GetNetworkInfo => "its version and its peers are not shown",
            Command::PreciousBlock => {
                "it is not asked to prefer our block to another of the same height"
            }
            Command::GetChainTips => "when it stays behind, the reason is not found out",
            Command::WaitForNewBlock => "without ZMQ its new blocks are noticed a little later",
            Command::GetNodeAddresses => "it does not tell us the addresses of other nodes",
        }
    }

    /// Arguments, as JSON, that make the call end at once with an error and without any effect.
    ///
    /// | method | Bitcoin Core 31.99 | bcoin 1.0.2 |
    /// |---|---|---|
    /// | getblocktemplate | -8 Invalid mode | -8 Invalid mode. |
    /// | submitblock | -22 Block decode failed | -22 Out of bounds read |
    /// | getblockhash | -3 Wrong type passed | -3 Param #0 must be a int. |
    /// | getblockheader | -8 must be of length 64 | -3 Param #0 must be a hex string. |
    /// | preciousblock | -8 must be of length 64 | -32601 |
    /// | waitfornewblock, getnodeaddresses | -3 Wrong type passed | -32601 |
    /// | the others, one argument too many | -1 and the help text | -1 and the name |
    pub const fn refused_arguments(self) -> &'static str {
        match self {
            Command::GetBlockTemplate => r#"{"mode":"?"}"#,
            Command::SubmitBlock | Command::GetBlockHeader | Command::PreciousBlock => r#""00""#,
            Command::GetBlockchainInfo
            | Command::GetBestBlockHash
            | Command::GetBlockHash
            | Command::GetNetworkInfo
            | Command::GetChainTips
            | Command::WaitForNewBlock
            | Command::GetNodeAddresses => r#""?""#,
        }
    }
}

/// Whether we may call a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// The node looked at our arguments.
    Allowed,
    /// Our user may not call it.
    Forbidden,
    /// The node does not have it.
    Missing,
    /// Not asked yet, or the answer tells nothing.
    #[default]
    Unknown,
}

impl Permission {
    /// What the answer to a call with arguments that every node refuses tells.
    ///
    /// # Errors
    /// The node cannot be asked now: it is not reached, does not know us, or has too much to do.
    pub fn of(answer: Result<(), RpcError>) -> Result<Permission, RpcError> {
        Ok(match answer {
            Ok(()) => Permission::Allowed,
            Err(error) if is_forbidden(&error) => Permission::Forbidden,
            Err(RpcError::Rpc { code: -32601, .. }) => Permission::Missing,
            // Starting up, it does not look for the method.
            Err(RpcError::Rpc { code: -28, .. }) => Permission::Unknown,
            Err(RpcError::Rpc { .. }) => Permission::Allowed,
            Err(RpcError::Http(_) | RpcError::Malformed(_) | RpcError::TooLarge(_)) => {
                Permission::Unknown
            }
            Err(error) => return Err(error),
        })
    }
}

/// The node refuses the method, not us.
pub fn is_forbidden(error: &RpcError) -> bool {
    matches!(error, RpcError::Forbidden { .. })
}

/// The call fails because of what it is, and would fail again.
pub fn is_refused(error: &RpcError) -> bool {
    is_forbidden(error) || matches!(error, RpcError::Rpc { code: -32601, .. })
}

/// What one node lets us do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// As whom we call, for the line in bitcoin.conf; empty where we have no name.
    user: String,
    /// In the order of [`Command::ALL`].
    found: [Permission; Command::COUNT],
}

impl Permissions {
    /// Nothing is known yet of what this user may do.
    pub fn unknown(user: &str) -> Permissions {
        let user = user.chars().filter(|c| !c.is_control()).take(100).collect();
        Permissions { user, found: Default::default() }
    }

    /// This user may do everything.
    pub fn all(user: &str) -> Permissions {
        Permissions { found: [Permission::Allowed; Command::COUNT], ..Self::unknown(user) }
    }

    /// One more answer.
    pub fn set(&mut self, command: Command, permission: Permission) {
        self.found[command.index()] = permission;
    }

    /// Whether we may call this.
    pub fn of(&self, command: Command) -> Permission {
        self.found[command.index()]
    }

    /// What mining needs and the node does not let us do.
    pub fn refused(&self) -> Vec<Command> {
        let refused = |command: &Command| {
            command.is_needed()
                && matches!(self.of(*command), Permission::Forbidden | Permission::Missing)
        };
        Command::ALL.into_iter().filter(refused).collect()
    }

    /// Nothing that mining needs is refused, as far as is known.
    pub fn are_enough(&self) -> bool {
        self.refused().is_empty()
    }

    /// What is refused of that which mining needs, as a predicate: "does not let us call
    /// submitblock". `None` when nothing is.
    pub fn refusal(&self) -> Option<String> {
        let of = |permission| self.refused().into_iter().filter(move |c| self.of(*c) == permission);
        let forbidden = listed(of(Permission::Forbidden).map(Command::name));
        let missing = listed(of(Permission::Missing).map(Command::name));
        match (forbidden, missing) {
            (None, None) => None,
            (Some(forbidden), None) => Some(format!("does not let us call {forbidden}")),
            (None, Some(missing)) => Some(format!("does not have the method {missing}")),
            (Some(forbidden), Some(missing)) => Some(format!(
                "does not let us call {forbidden} and does not have the method {missing}"
            )),
        }
    }

    /// [`Permissions::refusal`] and what it means, as a predicate without a full stop.
    pub fn refusal_in_full(&self) -> Option<String> {
        let meaning = listed(self.refused().into_iter().map(Command::without_it))?;
        Some(format!("{}: {meaning}", self.refusal()?))
    }

    /// What the owner can do about [`Permissions::refusal`], in one sentence.
    pub fn remedy(&self) -> Option<String> {
        let refused = self.refused();
        if refused.is_empty() {
            return None;
        }
        Some(match refused.iter().any(|command| self.of(*command) == Permission::Forbidden) {
            true => self.whitelist_advice(),
            false => "Use a node that has it, such as Bitcoin Core.".to_owned(),
        })
    }

    /// What is forbidden of that which mining does not need, as a sentence without its subject:
    /// "does not let us call preciousblock, which mining does not need: …". `None` when nothing is.
    /// What a node does not have is not told: nobody can allow it.
    pub fn shortage(&self) -> Option<String> {
        let forbidden =
            |command: &Command| !command.is_needed() && self.of(*command) == Permission::Forbidden;
        let short: Vec<Command> = Command::ALL.into_iter().filter(forbidden).collect();
        let names = listed(short.iter().map(|command| command.name()))?;
        let meaning = listed(short.iter().map(|command| command.without_it()))?;
        Some(format!("does not let us call {names}, which mining does not need: {meaning}"))
    }

    /// A second `rpcwhitelist` line of a user leaves of the first what both have.
    fn whitelist_advice(&self) -> String {
        format!(
            "Put this line into its bitcoin.conf, in place of the rpcwhitelist line that the user \
             has there now, and restart the node: {}",
            self.whitelist_line()
        )
    }

    /// The line of bitcoin.conf that allows all that we call.
    pub fn whitelist_line(&self) -> String {
        let user = if self.user.is_empty() { "USER" } else { &self.user };
        let names: Vec<&str> = Command::ALL.into_iter().map(Command::name).collect();
        format!("rpcwhitelist={user}:{}", names.join(","))
    }
}

/// "a, b and c"; `None` without words.
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let words: Vec<&str> = words.collect();
    let (last, first) = words.split_last()?;
    Some(match first {
        [] => (*last).to_owned(),
        first => format!("{} and {last}", first.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::fault::Login;

    fn all_but(refused: &[(Command, Permission)]) -> Permissions {
        let mut all = Permissions::all("anna");
        refused.iter().for_each(|(command, permission)| all.set(*command, *permission));
        all
    }

    #[test]
    fn commands_have_arguments_and_the_needed_ones_come_first() {
        for command in Command::ALL {
            let arguments = format!("[{}]", command.refused_arguments());
            serde_json::from_str::<serde_json::Value>(&arguments).unwrap();
        }
        let needed = Command::ALL.iter().filter(|command| command.is_needed()).count();
        assert!(Command::ALL[..needed].iter().all(|command| command.is_needed()));
    }

    #[test]
    fn an_answer_about_the_arguments_is_a_permission() {
        let rpc = |code| Err(RpcError::Rpc { code, message: String::new() });
        for (answer, found) in [
            (Ok(()), Permission::Allowed),
            (rpc(-22), Permission::Allowed),
            (rpc(-8), Permission::Allowed),
            (rpc(-1), Permission::Allowed),
            (rpc(-32601), Permission::Missing),
            (rpc(-28), Permission::Unknown),
            (Err(RpcError::Forbidden { method: "submitblock" }), Permission::Forbidden),
            (Err(RpcError::Http(404)), Permission::Unknown),
            (Err(RpcError::Malformed("?".into())), Permission::Unknown),
        ] {
            assert_eq!(Permission::of(answer.clone()), Ok(found), "{answer:?}");
        }
        for error in [
            RpcError::Unauthorized(Login::Password),
            RpcError::QueueFull,
            RpcError::Transport("refused".into()),
            RpcError::Timeout(std::time::Duration::from_secs(5)),
        ] {
            assert_eq!(Permission::of(Err(error.clone())), Err(error));
        }
    }

    #[test]
    fn nothing_is_said_of_a_node_that_allows_all_or_was_not_asked() {
        for permissions in [all_but(&[]), Permissions::unknown("anna")] {
            assert!(permissions.are_enough());
            assert_eq!(permissions.refusal_in_full(), None);
            assert_eq!(permissions.remedy(), None);
            assert_eq!(permissions.shortage(), None);
        }
        // What bcoin does not have is no harm, and no line of a file brings it.
        let bcoin = all_but(&[
            (Command::PreciousBlock, Permission::Missing),
            (Command::WaitForNewBlock, Permission::Missing),
            (Command::GetNodeAddresses, Permission::Missing),
        ]);
        assert!(bcoin.are_enough() && bcoin.shortage().is_none());
    }

    #[test]
    fn what_is_refused_is_said_by_name_with_the_line_to_write() {
        let forbidden = Permission::Forbidden;
        let one = all_but(&[(Command::SubmitBlock, forbidden)]);
        assert_eq!(one.refused(), [Command::SubmitBlock]);
        assert_eq!(one.refusal().unwrap(), "does not let us call submitblock");
        assert_eq!(
            one.refusal_in_full().unwrap(),
            "does not let us call submitblock: a block that we find could not be handed to it"
        );
        assert_eq!(
            one.remedy().unwrap(),
            "Put this line into its bitcoin.conf, in place of the rpcwhitelist line that the user \
             has there now, and restart the node: rpcwhitelist=anna:getblocktemplate,submitblock,\
             getblockchaininfo,getbestblockhash,getblockhash,getblockheader,getnetworkinfo,\
             preciousblock,getchaintips,waitfornewblock,getnodeaddresses"
        );
        let three = all_but(&[
            (Command::GetBlockTemplate, forbidden),
            (Command::SubmitBlock, forbidden),
            (Command::GetBlockHash, Permission::Missing),
            (Command::GetNetworkInfo, forbidden),
        ]);
        assert_eq!(
            three.refusal_in_full().unwrap(),
            "does not let us call getblocktemplate and submitblock and does not have the method \
             getblockhash: it gives us no work, a block that we find could not be handed to it and \
             we cannot make sure of its chain"
        );
        assert_eq!(
            three.shortage().unwrap(),
            "does not let us call getnetworkinfo, which mining does not need: its version and its \
             peers are not shown"
        );
        let missing = all_but(&[(Command::SubmitBlock, Permission::Missing)]);
        assert_eq!(missing.refusal().unwrap(), "does not have the method submitblock");
        assert!(!missing.remedy().unwrap().contains("rpcwhitelist"));
    }

    #[test]
    fn the_line_names_the_user_and_nothing_that_would_end_it() {
        assert!(Permissions::unknown("").whitelist_line().starts_with("rpcwhitelist=USER:getbl"));
        let odd = Permissions::unknown("an\nna\r");
        assert!(odd.whitelist_line().starts_with("rpcwhitelist=anna:"));
        assert!(Permissions::unknown(&"x".repeat(10_000)).whitelist_line().len() < 300);
    }
}
