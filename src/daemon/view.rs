//! The state for the page, as a [`Snapshot`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bitcoin::consensus::encode::deserialize_partial;

use crate::block::StoredState;
use crate::block::submission::{BlockState, MATURITY};
use crate::chain::{BlockHash, Chain};
use crate::clock::{Now, millis};
use crate::config::NodeConfig;
use crate::engine::{PeerState, stored};
use crate::failover::{self, NewsBy};
use crate::ids::NodeId;
use crate::job::Job;
use crate::ledger::record::FoundBlock;
use crate::ledger::totals::Storage;
use crate::node::{Method, Permissions};
use crate::os;
use crate::peer_address::{PeerAddress, PeerHost};
use crate::settings::PendingPayout;
use crate::signal;
use crate::status::miners::{Miners, history, own_name, totals, watts};
use crate::status::{self as view, Snapshot};
use crate::stratum::session::Session;
use crate::{address, coinbase};

use super::nodes::Node;
use super::timings::STEPS;
use super::{State, outside, standing, strangers};

impl State {
    pub(super) fn snapshot(&self, now: Now) -> Snapshot {
        let devices = self.device_views(now);
        let mut miners = self.miner_views(now);
        view::devices::claim(&mut miners, &devices);
        let electricity = &self.config.devices;
        let currency = electricity.currency.as_deref().unwrap_or_default();
        Snapshot {
            now: now.unix,
            name: self.config.http.name.clone(),
            chain: self.engine.chain(now).map_or_else(String::new, |chain| chain.name().to_owned()),
            configured: self.config.is_set_up(),
            started_at: now.date_of(self.started.mono),
            build: self.build_view(),
            connect: self.connect_view(),
            payout: self.payout_view(now),
            job: self.job_view(now),
            network: self.network_view(now),
            nodes: self.node_views(now),
            outside: strangers::view(now, self.engine.outside(), &outside::settings(&self.config)),
            failovers: self.counters.failovers,
            power: view::devices::power(&devices, electricity.price_per_kwh, currency),
            miners,
            devices,
            knocking: self.refused_peer_views(now),
            totals: totals(&self.ledger.core, now, self.heaviest_share()),
            history: self.history_view(now),
            best_shares: self.best_views(),
            blocks: self.block_views(now),
            alarms: self.alarms(now),
            snoozed: self.snoozes.views(now),
            events: self.news.iter().cloned().collect(),
            board: self.board_view(now),
            process: self.process_view(),
            stratum: self.stratum_view(now),
            page: self.doors.page_view(now),
            templates: self.templates_view(),
            storage: self.storage_view(),
            sinks: self.notifications.views(),
            mqtt: self.mqtt_view(now),
            update: self.update_view(now),
            audit: self.audit_views(),
            canary: self.canary.view(),
            pair: self.pair_view(now),
            pair_change: self.pair_change(now),
        }
    }

    /// Whether miners may be sent here, as `/health/ready` answers.
    pub(super) fn is_ready(&self, now: Now) -> bool {
        let parts = Snapshot {
            job: self.job_view(now),
            nodes: self.node_views(now),
            board: self.board_view(now),
            storage: self.storage_view(),
            canary: self.canary.view(),
            ..Snapshot::default()
        };
        view::health::Ready::of(&parts).all()
    }

    fn alarms(&self, now: Now) -> Vec<view::AlarmView> {
        let mut alarms: Vec<view::AlarmView> =
            self.nodes.iter().filter_map(|(_, node)| node.zmq_alarm(now)).collect();
        let source = self.owner.source.as_ref();
        if let Some((source, why)) = source.and_then(|s| Some((s, s.instead_why.as_ref()?))) {
            alarms.push(view::AlarmView {
                id: view::AlarmKind::SettingsNotUsed.name().into(),
                kind: view::AlarmKind::SettingsNotUsed,
                about: view::About::Box,
                level: view::Level::Critical,
                text: format!(
                    "Soloist runs with the settings that last worked, not with those of {}: {why}",
                    source.file.display()
                ),
                advice:
                    "Correct that file, and restart or reload Soloist. Look whom a block pays now."
                        .into(),
                since: Some(now.date_of(self.started.mono)),
            });
        }
        alarms.extend(self.behind_alarm(now));
        alarms
    }

    fn behind_alarm(&self, now: Now) -> Option<view::AlarmView> {
        let (behind, since) = self.engine.outside().behind()?;
        Some(view::AlarmView {
            id: view::AlarmKind::BehindWorld.name().into(),
            kind: view::AlarmKind::BehindWorld,
            about: view::About::Node,
            level: view::Level::Critical,
            text: self.engine.behind_words(now, behind),
            advice: "Check the node's internet connection, its peers, its free disk space and its \
                     log, and restart it: what is mined meanwhile is on an old block."
                .into(),
            since: Some(now.date_of(since)),
        })
    }

    fn build_view(&self) -> view::BuildView {
        view::BuildView {
            version: env!("CARGO_PKG_VERSION").into(),
            // The image's builder sets both; a build by hand has neither.
            commit: option_env!("SOLOIST_COMMIT").unwrap_or_default().into(),
            built_at: option_env!("SOURCE_DATE_EPOCH").and_then(|at| at.parse().ok()),
            image: os::image_version().map(str::to_owned),
            hash_engine: crate::hash::Backend::active().name().into(),
        }
    }

    fn connect_view(&self) -> view::ConnectView {
        let (mut own, listen) = (os::addresses(), self.server.addresses());
        // The address that two boxes share is here today, and there tomorrow.
        own.retain(|ip| Some(*ip) != self.shared_address());
        let texts = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect();
        let (addresses, port) = covered(&own, &listen);
        // The name leads to every address of the box.
        let is_everywhere =
            listen.iter().any(|listen| listen.port() == port && listen.ip().is_unspecified());
        let name = os::hostname().filter(|_| is_everywhere);
        if let Some(place) = self.reached() {
            // Behind `reached_at`, nobody outside sees the machine's own addresses, nor do we see by which the
            // page is opened.
            let is_outside = self.config.stratum.reached_at.is_some();
            return view::ConnectView {
                page: page(&own, &self.config.http.listen).filter(|_| !is_outside),
                machine: texts(&own),
                addresses: vec![place.host.to_string()],
                hostname: None,
                port: place.port,
                v2: self.v2_view(Some(place.to_string())),
                http_port: self.config.http.listen.first().map_or(0, |address| address.port()),
            };
        }
        view::ConnectView {
            page: page(&own, &self.config.http.listen),
            machine: texts(&own),
            addresses: texts(&addresses),
            hostname: name.map(|name| format!("{name}.local")),
            port,
            v2: self.v2_view(addresses.first().map(|ip| SocketAddr::new(*ip, port).to_string())),
            http_port: self.config.http.listen.first().map_or(0, |address| address.port()),
        }
    }

    /// How miners reach this box, where that is not by an address of its own: the owner says so, or two boxes
    /// share one.
    pub(super) fn reached(&self) -> Option<PeerAddress> {
        let shared = self
            .shared_address()
            .map(|ip| PeerAddress { host: PeerHost::Ip(ip), port: self.stratum_port(ip) });
        self.config.stratum.reached_at.clone().or(shared)
    }

    /// The address that the boxes of a pair share.
    pub(super) fn shared_address(&self) -> Option<IpAddr> {
        let pair = &self.config.pair;
        pair.partner.and(pair.virtual_address).map(|shared| shared.ip)
    }

    /// `at` is where others reach the port.
    fn v2_view(&self, at: Option<String>) -> Option<view::V2View> {
        let authority_key = self.authority_key()?.text();
        let url = at.map(|at| format!("stratum2+tcp://{at}/{authority_key}"));
        Some(view::V2View { authority_key, url })
    }

    fn payout_view(&self, now: Now) -> view::PayoutView {
        let address = &self.config.payout.address;
        view::PayoutView {
            address: self.owners_address(),
            kind: address.as_ref().map_or_else(String::new, |address| address.kind().to_string()),
            per_miner: self.config.payout.per_miner,
            pending: self.pending_payout(now),
        }
    }

    /// A worker's name for people: the owner knows the own address.
    pub(super) fn shown_name(&self, name: &str) -> String {
        own_name(name, &self.owners_address(), &self.ledger.core).to_owned()
    }

    /// Empty before the set-up.
    pub(super) fn owners_address(&self) -> String {
        self.config.payout.address.as_ref().map_or_else(String::new, ToString::to_string)
    }

    fn job_view(&self, now: Now) -> Option<view::JobView> {
        let job: &Job = self.engine.pool().jobs().latest()?;
        let work = &job.work;
        let template = &work.template;
        let signals = &self.config.payout.signals();
        let bits = work.version() & signal::SIGNAL_BITS;
        let owner = self.config.payout.address.as_ref()?.script();
        let chain = self.engine.chain(now);
        let extranonce = [0; coinbase::EXTRANONCE_SIZE];
        // Decoded from the bytes that miners hash, by another implementation than the one that made
        // them.
        let bytes = work.coinbase.without_witness(&extranonce);
        let tx: Option<bitcoin::Transaction> = bitcoin::consensus::deserialize(&bytes).ok();
        let outputs: Vec<view::OutputView> = tx
            .iter()
            .flat_map(|tx| &tx.output)
            .map(|output| {
                let script = output.script_pubkey.as_bytes();
                view::OutputView {
                    address: chain.and_then(|chain| address::of_script(script, chain)),
                    sat: output.value.to_sat(),
                    owner: script == owner,
                }
            })
            .collect();
        let sum = |owners: bool| -> u64 {
            outputs.iter().filter(|output| output.owner || !owners).map(|output| output.sat).sum()
        };
        Some(view::JobView {
            id: job.id.to_string(),
            height: template.height.into(),
            parent: template.prev.to_string(),
            sent_at: now.date_of(self.engine.pool().last_notify().unwrap_or(now.mono)),
            template_at: now.date_of(work.received),
            template_age_s: now.mono.saturating_duration_since(work.received).as_secs_f64(),
            node: self.nodes.name(work.node),
            to_owner_sat: sum(true),
            value_sat: sum(false),
            outputs,
            subsidy_sat: template.value.saturating_sub(template.fees()),
            transactions: template.txs.len() as u64 + 1,
            coinbase_bytes: bytes.len() as u64,
            tag: self.config.payout.tag.as_str().to_owned(),
            difficulty: template.target.difficulty().0,
            version: work.version(),
            signals: signal::numbers(bits)
                .map(|bit| view::SignalView {
                    bit,
                    name: template.version_bits.name(bit).map(str::to_owned),
                    owner: signals.set >> bit & 1 == 1,
                })
                .collect(),
            signals_demanded: signal::numbers(signals.overruled(template)).collect(),
            kept_until: self
                .engine
                .failover()
                .kept_until()
                .map(|until| now.unix + until.saturating_duration_since(now.mono).as_secs()),
            carried_by_p2p: self.engine.failover().carried_by_p2p().map(|id| self.nodes.name(id)),
        })
    }

    fn network_view(&self, now: Now) -> view::NetworkView {
        let work = self.engine.pool().jobs().work();
        let leader = self.engine.failover().leader();
        let health = self
            .engine
            .failover()
            .nodes(now.mono)
            .find(|node| Some(node.id) == leader)
            .and_then(|node| node.health.map(|(report, _)| report.clone()));
        view::NetworkView {
            height: work.map(|work| u64::from(work.template.height) - 1),
            tip: work.map(|work| work.template.prev.to_string()),
            tip_at: health.map(|report| report.tip_time).filter(|at| *at > 0),
            difficulty: work.map(|work| work.template.target.difficulty().0),
        }
    }

    fn node_views(&self, now: Now) -> Vec<view::NodeView> {
        // On a test network the miners set the time as they like.
        let is_main = self.engine.chain(now) == Some(Chain::Main);
        let clocks = self.engine.failover().clocks(now.mono).filter(|_| is_main);
        let nodes = self.engine.failover().nodes(now.mono).enumerate();
        let views = nodes.map(|(index, node)| {
            let clock = clocks.as_ref().and_then(|clocks| clocks.nodes[index]);
            view::NodeView { clock: clock.map(clock_view), ..self.node_view(now, &node) }
        });
        views.collect()
    }

    fn node_view(&self, now: Now, node: &failover::NodeView<'_>) -> view::NodeView {
        let held = self.nodes.get(node.id);
        let config = held.map(|node| &node.config);
        let health = node.health.map(|(report, _)| report);
        view::NodeView {
            name: node.name.to_owned(),
            address: config
                .and_then(NodeConfig::place)
                .map_or_else(String::new, |(host, port)| format!("{host}:{port}")),
            leads: node.leads,
            state: standing::state(node),
            why: standing::why(node),
            cause: node.reason.as_ref().map_or("", |reason| reason.label()).to_owned(),
            reason: node.reason.as_ref().map_or_else(String::new, ToString::to_string),
            remedy: node.hint.clone().unwrap_or_default(),
            answered_at: held.and_then(|node| node.answered_at).map(|at| now.date_of(at)),
            rpc_lost: held.map(|node| node.rpc_lost).unwrap_or_default(),
            zmq_lost: held.map(|node| node.zmq_lost).unwrap_or_default(),
            height: node.height.or(health.map(|report| report.blocks)),
            headers: health.map(|report| report.headers),
            tip: node.tip.map(|tip| tip.to_string()),
            lag_blocks: standing::lag_blocks(node),
            dispute: node.dispute.map(|dispute| view::DisputeView {
                height: dispute.height,
                block: dispute.block.to_string(),
                exact: dispute.exact,
                refuser: dispute.refuser.clone(),
                follower: dispute.follower.clone(),
                since: now.date_of(dispute.since),
            }),
            initial_download: health.is_some_and(|report| report.initial_download),
            progress: health.map(|report| report.progress),
            sync_eta_s: held.and_then(Node::sync_eta_s),
            peers: health.and_then(|report| report.connections),
            peers_in: health.and_then(|report| report.facts.connections_in),
            peers_out: health.and_then(|report| report.facts.connections_out),
            pruned: health.and_then(|report| report.facts.pruned),
            size_on_disk: health.and_then(|report| report.facts.size_on_disk),
            local_relay: health.and_then(|report| report.local_relay),
            clock: None,
            version: health.and_then(|report| report.version.clone()).unwrap_or_default(),
            warnings: health.map_or_else(String::new, |report| report.warnings.clone()),
            latency_ms: node.template_takes.map(|took| took.as_secs_f64() * 1e3),
            zmq: match (config.and_then(|c| c.zmq.as_ref()), held.is_some_and(|n| n.zmq_heard)) {
                (None, _) => view::ZmqNews::Off,
                (Some(_), false) => view::ZmqNews::Waiting,
                (Some(_), true) => view::ZmqNews::Live,
            },
            zmq_state: held.and_then(|node| node.zmq),
            news: match node.news_by {
                NewsBy::Zmq => view::NewsView::Zmq,
                NewsBy::P2p => view::NewsView::P2p,
                NewsBy::Wait => view::NewsView::Waiting,
                NewsBy::Soon { crowded: false } => view::NewsView::Asking,
                NewsBy::Soon { crowded: true } => view::NewsView::Crowded,
                NewsBy::Poll => view::NewsView::Polled,
            },
            zmq_address: config.and_then(|config| config.zmq.clone()),
            tip_wins: node.race.wins.iter().sum(),
            p2p: self.p2p_view(node.id),
            rehearsal: self.engine.rehearsals().verdict(now, node.id),
            permissions: node.permissions.map(permissions_view),
            last_error: node.last_error.map(|(error, age)| view::NodeErrorView {
                at: now.unix.saturating_sub(age.as_secs()),
                method: "RPC".into(),
                words: error.to_string(),
            }),
            calls: node.stats.iter().map(|(method, stats)| call_view(*method, stats)).collect(),
            errors: error_views(node.stats.values()),
        }
    }

    fn p2p_view(&self, node: NodeId) -> Option<view::P2pView> {
        let address = self.nodes.get(node)?.peer.as_ref()?.place().to_owned();
        let (state, why) = match self.engine.peers().state(node)? {
            PeerState::Ready { same: Some(true) } => (view::P2pState::Own, String::new()),
            PeerState::Ready { same: Some(false) } => (view::P2pState::Other, String::new()),
            PeerState::Connecting | PeerState::Ready { same: None } => {
                (view::P2pState::Connecting, String::new())
            }
            PeerState::Down(why) => (view::P2pState::Down, why.to_string()),
        };
        Some(view::P2pView { address, state, why })
    }

    /// The address of a script; without a script the owner's address. Before a node has told its
    /// chain, the owner's address decides the form.
    pub(super) fn paid(&self, now: Now, script: Option<&[u8]>) -> String {
        let owner = self.config.payout.address.as_ref();
        let chain = self.engine.chain(now).or_else(|| owner?.chain());
        let address = script.and_then(|script| address::of_script(script, chain?));
        address.unwrap_or_else(|| self.owners_address())
    }

    fn miner_views(&self, now: Now) -> Vec<view::MinerView> {
        self.server.read_round_trips();
        let miners = Miners {
            now,
            ledger: &self.ledger.core,
            pool: self.engine.pool(),
            workers: &self.ledger.workers,
            latest: &self.ledger.latest,
            connects: &self.ledger.connects,
            owner: &self.owners_address(),
            chain: self.engine.chain(now),
            payees: &self.timings.payees,
            round_trip: &|conn| self.server.round_trip(conn),
            is_encrypted: &|conn| self.server.is_encrypted(conn),
        };
        miners.views()
    }

    fn pending_payout(&self, now: Now) -> Option<PendingPayout> {
        let changes = self.engine.changes();
        let wait = changes.payout_due()?.saturating_duration_since(now.mono);
        let due_at = now.unix.saturating_add(wait.as_secs());
        Some(PendingPayout { due_at, ..changes.pending()?.clone() })
    }

    fn refused_peer_views(&self, now: Now) -> Vec<view::RefusedPeerView> {
        self.refused_peers
            .iter()
            .map(|refused| view::RefusedPeerView {
                at: now.date_of(refused.at),
                address: refused.peer.to_string(),
                why: refused.why.to_owned(),
                times: refused.times,
            })
            .collect()
    }

    /// The share that weighs most of those that are awaited; 0 for none.
    fn heaviest_share(&self) -> f64 {
        let here = self.ledger.workers.keys().filter_map(|conn| self.engine.pool().session(*conn));
        here.filter_map(Session::difficulty).map(|difficulty| difficulty.0).fold(0.0, f64::max)
    }

    fn history_view(&self, now: Now) -> view::HistoryView {
        let marks = self.marks(now, |_| true);
        let heat = watts(&self.ledger.core, now);
        view::HistoryView { marks, heat, ..history(self.ledger.core.total(), now) }
    }

    /// The history of one miner; `None` where there is none of this id.
    pub(super) fn miner_history(&self, now: Now, id: &str) -> Option<view::HistoryView> {
        let worker = self.ledger.core.get(self.worker_of(id)?)?;
        let marks = self.marks(now, |block| block.worker == worker.number);
        Some(view::HistoryView { marks, ..history(worker, now) })
    }

    fn best_views(&self) -> Vec<view::BestShareView> {
        let ledger = &self.ledger.core;
        ledger
            .bests()
            .iter()
            .map(|best| view::BestShareView {
                difficulty: best.difficulty,
                at: best.unix,
                miner: self.shown_name(ledger.name(best.worker)),
                height: best.height.into(),
                network_difficulty: ledger.network_difficulty(),
            })
            .collect()
    }

    fn block_views(&self, now: Now) -> Vec<view::BlockView> {
        let mut reads = 1;
        let blocks = self.ledger.core.blocks().rev();
        blocks.map(|block| self.block_view(now, block, &mut reads)).collect()
    }

    fn block_view(&self, now: Now, block: &FoundBlock, reads: &mut u32) -> view::BlockView {
        let coinbase = self.coinbase(block.hash, reads);
        let live = self.engine.blocks().state(block.hash);
        let is_beside = live == Some(BlockState::Beside);
        // The ledger's state counts for blocks that are final.
        let state = live.map_or_else(|| block.state.clone(), |live| stored(&live));
        let (state, confirmations, reason) = match state {
            StoredState::Candidate if is_beside => (view::BlockState::Beside, None, None),
            StoredState::Candidate => (view::BlockState::Candidate, None, None),
            StoredState::Accepted { .. } => (view::BlockState::Accepted, None, None),
            StoredState::Confirmed { confirmations } => {
                (view::BlockState::Accepted, Some(u64::from(confirmations)), None)
            }
            StoredState::Mature => (view::BlockState::Mature, Some(u64::from(MATURITY)), None),
            StoredState::Stale => (view::BlockState::Orphaned, None, None),
            StoredState::Rejected { reason } => (view::BlockState::Refused, None, Some(reason)),
        };
        view::BlockView {
            hash: block.hash.to_string(),
            height: block.height.into(),
            at: block.unix,
            miner: self.shown_name(&block.name),
            state,
            state_at: block.state_unix,
            confirmations,
            reason,
            value_sat: block.reward,
            address: match &coinbase {
                None if !block.payee.is_empty() => block.payee.clone(),
                coinbase => self.paid(now, coinbase.as_ref().map(|(_, script)| script.as_slice())),
            },
            hex: coinbase.is_some(),
            txid: coinbase.map(|(txid, _)| txid).unwrap_or_default(),
            share_difficulty: block.difficulty,
            network_difficulty: block.network_difficulty,
            accepted_after_ms: self.engine.blocks().accepted_after(block.hash).map(millis),
            answers: self.engine.blocks().answers(block.hash).to_vec(),
            outside: self.engine.outside().taken(block.hash).map(strangers::taken),
        }
    }

    /// The id of a found block's coinbase and the script that it pays; `None` if the block is not
    /// kept. Blocks of earlier runs are on the card; at most `reads` of them are read.
    fn coinbase(&self, hash: BlockHash, reads: &mut u32) -> Option<(String, Vec<u8>)> {
        let mut known = self.timings.coinbases.borrow_mut();
        if let Some(coinbase) = known.get(&hash) {
            return coinbase.clone();
        }
        if let Some(block) = self.engine.blocks().live(hash) {
            let coinbase = coinbase_of(&block.bytes);
            known.insert(hash, coinbase.clone());
            return coinbase;
        }
        *reads = reads.checked_sub(1)?;
        // Until it is read.
        known.insert(hash, None);
        let (read, queue) = (self.blocks.read(hash), self.queue.clone());
        let tell = async move {
            let coinbase = read.await.ok().and_then(|block| coinbase_of(&block));
            queue.send(super::Event::Coinbase(hash, coinbase)).await.ok();
        };
        self.executor.spawn(tell).detach();
        None
    }

    fn board_view(&self, now: Now) -> view::BoardView {
        let clock = self.engine.failover().clocks(now.mono).and_then(|clocks| clocks.this_box);
        view::BoardView {
            own_written_day: self.housekeeping.own_written_day(),
            clock_offset_s: clock.map(|clock| clock.ahead as f64),
            clock_odd: clock.is_some_and(|clock| clock.odd),
            ..self.timings.reading.board.clone()
        }
    }

    fn process_view(&self) -> view::ProcessView {
        view::ProcessView {
            loop_lag_p99_ms: self.timings.lag_p99().map(millis),
            loop_lag_max_ms: self.timings.lag_max.map(millis),
            ..self.timings.reading.process
        }
    }

    fn stratum_view(&self, now: Now) -> view::StratumView {
        view::StratumView {
            connections: self.server.connections().saturating_sub(self.canary.is_here().into())
                as u64,
            connections_max: self.config.stratum.max_connections as u64,
            accepted_total: self.counters.connections,
            dropped: self.doors.miners_dropped(),
            made_room: self.doors.miners_made_room(now),
            taken_up: self.handover.taken_up(),
            not_taken_up: self.handover.not_taken_up(),
            handshake_failures: self.counters.handshake_failures,
            shares_accepted: self.counters.accepted,
            rejects_by_class: self.timings.rejects(),
            notify_fanout: view::HistogramView::of(&self.timings.fanout),
            share_answer: view::HistogramView::of(&self.timings.share_answer),
            shares_expected: Some(self.timings.shares_expected),
        }
    }

    fn templates_view(&self) -> view::TemplatesView {
        view::TemplatesView {
            taken: self.counters.templates,
            jobs: self.counters.jobs,
            tips: self.counters.tips,
            tip_to_job: view::HistogramView::of(&self.timings.tip_to_job),
            steps: STEPS
                .iter()
                .zip(&self.timings.steps)
                .map(|(step, took)| view::StepView {
                    step: (*step).into(),
                    took: view::HistogramView::of(took),
                })
                .collect(),
        }
    }

    fn storage_view(&self) -> view::StorageView {
        let error = match (self.ledger.core.storage(), &self.blocks.trouble) {
            (_, Some(why)) => why.clone(),
            (Storage::Failing { why, .. }, _) => why.clone(),
            (Storage::Loading { why: Some(why) }, _) => why.clone(),
            _ => String::new(),
        };
        view::StorageView {
            writable: match self.ledger.core.storage() {
                Storage::Ready => Some(true),
                Storage::Failing { .. } | Storage::Loading { why: Some(_) } => Some(false),
                Storage::Loading { why: None } | Storage::Closed => None,
            },
            error,
            spool_waiting: self.engine.blocks().waiting() as u64,
            size_bytes: self.timings.reading.ledger_bytes,
            backup_at: self.timings.reading.snapshot_at,
            copy_to: self
                .config
                .data
                .copy_to
                .as_ref()
                .map(|place| place.display().to_string())
                .unwrap_or_default(),
            copy_at: self.housekeeping.copied_at,
            copy_error: self.housekeeping.copy_error.clone(),
        }
    }
}

/// Those of our `own` addresses at which others reach a listener, and its port: that of the first one
/// that can be reached at all.
fn covered(own: &[IpAddr], listen: &[SocketAddr]) -> (Vec<IpAddr>, u16) {
    let covers = |listen: &SocketAddr, ip: &IpAddr| {
        listen.ip() == *ip || (listen.ip().is_unspecified() && listen.is_ipv4() == ip.is_ipv4())
    };
    let reached = listen.iter().find(|listen| own.iter().any(|ip| covers(listen, ip)));
    let Some(port) = reached.or(listen.first()).map(SocketAddr::port) else {
        return (Vec::new(), 0);
    };
    let is_covered =
        |ip: &&IpAddr| listen.iter().any(|listen| listen.port() == port && covers(listen, ip));
    (own.iter().filter(is_covered).copied().collect(), port)
}

/// Where others open the page.
fn page(own: &[IpAddr], listen: &[SocketAddr]) -> Option<String> {
    let (reached, port) = covered(own, listen);
    Some(url(*reached.first()?, port))
}

fn url(ip: IpAddr, port: u16) -> String {
    match port {
        80 if ip.is_ipv4() => format!("http://{ip}/"),
        80 => format!("http://[{ip}]/"),
        port => format!("http://{}/", SocketAddr::new(ip, port)),
    }
}

/// Where the page is opened: one URL for each of its ports, for this machine alone where nobody else
/// reaches it.
pub(super) fn pages(own: &[IpAddr], listen: &[SocketAddr]) -> Vec<String> {
    let mut ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let page_at = |port: u16| {
        let at_port: Vec<SocketAddr> =
            listen.iter().copied().filter(|listen| listen.port() == port).collect();
        let ip =
            covered(own, &at_port).0.first().copied().or(at_port.first().map(SocketAddr::ip))?;
        let ip = if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip };
        Some(url(ip, port))
    };
    ports.into_iter().filter_map(page_at).collect()
}

fn error_views<'a>(all: impl Iterator<Item = &'a failover::MethodStats>) -> Vec<view::CountView> {
    let mut counts = [0; failover::ErrorKind::COUNT];
    for stats in all {
        counts.iter_mut().zip(stats.errors).for_each(|(sum, count)| *sum += count);
    }
    failover::ErrorKind::ALL
        .iter()
        .zip(counts)
        .map(|(kind, count)| view::CountView { what: kind.label().into(), count })
        .collect()
}

fn permissions_view(permissions: &Permissions) -> view::PermissionsView {
    let refused = permissions.refused();
    view::PermissionsView {
        refused: refused.into_iter().map(|command| command.name().to_owned()).collect(),
        words: permissions.refusal_in_full().unwrap_or_default(),
        remedy: permissions.remedy().unwrap_or_default(),
        shortage: permissions.shortage().unwrap_or_default(),
    }
}

fn call_view(method: Method, stats: &failover::MethodStats) -> view::CallView {
    view::CallView {
        method: method_name(method).into(),
        errors: stats.errors.iter().sum(),
        latency: view::HistogramView::of(&stats.latency),
    }
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::GetBlockTemplate => "getblocktemplate",
        Method::Proposal => "proposal",
        Method::SubmitBlock => "submitblock",
        Method::GetBestBlockHash => "getbestblockhash",
        Method::WaitForNewBlock => "waitfornewblock",
        Method::Health => "health",
        Method::GetBlockHeader => "getblockheader",
        Method::PreciousBlock => "preciousblock",
        Method::Permissions => "permissions",
        Method::GetChainTips => "getchaintips",
        Method::GetBlockHash => "getblockhash",
        Method::GetNodeAddresses => "getnodeaddresses",
    }
}

/// The id of a block's first transaction (BIP 141: without witness). `None` if the bytes are no
/// block.
pub(super) fn coinbase_of(block: &[u8]) -> Option<(String, Vec<u8>)> {
    // A header of 80 bytes, then the number of transactions.
    let rest = block.get(80..)?;
    let (_, count): (bitcoin::VarInt, usize) = deserialize_partial(rest).ok()?;
    let (coinbase, _): (bitcoin::Transaction, usize) = deserialize_partial(&rest[count..]).ok()?;
    let script = coinbase.output.first()?.script_pubkey.to_bytes();
    Some((coinbase.compute_txid().to_string(), script))
}

fn clock_view(clock: failover::Comparison) -> view::ClockView {
    view::ClockView { offset_s: clock.ahead as f64, odd: clock.odd }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_listen_covers_are_recommended() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [ip("192.168.1.20"), ip("10.8.0.2"), ip("100.64.0.7"), ip("fd00::20")];
        let check = |listen: &[&str]| {
            let listen: Vec<SocketAddr> = listen.iter().map(|at| at.parse().unwrap()).collect();
            let (covered, port) = covered(&own, &listen);
            let covered: Vec<String> = covered.iter().map(ToString::to_string).collect();
            (covered.join(" "), port, pages(&own, &listen).join(" "))
        };
        let told = |covered: &str, port, pages: &str| (covered.to_owned(), port, pages.to_owned());
        let everywhere = ["0.0.0.0:3333", "[::]:3333"];
        let all = "192.168.1.20 10.8.0.2 100.64.0.7 fd00::20";
        assert_eq!(check(&everywhere), told(all, 3333, "http://192.168.1.20:3333/"));
        let v4 = "192.168.1.20 10.8.0.2 100.64.0.7";
        assert_eq!(check(&["0.0.0.0:80"]), told(v4, 80, "http://192.168.1.20/"));
        assert_eq!(check(&["[::]:80"]), told("fd00::20", 80, "http://[fd00::20]/"));
        assert_eq!(check(&["10.8.0.2:81"]), told("10.8.0.2", 81, "http://10.8.0.2:81/"));
        // Each port has addresses of its own; one that nobody reaches is none.
        let two = ["127.0.0.1:80", "10.8.0.2:81", "192.168.1.20:82"];
        let pages = "http://127.0.0.1/ http://10.8.0.2:81/ http://192.168.1.20:82/";
        assert_eq!(check(&two), told("10.8.0.2", 81, pages));
        let two: Vec<SocketAddr> = two.iter().map(|at| at.parse().unwrap()).collect();
        assert_eq!(page(&own, &two).as_deref(), Some("http://10.8.0.2:81/"));
        assert_eq!(page(&own, &two[..1]), None, "for this machine alone");
        assert_eq!(check(&["127.0.0.1:80"]), told("", 80, "http://127.0.0.1/"));
        assert_eq!(check(&["192.168.9.9:80"]).0, "", "no address of ours any more");
        assert_eq!(check(&[]), told("", 0, ""));
    }
}
