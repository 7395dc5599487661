//! The page's view of a node: its state in [`Failover`](crate::failover::Failover), in words.

use crate::failover::{NodeView, Standing, Waiting};
use crate::node::RpcError;
use crate::status::NodeState;

/// Its present role. A node leads by that name only while nothing is wrong with it: where no other
/// is better, jobs come from one that lags or downloads as well.
pub(super) fn state(node: &NodeView<'_>) -> NodeState {
    match node.standing {
        // A node that builds a template says nothing for a second or two.
        Standing::Silent(_) if node.leads => NodeState::Leading,
        // Its work is good; what it forbids is told by an alarm of its own.
        Standing::Forbidden(_) if node.leads => NodeState::Leading,
        Standing::Healthy | Standing::Rival => well(node),
        // It has answered since.
        Standing::Shaky if node.reason.is_none() => well(node),
        Standing::Forbidden(_) => NodeState::Forbidden,
        Standing::Behind(_) | Standing::Weaker | Standing::Stalled => NodeState::Lagging,
        Standing::Refuses(_) | Standing::Refused(_) => NodeState::OtherRules,
        Standing::Syncing | Standing::Waiting(Waiting::Download(_)) => NodeState::Syncing,
        Standing::Waiting(Waiting::Starting(_)) => NodeState::Warming,
        Standing::NoPeers | Standing::Waiting(Waiting::NoPeers) => NodeState::NoPeers,
        Standing::WrongClock(_) => NodeState::WrongClock,
        Standing::WrongChain(_) => NodeState::Doubtful,
        Standing::NoTemplate => NodeState::NoTemplate,
        Standing::Silent(_) => NodeState::Down,
        Standing::Unknown if node.reason.is_none() => NodeState::Unknown,
        Standing::Unknown | Standing::Shaky | Standing::Down => match is_silent(node) {
            true => NodeState::Down,
            false => NodeState::Unusable,
        },
    }
}

fn well(node: &NodeView<'_>) -> NodeState {
    if node.leads { NodeState::Leading } else { NodeState::Standby }
}

/// Its calls fail because nothing comes back, as far as is known.
fn is_silent(node: &NodeView<'_>) -> bool {
    node.reason.as_ref().is_none_or(RpcError::is_silence)
}

/// The reason for its role, and what the owner can do. The consequences of two sets of rules
/// come last, or alone.
pub(super) fn why(node: &NodeView<'_>) -> String {
    match (&node.rules, node.leads, node.standing) {
        (Some(rules), false, Standing::Refuses(_) | Standing::Refused(_)) => rules.clone(),
        (Some(rules), ..) => format!("{} {rules}", without_rules(node)),
        (None, ..) => without_rules(node),
    }
}

fn without_rules(node: &NodeView<'_>) -> String {
    let standing = node.standing;
    let hint = node.hint.as_ref().map(|hint| format!(" {hint}")).unwrap_or_default();
    let reason = node.reason.as_ref().filter(|_| standing.needs_reason());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    match (node.leads, standing) {
        (true, Standing::Healthy | Standing::Rival) => match node.template_takes {
            Some(takes) if node.empty_first => format!(
                "It leads. Its templates take {} ms, so on a new block the miners get an empty job \
                 first.",
                takes.as_millis()
            ),
            _ => "It leads: the miners' jobs are made from its templates.".to_owned(),
        },
        (true, _) => {
            format!("It leads, as no other node is better, but it {standing}{reason}.{hint}")
        }
        (false, Standing::Healthy) => {
            "It is on the newest block and takes over when the leader fails.".to_owned()
        }
        (false, Standing::Unknown | Standing::Shaky | Standing::Down) if !is_silent(node) => {
            format!("It cannot be used now{reason}.{hint}")
        }
        (false, Standing::Down) => format!("It does not answer{reason}.{hint}"),
        (false, _) => format!("It {standing}{reason}.{hint}"),
    }
}

/// Number of blocks that it lacks. `None` if that is unknown: it is not asked, does not answer, or
/// gets no new blocks itself.
pub(super) fn lag_blocks(node: &NodeView<'_>) -> Option<u64> {
    match node.standing {
        Standing::Syncing | Standing::Waiting(Waiting::Download(_)) => {
            let (report, _) = node.health?;
            Some(report.headers.saturating_sub(report.blocks)).filter(|lag| *lag > 0)
        }
        Standing::NoPeers
        | Standing::Waiting(_)
        | Standing::Unknown
        // A block that it refuses is not one that it lacks.
        | Standing::Refuses(_)
        | Standing::Refused(_)
        | Standing::Down
        | Standing::WrongChain(_) => None,
        _ => Some(node.lag_blocks),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::chain::Chain;
    use crate::clock::{Now, Reading};
    use crate::failover::{DEFAULT_GRACE, Failover, Follow, Input, NodeSpec, Setup};
    use crate::ids::NodeId;
    use crate::node::{HealthReport, Method, NodeEvent, NodeEventKind, RpcError};

    const UNIX: u64 = 1_790_000_000;

    /// A node of the main chain in perfect health.
    fn well(at: Instant) -> HealthReport {
        HealthReport {
            chain: "main".into(),
            genesis: Some(Chain::Main.genesis()),
            blocks: 412_000,
            headers: 412_000,
            best: Chain::Main.genesis(),
            chainwork: [1; 32],
            initial_download: false,
            progress: 1.0,
            tip_time: UNIX - 300,
            connections: Some(8),
            local_relay: Some(true),
            clock: Some(Reading { unix: UNIX, at }),
            version: Some("/Satoshi:31.0.0/".into()),
            warnings: String::new(),
            facts: Default::default(),
        }
    }

    /// What is said of the first of two nodes, of which the second is well, after these news.
    fn said(news: impl Fn(Instant) -> Vec<NodeEventKind>) -> (NodeState, String, Option<u64>) {
        let at = Instant::now() + Duration::from_secs(10_000);
        let now = Now { mono: at, unix: UNIX };
        let spec = |id| NodeSpec { id: NodeId(id), name: format!("n{id}") };
        let nodes = vec![spec(0), spec(1)];
        let mut failover = Failover::new(
            now,
            Setup { nodes, chains: vec![Chain::Main], grace: DEFAULT_GRACE, follow: Follow::Work },
        );
        let mut hand_in = |input| failover.handle(now, input, &mut Vec::new());
        hand_in(Input::Tick);
        let took = Duration::from_millis(1);
        let event = |node, kind| Input::Node(NodeEvent { node: NodeId(node), kind });
        let news = news(at).into_iter().map(|news| event(0, news));
        let other = NodeEventKind::Health { report: Box::new(well(at)), took };
        news.chain([event(1, other)]).for_each(&mut hand_in);
        let node = failover.nodes(at).next().unwrap();
        (state(&node), why(&node), lag_blocks(&node))
    }

    fn reports(change: impl Fn(&mut HealthReport)) -> (NodeState, String, Option<u64>) {
        said(|at| {
            let mut report = well(at);
            change(&mut report);
            vec![NodeEventKind::Health { report: Box::new(report), took: Duration::from_millis(1) }]
        })
    }

    fn refuses(code: i64, message: &str) -> (NodeState, String, Option<u64>) {
        let took = Duration::from_millis(1);
        let error = RpcError::Rpc { code, message: message.into() };
        let failed = NodeEventKind::Failed { method: Method::Health, error, took };
        said(|_| vec![failed.clone()])
    }

    #[test]
    fn a_good_node_is_up_to_date() {
        let (state, why, lag) = reports(|_| {});
        assert_eq!((state, lag), (NodeState::Standby, Some(0)));
        assert_eq!(why, "It is on the newest block and takes over when the leader fails.");
    }

    #[test]
    fn a_node_that_downloads_is_neither_starting_up_nor_up_to_date() {
        let (state, why, lag) = reports(|report| {
            report.initial_download = true;
            report.headers = 884_201;
            report.progress = 0.3149;
        });
        assert_eq!((state, lag), (NodeState::Syncing, Some(472_201)));
        assert_eq!(
            why,
            "It is downloading the chain, 412000 of 884201 blocks, 31.4 %. Nothing to do but to \
             wait: this can take days."
        );
        // It may not know the headers yet.
        let (state, _, lag) = reports(|report| report.initial_download = true);
        assert_eq!((state, lag), (NodeState::Syncing, None));
        let (state, why, lag) = refuses(-10, "Bitcoin Core is in initial sync and waiting...");
        assert_eq!((state, lag), (NodeState::Syncing, None));
        assert!(why.starts_with("It is downloading the chain. Nothing to do"), "{why}");
    }

    #[test]
    fn a_node_without_peers_is_neither_starting_up_nor_up_to_date() {
        let words = "It has no peers: it hears of no new blocks. Check the node's internet \
                     connection, and connect= and onlynet= in its bitcoin.conf.";
        let lonely: [(NodeState, String, Option<u64>); 3] = [
            reports(|report| report.connections = Some(0)),
            refuses(-9, "Bitcoin Core is not connected!"),
            // Its download does not progress either.
            reports(|report| {
                report.connections = Some(0);
                report.initial_download = true;
            }),
        ];
        for said in lonely {
            assert_eq!(said, (NodeState::NoPeers, words.to_owned(), None));
        }
        // Without data there is no complaint.
        let (state, ..) = reports(|report| report.connections = None);
        assert_eq!(state, NodeState::Standby);
    }

    #[test]
    fn a_node_that_starts_says_so_and_is_not_up_to_date() {
        let (state, why, lag) = refuses(-28, "Loading block index…");
        assert_eq!((state, lag), (NodeState::Warming, None));
        assert!(why.starts_with("It is starting up: Loading block index. Nothing to do"), "{why}");
    }

    #[test]
    fn a_node_with_a_wrong_clock_says_which_way_and_what_to_do() {
        let (state, why, _) = reports(|report| {
            report.clock = report.clock.map(|clock| Reading { unix: clock.unix + 7380, ..clock });
        });
        assert_eq!(state, NodeState::WrongClock);
        assert_eq!(
            why,
            "It has a clock that is 2 h 3 min fast, so that others refuse its blocks. Let its \
             machine set the clock by the network; on Linux: timedatectl set-ntp true."
        );
        let (_, why, _) = reports(|report| {
            report.clock = report.clock.map(|clock| Reading { unix: clock.unix - 7380, ..clock });
        });
        assert!(why.contains("2 h 3 min slow, so that it refuses new blocks"), "{why}");
    }

    /// What is said of a node whose first calls fail for this reason.
    fn fails(error: RpcError) -> (NodeState, String) {
        let took = Duration::from_millis(1);
        let failed = |method| NodeEventKind::Failed { method, error: error.clone(), took };
        let (state, why, lag) = said(|_| vec![failed(Method::Health)]);
        assert_eq!(lag, None, "{why}");
        (state, why)
    }

    #[test]
    fn who_answers_is_not_called_silent() {
        use crate::node::fault::Login;
        for error in [
            RpcError::Unauthorized(Login::Password),
            RpcError::WebPage(200),
            RpcError::QueueFull,
            RpcError::UnknownName("x".into()),
        ] {
            let (state, why) = fails(error.clone());
            assert_eq!(state, NodeState::Unusable, "{why}");
            assert!(why.starts_with(&format!("It cannot be used now: {error}. ")), "{why}");
        }
        for error in [RpcError::Refused, RpcError::Timeout(Duration::from_secs(5))] {
            let (state, why) = fails(error.clone());
            assert_eq!(state, NodeState::Down, "{why}");
            assert!(why.starts_with(&format!("It has not answered yet: {error}. ")), "{why}");
        }
    }

    /// The only node of a test network, which leads although it downloads.
    #[test]
    fn a_leader_that_downloads_is_not_called_well() {
        let at = Instant::now() + Duration::from_secs(10_000);
        let report = HealthReport {
            chain: "regtest".into(),
            genesis: Some(Chain::Regtest.genesis()),
            initial_download: true,
            headers: 884_201,
            ..well(at)
        };
        let failover = Failover::new(
            Now { mono: at, unix: UNIX },
            Setup {
                nodes: vec![NodeSpec { id: NodeId(0), name: "n0".into() }],
                chains: vec![Chain::Regtest],
                grace: DEFAULT_GRACE,
                follow: Follow::Work,
            },
        );
        let view = failover.nodes(at).next().unwrap();
        let standing = Standing::Syncing;
        let view = NodeView {
            leads: true,
            standing: &standing,
            health: Some((&report, Duration::ZERO)),
            ..view
        };
        assert_eq!(state(&view), NodeState::Syncing);
        assert_eq!(lag_blocks(&view), Some(472_201));
        assert!(why(&view).contains("but it is still downloading the chain"), "{}", why(&view));
        // The same node, well: it leads by that name.
        let view = NodeView { standing: &Standing::Healthy, ..view };
        assert_eq!(state(&view), NodeState::Leading);
    }
}
