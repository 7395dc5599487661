//! The page's view of outside nodes.

use crate::clock::{Now, millis};
use crate::outside::{OutsidePeers, Settings, Taken};
use crate::status as view;

/// What is done with them, the connections, and whether the own nodes are behind them.
pub(super) fn view(now: Now, outside: &OutsidePeers, settings: &Settings) -> view::OutsideView {
    let unix = |at| now.date_of(at);
    let connections = outside.connections().map(|peer| view::OutsideNodeView {
        address: peer.address.to_string(),
        agent: peer.agent.map(str::to_owned),
        height: peer.height.map(u64::from),
        since: unix(peer.since),
    });
    view::OutsideView {
        setting: settings.outside,
        known: outside.known() as u64,
        named: settings.peers.len() as u64,
        by_proxy: settings.by_proxy,
        connections: connections.collect(),
        behind: outside.behind().map(|(behind, since)| view::BehindView {
            own: behind.own.into(),
            world: behind.world.into(),
            by: behind.by as u64,
            of: behind.of as u64,
            since: unix(since),
        }),
    }
}

/// Who took a block.
pub(super) fn taken(taken: Taken) -> view::OutsideTakenView {
    view::OutsideTakenView {
        asked: taken.asked as u64,
        shown: taken.shown as u64,
        asked_after_ms: taken.asked_after.map(millis),
        shown_after_ms: taken.shown_after.map(millis),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::chain::{BlockHash, Chain};
    use crate::difficulty::NBits;
    use crate::failover::BestTip;
    use crate::outside::{Input, Output};
    use crate::p2p::Event;
    use crate::peer_address::{NamedPeer, Outside, PeerHost};

    #[test]
    fn a_connection_and_a_chain_that_is_ahead_are_shown_with_their_times() {
        let start = Instant::now();
        let at = |second| Now { mono: start + Duration::from_secs(second), unix: 1000 + second };
        let named = |host| NamedPeer { host: PeerHost::read(host), port: None };
        let settings = Settings {
            outside: Outside::Watch,
            peers: vec![named("77.1.2.3"), named("node.example")],
            by_proxy: true,
            seeds: false,
        };
        let (mut outside, mut out) = (OutsidePeers::default(), Vec::new());
        outside.handle(at(0), Input::Settings(settings.clone()), &mut out);
        outside.handle(at(0), Input::Chain(Chain::Main), &mut out);
        let tip = |byte, height| {
            let hash = BlockHash([byte; 32]);
            Input::Tip(BestTip { hash, height, headers: height, time: None })
        };
        outside.handle(at(0), tip(7, 100), &mut out);
        let [Output::Connect { id, .. }, ..] = out[..] else { panic!("{out:?}") };
        let agent = "/<script>:1/".to_owned();
        let ready = Event::Ready { agent, version: 70016, services: 9, took: Duration::ZERO };
        let ahead = Event::Tip {
            hash: BlockHash([9; 32]),
            height: Some(103),
            median_time: None,
            time: 0,
            bits: NBits(0x1d00_ffff),
        };
        for event in [ready, ahead] {
            outside.handle(at(1), Input::Peer(id, event), &mut out);
        }
        let early = view(at(30), &outside, &settings);
        assert_eq!((early.setting, early.known, early.named), (Outside::Watch, 0, 2));
        assert!(early.by_proxy && early.behind.is_none());
        let first = view::OutsideNodeView {
            address: "77.1.2.3:8333".to_owned(),
            agent: Some("/<script>:1/".to_owned()),
            height: Some(103),
            since: 1000,
        };
        assert_eq!(early.connections[0], first);
        outside.handle(at(61), Input::Tick, &mut out);
        let behind = view::BehindView { own: 100, world: 103, by: 1, of: 1, since: 1001 };
        assert_eq!(view(at(90), &outside, &settings).behind, Some(behind));
        // The second was begun then, and has said nothing.
        let second = &view(at(90), &outside, &settings).connections[1];
        let name = second.address.as_str();
        assert_eq!((name, &second.agent, second.height), ("node.example:8333", &None, None));
        assert_eq!(second.since, 1061);
        outside.handle(at(91), tip(9, 103), &mut out);
        assert_eq!(view(at(91), &outside, &settings).behind, None);
    }

    #[test]
    fn who_took_a_block_is_told_in_milliseconds() {
        let two = Taken {
            asked: 3,
            shown: 2,
            asked_after: Some(Duration::from_millis(2300)),
            shown_after: None,
        };
        let shown = view::OutsideTakenView {
            asked: 3,
            shown: 2,
            asked_after_ms: Some(2300.0),
            shown_after_ms: None,
        };
        assert_eq!(taken(two), shown);
    }
}
