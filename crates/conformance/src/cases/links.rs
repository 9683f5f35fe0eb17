//! Direct links between clients (HandshakeP2P and the sends to peers; PROTOCOL.md, section 8).
//! Skipped where the integration has none.

use std::collections::BTreeSet;

use bytes::Bytes;
use voicemesh_session::network::{Delivery, Destination, LinkId, NetworkEvent, Reliability};
use voicemesh_wire::ClientId;

use crate::rig::PASSED;
use crate::{Outcome, Rig, Testbed, Verdict, Violation};

pub(super) const NO_LINKS: Verdict = Ok(Outcome::Skipped("this integration has no direct links"));

type Peer<T> = <<T as Testbed>::Network as voicemesh_session::network::Network>::Peer;

/// A server and so many clients of it.
fn room<T: Testbed>(rig: &mut Rig<T>, clients: usize) -> Result<Vec<usize>, Violation> {
    rig.server(0)?;
    (0..clients).map(|_| rig.client(0)).collect()
}

fn to<P>(number: u16, link: LinkId<P>) -> Destination<P> {
    Destination { client: ClientId(number), link }
}

fn downs<T: Testbed>(rig: &Rig<T>, peer: usize) -> Vec<LinkId<Peer<T>>> {
    let down = |event: &NetworkEvent<Peer<T>>| match event {
        NetworkEvent::LinkDown(link) => Some(*link),
        _ => None,
    };
    rig.seen(peer).iter().filter_map(down).collect()
}

fn packets<T: Testbed>(rig: &Rig<T>, peer: usize) -> Vec<Bytes> {
    rig.on_links(peer).into_iter().map(|(_, packet)| packet).collect()
}

/// Both ends call it by the same generation.
pub fn a_link_is_reported_at_both_ends_and_has_one_number<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let clients = room(rig, 2)?;
    let Some([near, far]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    rig.vigil()?;
    rig.must("both ends know a link by the same number", near.generation == far.generation)?;
    let are_once = clients.iter().all(|client| rig.links(*client).len() == 1);
    rig.must("a link is reported once", are_once)?;
    PASSED
}

/// Each destination that is reached is removed from the list, and gets one copy.
pub fn what_goes_by_links_is_taken_from_the_list_and_arrives_once<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    let clients = room(rig, 3)?;
    let Some([first, _]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    let Some([second, _]) = rig.link(clients[0], clients[2])? else { return NO_LINKS };
    let mut destinations = vec![to(1, first), to(2, second)];
    rig.send_to_links(clients[0], &mut destinations, Reliability::Reliable, b"to both");
    rig.must("a destination that is reached is taken from the list", destinations.is_empty())?;
    let others = [clients[1], clients[2]];
    rig.until("what went by a link arrives", |rig| {
        others.iter().all(|other| !packets(rig, *other).is_empty())
    })?;
    rig.vigil()?;
    let are_once = others.iter().all(|other| packets(rig, *other) == ["to both"]);
    rig.must("each gets one copy", are_once && packets(rig, clients[0]).is_empty())?;
    PASSED
}

/// In its order: the caller relays to it.
pub fn what_no_link_reaches_stays_on_the_list<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let clients = room(rig, 3)?;
    let Some([live, _]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    let Some([dead, _]) = rig.link(clients[0], clients[2])? else { return NO_LINKS };
    rig.release_link(clients[0], dead);
    rig.until("a link that is released ends at both ends", |rig| {
        !downs(rig, clients[2]).is_empty()
    })?;
    let never = LinkId { peer: dead.peer, generation: dead.generation.wrapping_add(7) };
    let mut destinations = vec![to(1, dead), to(2, live), to(3, never)];
    rig.send_to_links(clients[0], &mut destinations, Reliability::Reliable, b"to one");
    rig.must(
        "what no link reaches stays on the list",
        destinations == [to(1, dead), to(3, never)],
    )?;
    rig.until("what went by a link arrives", |rig| !packets(rig, clients[1]).is_empty())?;
    rig.vigil()?;
    rig.must("what stayed on the list is not sent as well", packets(rig, clients[2]).is_empty())?;
    PASSED
}

/// As they do through the server.
pub fn reliable_packets_on_a_link_arrive_in_order<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "reliable packets on a link arrive whole, in order and once";
    let clients = room(rig, 2)?;
    let Some([link, _]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    for number in 0..200_u8 {
        let mut destinations = vec![to(1, link)];
        rig.send_to_links(
            clients[0],
            &mut destinations,
            Reliability::Reliable,
            &vec![number; 1 + usize::from(number) * 4],
        );
        rig.must("a link that is open takes packets", destinations.is_empty())?;
        if number % 5 == 4 {
            rig.frame()?;
        }
    }
    rig.until(RULE, |rig| packets(rig, clients[1]).len() >= 200)?;
    let expected = (0..200_u8).map(|number| Bytes::from(vec![number; 1 + usize::from(number) * 4]));
    rig.must(RULE, packets(rig, clients[1]).into_iter().eq(expected))?;
    PASSED
}

/// That says who sent it; it is neither the server's nor a client's.
pub fn a_packet_on_a_link_names_the_link<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a packet on a link names the link that it came by";
    let clients = room(rig, 3)?;
    let Some([first, first_far]) = rig.link(clients[0], clients[2])? else { return NO_LINKS };
    let Some([second, second_far]) = rig.link(clients[1], clients[2])? else { return NO_LINKS };
    rig.send_to_links(
        clients[0],
        &mut vec![to(1, first)],
        Reliability::Reliable,
        b"from the first",
    );
    rig.send_to_links(
        clients[1],
        &mut vec![to(1, second)],
        Reliability::Reliable,
        b"from the second",
    );
    rig.until(RULE, |rig| packets(rig, clients[2]).len() >= 2)?;
    let is_right = rig.on_links(clients[2]).iter().all(|(link, packet)| {
        *link == if packet == "from the first" { first_far } else { second_far }
    });
    rig.must(RULE, is_right)?;
    rig.must("what comes on a link is not the server's", rig.at_client(clients[2]).is_empty())?;
    PASSED
}

/// Other links stay.
pub fn a_link_that_is_released_ends_at_both_ends<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a link that is released ends at both ends, once";
    let clients = room(rig, 3)?;
    let Some([link, far]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    let Some([other, _]) = rig.link(clients[0], clients[2])? else { return NO_LINKS };
    rig.release_link(clients[0], link);
    rig.until(RULE, |rig| {
        !downs(rig, clients[0]).is_empty() && !downs(rig, clients[1]).is_empty()
    })?;
    rig.vigil()?;
    rig.must(RULE, downs(rig, clients[0]) == [link] && downs(rig, clients[1]) == [far])?;
    rig.send_to_links(clients[0], &mut vec![to(1, other)], Reliability::Reliable, b"still here");
    rig.until("other links stay", |rig| packets(rig, clients[2]) == ["still here"])?;
    PASSED
}

/// So that what comes late on the old one is not taken for the new.
pub fn a_newer_link_has_a_higher_number<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let clients = room(rig, 2)?;
    let Some([first, _]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    rig.release_link(clients[0], first);
    rig.until("a link that is released ends at both ends", |rig| {
        !downs(rig, clients[1]).is_empty()
    })?;
    let Some([second, _]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    rig.must("a newer link has a higher number", second.generation > first.generation)?;
    rig.must("and leads to the same peer", second.peer == first.peer)?;
    PASSED
}

/// `disconnect` ends them.
pub fn links_end_with_the_client<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let clients = room(rig, 2)?;
    let Some([link, far]) = rig.link(clients[0], clients[1])? else { return NO_LINKS };
    rig.disconnect(clients[0]);
    rig.until("links end with the client", |rig| downs(rig, clients[1]) == [far])?;
    let mut destinations = vec![to(1, link)];
    rig.send_to_links(clients[0], &mut destinations, Reliability::Reliable, b"too late");
    rig.must("what no link reaches stays on the list", destinations.len() == 1)?;
    PASSED
}

/// A server, a speaker and three listeners: one with a link, one whose link was released, one that
/// never had one.
struct Mixed<T: Testbed> {
    server: usize,
    /// The speaker comes first.
    clients: Vec<usize>,
    /// By what the server knows them.
    keys: Vec<Peer<T>>,
    links: [LinkId<Peer<T>>; 3],
    /// Packets that the server has passed on.
    passed_on: usize,
}

impl<T: Testbed> Mixed<T> {
    /// None if the integration has no links.
    fn new(rig: &mut Rig<T>) -> Result<Option<Self>, Violation> {
        let server = rig.server(0)?;
        let clients = (0..4).map(|_| rig.client(0)).collect::<Result<Vec<_>, _>>()?;
        let mut keys = Vec::new();
        for client in &clients {
            keys.push(rig.key(server, *client)?);
        }
        let Some([live, _]) = rig.link(clients[0], clients[1])? else { return Ok(None) };
        let Some([dead, _]) = rig.link(clients[0], clients[2])? else { return Ok(None) };
        let never = LinkId { peer: dead.peer, generation: dead.generation.wrapping_add(7) };
        rig.release_link(clients[0], dead);
        rig.until("a link that is released ends at both ends", |rig| {
            !downs(rig, clients[2]).is_empty()
        })?;
        rig.forget();
        let links = [live, dead, never];
        Ok(Some(Self { server, clients, keys, links, passed_on: 0 }))
    }

    /// One packet as the session sends it: by links, and for the rest once to the server, which
    /// passes it on.
    fn send(&mut self, rig: &mut Rig<T>, how: Reliability, packet: &[u8]) -> Result<(), Violation> {
        let [live, dead, never] = self.links;
        let mut rest = vec![to(1, live), to(2, dead), to(3, never)];
        rig.send_to_links(self.clients[0], &mut rest, how, packet);
        rig.must(
            "what no link reaches stays on the list, and nothing else",
            rest == [to(2, dead), to(3, never)],
        )?;
        let sent = rig.send_to_server(self.clients[0], how, packet);
        rig.must("a connection that stands takes packets", sent.is_ok())?;
        self.pass_on(rig, how)
    }

    /// One frame, in which the server passes on what it has.
    fn pass_on(&mut self, rig: &mut Rig<T>, how: Reliability) -> Result<(), Violation> {
        rig.frame()?;
        let delivery = match how {
            Reliability::Reliable => Delivery::Reliable,
            Reliability::Unreliable => Delivery::Voice,
        };
        for (_, packet) in rig.at_server(self.server).split_off(self.passed_on) {
            self.passed_on += 1;
            for key in &self.keys[2..] {
                let sent = rig.send_to_client(self.server, *key, delivery, &packet);
                rig.must("a connection that stands takes packets", sent.is_ok())?;
            }
        }
        Ok(())
    }
}

const ROUNDS: u8 = 60;

/// The packets that each listener got, by its link and from its server.
fn heard<T: Testbed>(rig: &Rig<T>, clients: &[usize]) -> Vec<(Vec<Bytes>, Vec<Bytes>)> {
    clients[1..].iter().map(|client| (packets(rig, *client), rig.at_client(*client))).collect()
}

/// A send that succeeds in part: who has a link gets its copy there, the others through the server,
/// each in the order in which all was sent.
pub fn a_reliable_packet_reaches_each_once_by_its_link_or_through_the_server<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "each listener gets one copy, by its link or through the server, in order";
    let Some(mut mixed) = Mixed::new(rig)? else { return NO_LINKS };
    for round in 0..ROUNDS {
        mixed.send(rig, Reliability::Reliable, &[round; 30])?;
    }
    let expected: Vec<Bytes> = (0..ROUNDS).map(|round| Bytes::from(vec![round; 30])).collect();
    for _ in 0..rig.testbed().patience() {
        if heard(rig, &mixed.clients).iter().all(|(a, b)| a.len() + b.len() >= expected.len()) {
            break;
        }
        mixed.pass_on(rig, Reliability::Reliable)?;
    }
    rig.vigil()?;
    let through_the_server = (Vec::new(), expected.clone());
    let all = [(expected.clone(), Vec::new()), through_the_server.clone(), through_the_server];
    rig.must(RULE, heard(rig, &mixed.clients) == all)?;
    let at_server = rig.at_server(mixed.server);
    let is_once = at_server.iter().map(|(_, packet)| packet).eq(&expected);
    rig.must("what went by a link does not go to the server as well", is_once)?;
    PASSED
}

/// As many as arrive at all, by the link [`Testbed::arrives`] of them.
pub fn an_unreliable_packet_reaches_none_twice_by_its_link_or_through_the_server<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str =
        "of an unreliable packet no listener gets two copies, and most arrive by a link";
    let Some(mut mixed) = Mixed::new(rig)? else { return NO_LINKS };
    for round in 0..ROUNDS {
        mixed.send(rig, Reliability::Unreliable, &[round; 30])?;
    }
    for _ in 0..rig.testbed().vigil() {
        mixed.pass_on(rig, Reliability::Unreliable)?;
    }
    let copies = heard(rig, &mixed.clients);
    let is_once = |packets: &[Bytes]| {
        packets.iter().collect::<BTreeSet<_>>().len() == packets.len() && !packets.is_empty()
    };
    let by_link = &copies[0].0;
    let is_most = by_link.len() as f64 >= rig.arrives() * f64::from(ROUNDS);
    let are_apart = copies[0].1.is_empty() && copies[1..].iter().all(|(link, _)| link.is_empty());
    let are_once = is_once(by_link) && copies[1..].iter().all(|(_, server)| is_once(server));
    rig.must(RULE, is_most && are_apart && are_once)?;
    PASSED
}
