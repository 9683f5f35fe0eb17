//! A network that breaks the contract of the trait: what it reports has no effect, and an error
//! names the rule.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, Rule, VoiceEngine};
use voicemesh_session::network::{
    Delivery, Destination, DisconnectReason, LinkId, Network, NetworkError, NetworkEvent,
    Reliability,
};
use voicemesh_wire::limits::RELIABLE_PACKET_BYTES;
use voicemesh_wire::packet::{CodecSettings, HandshakeRequest};

/// What it takes to join and to serve here: types that only this network has.
struct Seat(u16);
struct Table(u8);

/// A network that reports what it is given.
#[derive(Default)]
struct Scripted {
    events: VecDeque<NetworkEvent<u8>>,
    /// Reported again at every poll.
    endless: Option<NetworkEvent<u8>>,
    polls: usize,
    /// Takes nothing that must arrive.
    refuses: bool,
    calls: Vec<&'static str>,
    /// Seats that were asked for, and tables that were served at.
    asked_for: (Vec<u16>, Vec<u8>),
    sent: usize,
    flushes: usize,
}

impl Network for Scripted {
    type Peer = u8;
    type ClientParameters = Seat;
    type ServerParameters = Table;

    fn initialise(&mut self) {
        self.calls.push("initialise");
    }

    fn connect(&mut self, _: Duration, Seat(seat): Seat) -> Result<(), NetworkError> {
        self.calls.push("connect");
        self.asked_for.0.push(seat);
        Ok(())
    }

    fn disconnect(&mut self, _: Duration) {
        self.calls.push("disconnect");
    }

    fn host(&mut self, _: Duration, Table(table): Table) -> Result<(), NetworkError> {
        self.calls.push("host");
        self.asked_for.1.push(table);
        Ok(())
    }

    fn stop_hosting(&mut self, _: Duration) {
        self.calls.push("stop_hosting");
    }

    fn poll(&mut self, _: Duration) -> Option<NetworkEvent<u8>> {
        self.polls += 1;
        self.events.pop_front().or_else(|| self.endless.clone())
    }

    fn send_to_server(
        &mut self,
        _: Duration,
        reliability: Reliability,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        match reliability {
            Reliability::Reliable if self.refuses => Err(NetworkError::ReliabilityBroken),
            Reliability::Reliable | Reliability::Unreliable => Ok(()),
        }
    }

    fn send_to_client(
        &mut self,
        _: Duration,
        _: u8,
        _: Delivery,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        self.sent += 1;
        Err(NetworkError::NotConnected)
    }

    fn flush(&mut self, _: Duration) {
        self.flushes += 1;
    }

    /// Invents a destination.
    fn send_to_links(
        &mut self,
        _: Duration,
        to: &mut Vec<Destination<u8>>,
        _: Reliability,
        _: &Bytes,
    ) {
        to.extend_from_within(..);
    }
}

fn engine(mode: Mode) -> EngineOnNetwork<Scripted> {
    let engine = VoiceEngine::new(EngineConfig::new("anyone", 1)).unwrap();
    let mut engine = EngineOnNetwork::new(engine, Scripted::default());
    match mode {
        Mode::None => {}
        Mode::Client => engine.run_as_client(Duration::ZERO, Seat(1)).unwrap(),
        Mode::DedicatedServer => engine.run_as_dedicated_server(Duration::ZERO, Table(1)).unwrap(),
        Mode::Host => engine.run_as_host(Duration::ZERO, Table(1)).unwrap(),
    }
    engine
}

/// The rules that are broken when these are reported in one update, in order.
fn broken(engine: &mut EngineOnNetwork<Scripted>, events: &[NetworkEvent<u8>]) -> Vec<Rule> {
    engine.network_mut().events.extend(events.iter().cloned());
    for tick in 1..10 {
        engine.update(Duration::from_millis(10 * tick));
    }
    let rule = |event| match event {
        EngineEvent::ContractBroken(error) => Some(error.rule),
        _ => None,
    };
    std::iter::from_fn(|| engine.poll_event()).filter_map(rule).collect()
}

fn from_server(bytes: usize) -> NetworkEvent<u8> {
    NetworkEvent::FromServer(Bytes::from(vec![0; bytes]))
}

fn from_client(bytes: usize) -> NetworkEvent<u8> {
    NetworkEvent::FromClient { peer: 1, packet: Bytes::from(vec![0; bytes]) }
}

fn from_link(generation: u32, bytes: usize) -> NetworkEvent<u8> {
    NetworkEvent::FromLink { link: link(generation), packet: Bytes::from(vec![0; bytes]) }
}

fn link(generation: u32) -> LinkId<u8> {
    LinkId { peer: 9, generation }
}

#[test]
fn each_breach_is_reported_with_its_rule_and_has_no_effect() {
    use NetworkEvent::{ClientGone, Connected, Hosting, HostingFailed, LinkDown, LinkUp};
    let lost = || NetworkEvent::Disconnected(DisconnectReason::Lost);
    let too_large = RELIABLE_PACKET_BYTES + 1;
    let cases: [(Mode, Vec<NetworkEvent<u8>>, Vec<Rule>); 20] = [
        (Mode::None, vec![from_server(9)], vec![Rule::SilentAfterDisconnect]),
        (Mode::None, vec![Connected], vec![Rule::SilentAfterDisconnect]),
        (Mode::None, vec![lost()], vec![Rule::SilentAfterDisconnect]),
        (Mode::None, vec![LinkUp(link(1))], vec![Rule::SilentAfterDisconnect]),
        (Mode::None, vec![from_client(9)], vec![Rule::SilentAfterStop]),
        (Mode::None, vec![ClientGone { peer: 1 }], vec![Rule::SilentAfterStop]),
        (Mode::None, vec![Hosting], vec![Rule::SilentAfterStop]),
        (Mode::Client, vec![from_server(9)], vec![Rule::SilentUntilConnected]),
        (Mode::Client, vec![Connected, Connected], vec![Rule::ConnectedOnce]),
        (Mode::Client, vec![Connected, lost(), from_server(9)], vec![Rule::SilentAfterDisconnect]),
        (Mode::Client, vec![Connected, from_server(too_large)], vec![Rule::WithinLimits]),
        (Mode::Client, vec![from_client(9)], vec![Rule::SilentAfterStop]),
        (Mode::Client, vec![from_link(1, 9), LinkDown(link(1))], vec![Rule::LinksAreAnnounced]),
        (Mode::Client, vec![LinkUp(link(1)), LinkUp(link(1))], vec![Rule::LinkUpOnce]),
        (
            Mode::Client,
            vec![LinkUp(link(1)), LinkDown(link(1)), from_link(1, 9)],
            vec![Rule::LinksAreAnnounced],
        ),
        (Mode::DedicatedServer, vec![from_client(9)], vec![Rule::SilentUntilHosting]),
        (Mode::DedicatedServer, vec![Hosting, Hosting], vec![Rule::HostingOnce]),
        (Mode::DedicatedServer, vec![Hosting, from_client(too_large)], vec![Rule::WithinLimits]),
        (
            Mode::DedicatedServer,
            vec![HostingFailed(String::new()), from_client(9)],
            vec![Rule::SilentAfterStop],
        ),
        (Mode::Host, vec![Hosting, from_server(9), Connected, lost()], vec![Rule::HostIsNoClient]),
    ];
    for (mode, events, rules) in cases {
        let mut engine = engine(mode);
        assert_eq!(broken(&mut engine, &events), rules, "{mode:?}: {events:?}");
        assert!(engine.contract_breaches() > 0);
    }
}

#[test]
fn what_keeps_the_contract_breaks_no_rule() {
    use NetworkEvent::{ClientGone, Connected, Hosting, LinkDown, LinkUp};
    let lost = || NetworkEvent::Disconnected(DisconnectReason::Lost);
    let largest = RELIABLE_PACKET_BYTES;
    let links = [
        LinkUp(link(1)),
        LinkUp(link(2)),
        from_link(1, 9),
        LinkDown(link(1)),
        from_link(2, largest),
    ];
    let mut client =
        vec![Connected, from_server(largest), lost(), lost(), Connected, from_server(9)];
    client.extend(links.clone());
    assert_eq!(broken(&mut engine(Mode::Client), &client), []);
    let mut host = vec![Hosting, from_client(largest), ClientGone { peer: 1 }, from_client(9)];
    assert_eq!(broken(&mut engine(Mode::DedicatedServer), &host), []);
    host.extend(links);
    assert_eq!(broken(&mut engine(Mode::Host), &host), []);
}

#[test]
fn a_flood_of_breaches_is_reported_once_and_does_not_hold_up_an_update() {
    let mut engine = engine(Mode::Host);
    engine.network_mut().endless = Some(from_server(9));
    assert_eq!(broken(&mut engine, &[]), [Rule::HostIsNoClient]);
    let polls = engine.network().polls;
    assert!(polls <= 9 * 1024, "{polls} polls in 9 updates");
    assert_eq!(engine.contract_breaches(), polls as u64);
    assert_eq!(engine.mode(), Mode::Host);

    engine.network_mut().endless = None;
    engine.stop(Duration::from_secs(1));
    assert_eq!(engine.network().calls, ["initialise", "host", "stop_hosting", "disconnect"]);
    engine.stop(Duration::from_secs(1));
    assert_eq!(engine.network().calls.len(), 4, "what was ended is not ended again");
    let error = {
        engine.network_mut().events.push_back(from_client(9));
        engine.update(Duration::from_secs(2));
        std::iter::from_fn(|| engine.poll_event()).find_map(|event| match event {
            EngineEvent::ContractBroken(error) => Some(error.to_string()),
            _ => None,
        })
    };
    let told = "the network breaks its contract (FromClient 1, 9 bytes): a server side that was stopped reports nothing more";
    assert_eq!(error.as_deref(), Some(told));
}

/// proves: D-41, D-42
#[test]
fn a_network_is_initialised_once_before_all_else_and_gets_its_own_parameters() {
    let mut engine = engine(Mode::None);
    assert_eq!(engine.network().calls, [""; 0], "what is made asks nothing of the network");
    let now = Duration::ZERO;
    engine.run_as_client(now, Seat(3)).expect("a client");
    engine.stop(now);
    engine.run_as_client(now, Seat(4)).expect("a client");
    engine.stop(now);
    engine.run_as_dedicated_server(now, Table(9)).expect("a server");
    let network = engine.network();
    assert_eq!(network.calls[..2], ["initialise", "connect"]);
    assert_eq!(network.calls.iter().filter(|call| **call == "initialise").count(), 1);
    assert_eq!(network.asked_for, (vec![3, 4], vec![9]));
}

#[test]
fn links_whose_end_is_never_reported_do_not_use_up_memory() {
    let mut engine = engine(Mode::Client);
    let links = (0..70_000).map(|generation| NetworkEvent::LinkUp(link(generation)));
    engine.network_mut().events.extend(links);
    for tick in 0..100 {
        engine.update(Duration::from_millis(10 * tick));
    }
    assert_eq!(engine.contract_breaches(), 70_000 - 65_536);
}

/// proves: D-49
#[test]
fn a_network_that_refuses_what_must_arrive_is_ended_with_the_session() {
    let mut engine = engine(Mode::Client);
    engine.network_mut().refuses = true;
    assert_eq!(broken(&mut engine, &[NetworkEvent::Connected]), []);
    assert_eq!(engine.mode(), Mode::None);
    assert!(engine.network().calls.contains(&"disconnect"));
    assert_eq!(broken(&mut engine, &[from_server(9)]), [Rule::SilentAfterDisconnect]);
}

#[test]
fn an_update_that_sends_to_many_flushes_once_and_one_that_sends_nothing_does_not() {
    let mut engine = engine(Mode::DedicatedServer);
    engine.network_mut().events.push_back(NetworkEvent::Hosting);
    let codec =
        CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
    let request = HandshakeRequest { codec, name: "anyone".to_owned() };
    let requests =
        (0..100).map(|peer| NetworkEvent::FromClient { peer, packet: request.encode().into() });
    engine.network_mut().events.extend(requests);
    engine.update(Duration::from_millis(10));
    assert!(engine.network().sent >= 100, "an answer to each");
    assert_eq!(engine.network().flushes, 1);
    engine.update(Duration::from_millis(20));
    assert_eq!(engine.network().flushes, 1);
}
