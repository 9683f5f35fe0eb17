//! The cases themselves are tested: networks that break one rule each fail the case named for it,
//! and pass it without the fault.

use std::collections::VecDeque;
use std::time::Duration;

use crate::testbed::Memory;
use bytes::Bytes;
use voicemesh_conformance::{Outcome, Rig, Testbed, Verdict, cases};
use voicemesh_networks::memory::{ClientParameters, Endpoint, PeerKey, ServerParameters};
use voicemesh_session::network::{
    Delivery, Destination, DisconnectReason, LinkId, Network, NetworkError, NetworkEvent,
    PacketLimits, Reliability,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The network is as it should be.
    None,
    LosesOneReliablePacket,
    SwapsReliablePackets,
    DeliversVoiceTwice,
    LosesVoice,
    LosesData,
    EchoesToTheSender,
    DeliversInTheSameRound,
    DeliversAfterDisconnect,
    SpeaksAfterGone,
    MixesUpPeers,
    TellsGoneTwice,
    NeverTellsGone,
    TellsConnectedTwice,
    TellsHostingTwice,
    ConnectsToNothing,
    NeverTellsDisconnected,
    ConnectsAfterAll,
    CutsLargePackets,
    ChangesOneByte,
    TakesPacketsWithoutAConnection,
    SendsToEveryClient,
    HandsTheOwnClientWhatOthersSend,
    GoesOnServing,
    EmptiesTheList,
    LeavesTheList,
    CountsLinksDown,
    NamesNoLink,
    KeepsLinksOfTheClient,
    HandsAHostWhatOthersSend,
    ConnectsWhoServes,
    ServesOnce,
    DropsReliablePacketsOfAServer,
    LosesVoiceToAServer,
    DeliversAReliablePacketTwice,
    DeliversAReliablePacketLate,
    LosesAReliablePacketOfAServer,
    LosesReliablePacketsUnderLoad,
    SaysLostWhereAPacketIsMissing,
    MixesUpPeersNowAndThen,
    SendsByLinksAndToTheServer,
    SendsVoiceOnLinksTwice,
    LosesVoiceOnLinks,
}

/// An endpoint with a fault.
struct Mutant {
    inner: Endpoint,
    fault: Fault,
    /// What is polled before what the endpoint has.
    extra: VecDeque<NetworkEvent<PeerKey>>,
    held: Option<(Reliability, Bytes)>,
    held_for_a_client: Option<Bytes>,
    reliable_sent: u32,
    /// By a server.
    reliable_to_clients: u32,
    from_clients: u32,
    was_connected: bool,
    own_key: PeerKey,
    /// Clients that were heard of, on the server's side.
    clients: Vec<PeerKey>,
    is_polling: bool,
    last_packet: Option<(PeerKey, Bytes)>,
    times_hosted: u32,
}

impl Mutant {
    fn count_down(link: LinkId<PeerKey>) -> LinkId<PeerKey> {
        LinkId { generation: u32::MAX - link.generation, ..link }
    }

    /// What is reported instead of this event; more may be put into `extra`.
    fn changed(&mut self, event: NetworkEvent<PeerKey>) -> Option<NetworkEvent<PeerKey>> {
        if let NetworkEvent::FromClient { peer, .. } = &event
            && !self.clients.contains(peer)
        {
            self.clients.push(*peer);
        }
        match (self.fault, event) {
            (Fault::TellsGoneTwice, event @ NetworkEvent::ClientGone { .. })
            | (Fault::TellsConnectedTwice, event @ NetworkEvent::Connected)
            | (Fault::TellsHostingTwice, event @ NetworkEvent::Hosting) => {
                self.extra.push_back(event.clone());
                Some(event)
            }
            (Fault::NeverTellsGone, NetworkEvent::ClientGone { .. })
            | (Fault::NeverTellsDisconnected, NetworkEvent::Disconnected(_)) => None,
            (
                Fault::ConnectsToNothing,
                NetworkEvent::Disconnected(DisconnectReason::Refused(_)),
            ) => Some(NetworkEvent::Connected),
            (Fault::MixesUpPeers, NetworkEvent::FromClient { packet, .. }) => {
                Some(NetworkEvent::FromClient { peer: self.clients[0], packet })
            }
            (Fault::MixesUpPeersNowAndThen, NetworkEvent::FromClient { peer, packet }) => {
                self.from_clients += 1;
                let is_wrong = self.from_clients.is_multiple_of(101);
                let peer = if is_wrong { self.clients[0] } else { peer };
                Some(NetworkEvent::FromClient { peer, packet })
            }
            (
                Fault::SaysLostWhereAPacketIsMissing,
                NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken),
            ) => Some(NetworkEvent::Disconnected(DisconnectReason::Lost)),
            (Fault::HandsTheOwnClientWhatOthersSend, NetworkEvent::FromClient { peer, packet }) => {
                if peer != self.own_key && self.was_connected {
                    self.extra.push_back(NetworkEvent::FromServer(packet.clone()));
                }
                Some(NetworkEvent::FromClient { peer, packet })
            }
            (Fault::HandsAHostWhatOthersSend, NetworkEvent::FromClient { peer, packet }) => {
                self.extra.push_back(NetworkEvent::FromServer(packet.clone()));
                Some(NetworkEvent::FromClient { peer, packet })
            }
            (Fault::ConnectsWhoServes, NetworkEvent::Hosting) => {
                self.extra.push_back(NetworkEvent::Connected);
                Some(NetworkEvent::Hosting)
            }
            (Fault::ServesOnce, NetworkEvent::Hosting) => {
                self.times_hosted += 1;
                (self.times_hosted == 1).then_some(NetworkEvent::Hosting)
            }
            (Fault::SpeaksAfterGone, event) => {
                match &event {
                    NetworkEvent::FromClient { peer, packet } => {
                        self.last_packet = Some((*peer, packet.clone()))
                    }
                    NetworkEvent::ClientGone { peer } => {
                        if let Some((from, packet)) =
                            self.last_packet.take().filter(|(from, _)| from == peer)
                        {
                            self.extra.push_back(NetworkEvent::FromClient { peer: from, packet });
                        }
                    }
                    _ => {}
                }
                Some(event)
            }
            (Fault::CountsLinksDown, NetworkEvent::LinkUp(link)) => {
                Some(NetworkEvent::LinkUp(Self::count_down(link)))
            }
            (Fault::CountsLinksDown, NetworkEvent::LinkDown(link)) => {
                Some(NetworkEvent::LinkDown(Self::count_down(link)))
            }
            (Fault::NamesNoLink, NetworkEvent::FromLink { packet, .. }) => {
                Some(NetworkEvent::FromServer(packet))
            }
            (_, event) => Some(event),
        }
    }
}

impl Network for Mutant {
    type Peer = PeerKey;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn limits(&self) -> PacketLimits {
        self.inner.limits()
    }

    fn connect(&mut self, now: Duration, parameters: ClientParameters) -> Result<(), NetworkError> {
        self.inner.connect(now, parameters)
    }

    fn disconnect(&mut self, now: Duration) {
        match self.fault {
            Fault::DeliversAfterDisconnect | Fault::ConnectsAfterAll => {
                while let Some(event) = self.inner.poll(now) {
                    self.extra.push_back(event);
                }
                self.inner.disconnect(now);
            }
            Fault::KeepsLinksOfTheClient => {}
            _ => self.inner.disconnect(now),
        }
        self.was_connected = false;
    }

    fn host(&mut self, now: Duration, parameters: ServerParameters) -> Result<(), NetworkError> {
        self.inner.host(now, parameters)
    }

    fn stop_hosting(&mut self, now: Duration) {
        if self.fault != Fault::GoesOnServing {
            self.inner.stop_hosting(now);
        }
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerKey>> {
        if let Some(event) = self.extra.pop_front() {
            return Some(event);
        }
        loop {
            let Some(event) = self.inner.poll(now) else {
                // Begins another round within the same one.
                if self.fault == Fault::DeliversInTheSameRound && !self.is_polling {
                    self.is_polling = true;
                    continue;
                }
                self.is_polling = false;
                return None;
            };
            self.is_polling = false;
            self.was_connected |= event == NetworkEvent::Connected;
            if let Some(event) = self.changed(event) {
                return Some(event);
            }
        }
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        let mut packet = packet;
        match self.fault {
            Fault::TakesPacketsWithoutAConnection => {
                let _ = self.inner.send_to_server(now, reliability, packet);
                return Ok(());
            }
            Fault::LosesOneReliablePacket if reliability == Reliability::Reliable => {
                self.reliable_sent += 1;
                if self.reliable_sent == 300 {
                    return Ok(());
                }
            }
            Fault::SwapsReliablePackets if reliability == Reliability::Reliable => {
                self.reliable_sent += 1;
                if self.reliable_sent == 300 {
                    self.held = Some((reliability, packet));
                    return Ok(());
                }
                let sent = self.inner.send_to_server(now, reliability, packet);
                if let Some((reliability, packet)) = self.held.take() {
                    self.inner.send_to_server(now, reliability, packet)?;
                }
                return sent;
            }
            Fault::DeliversAReliablePacketTwice if reliability == Reliability::Reliable => {
                self.reliable_sent += 1;
                if self.reliable_sent == 300 {
                    self.inner.send_to_server(now, reliability, packet.clone())?;
                }
            }
            Fault::LosesReliablePacketsUnderLoad if reliability == Reliability::Reliable => {
                self.reliable_sent += 1;
                if self.reliable_sent > 5_000 && self.reliable_sent.is_multiple_of(2) {
                    return Ok(());
                }
            }
            Fault::LosesVoiceToAServer if reliability == Reliability::Unreliable => return Ok(()),
            Fault::EchoesToTheSender => {
                self.extra.push_back(NetworkEvent::FromServer(packet.clone()))
            }
            Fault::CutsLargePackets => packet.truncate(1100),
            Fault::ChangesOneByte if packet.len() == 256 => {
                let mut changed = packet.to_vec();
                changed[128] ^= 0x80;
                packet = changed.into();
            }
            _ => {}
        }
        self.inner.send_to_server(now, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        now: Duration,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        match (self.fault, delivery) {
            (Fault::DeliversVoiceTwice, Delivery::Voice) => {
                self.inner.send_to_client(now, to, delivery, packet.clone())?;
            }
            (Fault::DropsReliablePacketsOfAServer, Delivery::Reliable) => return Ok(()),
            (Fault::LosesAReliablePacketOfAServer, Delivery::Reliable) => {
                self.reliable_to_clients += 1;
                if self.reliable_to_clients == 300 {
                    return Ok(());
                }
            }
            (Fault::DeliversAReliablePacketLate, Delivery::Reliable) => {
                self.reliable_to_clients += 1;
                if self.reliable_to_clients == 300 {
                    self.held_for_a_client = Some(packet);
                    return Ok(());
                }
                if self.reliable_to_clients == 330
                    && let Some(late) = self.held_for_a_client.take()
                {
                    self.inner.send_to_client(now, to, delivery, late)?;
                }
            }
            (Fault::LosesVoice, Delivery::Voice) | (Fault::LosesData, Delivery::Data) => {
                return Ok(());
            }
            (Fault::SendsToEveryClient, _) => {
                for client in self.clients.clone().into_iter().filter(|client| *client != to) {
                    let _ = self.inner.send_to_client(now, client, delivery, packet.clone());
                }
            }
            _ => {}
        }
        self.inner.send_to_client(now, to, delivery, packet)
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<PeerKey>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        if self.fault == Fault::CountsLinksDown {
            for destination in destinations.iter_mut() {
                destination.link = Self::count_down(destination.link);
            }
        }
        let before = destinations.clone();
        match (self.fault, reliability) {
            (Fault::LosesVoiceOnLinks, Reliability::Unreliable) => {
                return destinations.clear();
            }
            (Fault::SendsVoiceOnLinksTwice, Reliability::Unreliable) => {
                self.inner.send_to_links(now, &mut before.clone(), reliability, packet);
            }
            _ => {}
        }
        self.inner.send_to_links(now, destinations, reliability, packet);
        match self.fault {
            Fault::SendsByLinksAndToTheServer => {
                let _ = self.inner.send_to_server(now, reliability, packet.clone());
            }
            Fault::EmptiesTheList => destinations.clear(),
            Fault::LeavesTheList => *destinations = before,
            _ => {}
        }
    }

    fn release_link(&mut self, now: Duration, link: LinkId<PeerKey>) {
        let link = if self.fault == Fault::CountsLinksDown { Self::count_down(link) } else { link };
        self.inner.release_link(now, link);
    }
}

struct Faulty {
    memory: Memory,
    fault: Fault,
}

impl Testbed for Faulty {
    type Network = Mutant;

    fn peer(&mut self) -> Mutant {
        let inner = self.memory.peer();
        let own_key = inner.key();
        Mutant {
            inner,
            fault: self.fault,
            extra: VecDeque::new(),
            held: None,
            held_for_a_client: None,
            reliable_sent: 0,
            reliable_to_clients: 0,
            from_clients: 0,
            was_connected: false,
            own_key,
            clients: Vec::new(),
            is_polling: false,
            last_packet: None,
            times_hosted: 0,
        }
    }

    fn server_parameters(&mut self, server: usize) -> ServerParameters {
        self.memory.server_parameters(server)
    }

    fn client_parameters(&mut self, server: usize) -> ClientParameters {
        self.memory.client_parameters(server)
    }

    fn cut(&mut self, client: &mut Mutant) -> bool {
        self.memory.cut(&mut client.inner)
    }

    fn break_reliability(&mut self, client: &mut Mutant) -> bool {
        self.memory.break_reliability(&mut client.inner)
    }

    fn link(&mut self, a: &mut Mutant, b: &mut Mutant) -> bool {
        self.memory.link(&mut a.inner, &mut b.inner)
    }
}

fn rig(fault: Fault) -> Rig<Faulty> {
    Rig::new(Faulty { memory: Memory::default(), fault })
}

type Case = fn(&mut Rig<Faulty>) -> Verdict;

/// Each fault and the case that is named for it.
const FAULTS: [(Fault, &str, Case); 42] = {
    macro_rules! fault {
        ($fault:ident, $case:ident) => {
            (Fault::$fault, stringify!($case), cases::$case as Case)
        };
    }
    [
        fault!(LosesOneReliablePacket, reliable_packets_reach_the_server_whole_in_order_and_once),
        fault!(SwapsReliablePackets, reliable_packets_reach_the_server_whole_in_order_and_once),
        fault!(DeliversVoiceTwice, most_voice_reaches_the_client_and_none_twice),
        fault!(LosesVoice, most_voice_reaches_the_client_and_none_twice),
        fault!(LosesData, most_data_reaches_the_client_and_none_twice),
        fault!(EchoesToTheSender, what_is_sent_does_not_come_back_to_the_sender),
        fault!(DeliversInTheSameRound, a_packet_to_the_own_client_waits_for_the_next_frame),
        fault!(DeliversAfterDisconnect, who_disconnects_hears_nothing_more),
        fault!(SpeaksAfterGone, a_client_that_left_sends_nothing_more),
        fault!(MixesUpPeers, a_packet_says_which_connection_it_came_by),
        fault!(TellsGoneTwice, the_server_learns_once_that_a_client_has_left),
        fault!(NeverTellsGone, the_server_learns_once_that_a_client_has_left),
        fault!(TellsConnectedTwice, a_connection_is_reported_once),
        fault!(TellsHostingTwice, hosting_is_reported_once),
        fault!(ConnectsToNothing, who_connects_to_no_server_is_told),
        fault!(NeverTellsDisconnected, a_server_that_stops_is_lost_to_its_clients),
        fault!(ConnectsAfterAll, who_disconnects_while_connecting_is_never_connected),
        fault!(CutsLargePackets, the_largest_packets_reach_the_server),
        fault!(ChangesOneByte, packets_of_every_byte_arrive_unchanged),
        fault!(TakesPacketsWithoutAConnection, nothing_is_sent_before_the_connection_is_there),
        fault!(SendsToEveryClient, a_packet_reaches_only_whom_it_is_for),
        fault!(
            HandsTheOwnClientWhatOthersSend,
            what_others_send_never_reaches_the_hosts_own_client
        ),
        fault!(GoesOnServing, a_server_that_stops_is_lost_to_its_clients),
        fault!(EmptiesTheList, what_no_link_reaches_stays_on_the_list),
        fault!(LeavesTheList, what_goes_by_links_is_taken_from_the_list_and_arrives_once),
        fault!(CountsLinksDown, a_newer_link_has_a_higher_number),
        fault!(NamesNoLink, a_packet_on_a_link_names_the_link),
        fault!(KeepsLinksOfTheClient, links_end_with_the_client),
        fault!(HandsAHostWhatOthersSend, a_host_is_given_nothing_as_if_it_were_a_client),
        fault!(ConnectsWhoServes, a_host_is_given_nothing_as_if_it_were_a_client),
        fault!(ServesOnce, a_host_starts_again_after_it_stopped),
        fault!(DropsReliablePacketsOfAServer, a_host_is_server_and_client),
        fault!(LosesVoiceToAServer, a_host_speaks_and_hears),
        fault!(
            DeliversAReliablePacketTwice,
            reliable_packets_reach_the_server_whole_in_order_and_once
        ),
        fault!(
            DeliversAReliablePacketLate,
            reliable_packets_reach_the_client_whole_in_order_and_once
        ),
        fault!(
            LosesAReliablePacketOfAServer,
            reliable_packets_reach_the_client_whole_in_order_and_once
        ),
        fault!(LosesReliablePacketsUnderLoad, reliable_packets_without_end_arrive_without_a_gap),
        fault!(
            SaysLostWhereAPacketIsMissing,
            a_loss_on_the_reliable_path_ends_the_connection_and_says_so
        ),
        fault!(MixesUpPeersNowAndThen, reliable_packets_of_many_arrive_in_the_order_of_each),
        fault!(
            SendsByLinksAndToTheServer,
            a_reliable_packet_reaches_each_once_by_its_link_or_through_the_server
        ),
        fault!(
            SendsVoiceOnLinksTwice,
            an_unreliable_packet_reaches_none_twice_by_its_link_or_through_the_server
        ),
        fault!(LosesVoiceOnLinks, voice_takes_a_link_where_there_is_one_and_the_server_elsewhere),
    ]
};

/// proves: D-53
#[test]
fn each_fault_fails_the_case_that_is_named_for_it() {
    for (fault, name, case) in FAULTS {
        match case(&mut rig(fault)) {
            Err(violation) => println!("{fault:?}: {violation}"),
            outcome => panic!("{fault:?} is not found by {name}: {outcome:?}"),
        }
    }
}

#[test]
fn without_the_fault_each_of_these_cases_passes() {
    for (_, name, case) in FAULTS {
        assert_eq!(case(&mut rig(Fault::None)), Ok(Outcome::Passed), "{name}");
    }
}
