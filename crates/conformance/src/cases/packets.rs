//! Packets between clients and their server.

use std::collections::BTreeSet;

use bytes::Bytes;
use voicemesh_session::network::{Delivery, NetworkError, NetworkEvent, Reliability};

use crate::rig::{NOT_ITS_OWN_CLIENT, PASSED};
use crate::{Rig, Testbed, Verdict, Violation};

const MANY: u32 = 500;

fn refused(rule: &'static str) -> impl Fn(NetworkError) -> Violation {
    move |error| Violation { rule, seen: error.to_string() }
}

/// Of different lengths, and each says its number.
fn numbered(number: u32) -> Vec<u8> {
    let mut packet = number.to_le_bytes().to_vec();
    packet.resize(4 + (number as usize * 37) % 900, number as u8);
    packet
}

fn expected(count: u32) -> Vec<Bytes> {
    (0..count).map(|number| numbered(number).into()).collect()
}

/// Sends a few in each frame, as a program would.
fn spread<T: Testbed>(
    rig: &mut Rig<T>,
    mut send: impl FnMut(&mut Rig<T>, u32) -> Result<(), Violation>,
) -> Result<(), Violation> {
    for number in 0..MANY {
        send(rig, number)?;
        if number % 10 == 9 {
            rig.frame()?;
        }
    }
    Ok(())
}

/// All of them, as they were sent.
pub fn reliable_packets_reach_the_server_whole_in_order_and_once<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "reliable packets reach the server whole, in order and once";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    spread(rig, |rig, number| {
        rig.send_to_server(client, Reliability::Reliable, &numbered(number)).map_err(refused(RULE))
    })?;
    rig.until(RULE, |rig| rig.at_server(server).len() >= MANY as usize)?;
    rig.vigil()?;
    let packets: Vec<Bytes> = rig.at_server(server).into_iter().map(|(_, packet)| packet).collect();
    rig.must(RULE, packets == expected(MANY))?;
    PASSED
}

/// All of them, as they were sent.
pub fn reliable_packets_reach_the_client_whole_in_order_and_once<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "reliable packets reach the client whole, in order and once";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let key = rig.key(server, client)?;
    spread(rig, |rig, number| {
        rig.send_to_client(server, key, Delivery::Reliable, &numbered(number))
            .map_err(refused(RULE))
    })?;
    rig.until(RULE, |rig| rig.at_client(client).len() >= MANY as usize)?;
    rig.vigil()?;
    rig.must(RULE, rig.at_client(client) == expected(MANY))?;
    PASSED
}

/// No byte is special, and no length from 3, where a session's header ends, to 300.
pub fn packets_of_every_byte_arrive_unchanged<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "packets arrive byte for byte";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let packets: Vec<Bytes> =
        (3..=300_usize).map(|length| (0..length).map(|at| (at + length) as u8).collect()).collect();
    for (number, packet) in packets.iter().enumerate() {
        rig.send_to_server(client, Reliability::Reliable, packet).map_err(refused(RULE))?;
        if number % 10 == 9 {
            rig.frame()?;
        }
    }
    rig.until(RULE, |rig| rig.at_server(server).len() >= packets.len())?;
    rig.must(RULE, rig.at_server(server).into_iter().map(|(_, packet)| packet).eq(packets))?;
    PASSED
}

/// As large as [`Network::limits`](voicemesh_session::network::Network::limits) says.
pub fn the_largest_packets_reach_the_server<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "packets as large as the limits say reach the server";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let limits = rig.limits(client);
    let large = vec![7; limits.reliable_bytes];
    rig.send_to_server(client, Reliability::Reliable, &large).map_err(refused(RULE))?;
    let unreliable = vec![8; limits.unreliable_bytes];
    rig.until(RULE, |rig| rig.at_server(server).iter().any(|(_, packet)| *packet == large))?;
    // One of them may be lost.
    for _ in 0..20 {
        rig.send_to_server(client, Reliability::Unreliable, &unreliable).map_err(refused(RULE))?;
        rig.frame()?;
    }
    rig.until(RULE, |rig| rig.at_server(server).iter().any(|(_, packet)| *packet == unreliable))?;
    PASSED
}

/// As large as [`Network::limits`](voicemesh_session::network::Network::limits) says.
pub fn the_largest_packets_reach_the_client<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "packets as large as the limits say reach the client";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let key = rig.key(server, client)?;
    let limits = rig.limits(server);
    let large = vec![7; limits.reliable_bytes];
    rig.send_to_client(server, key, Delivery::Reliable, &large).map_err(refused(RULE))?;
    let unreliable = vec![8; limits.unreliable_bytes];
    rig.until(RULE, |rig| rig.at_client(client).contains(&Bytes::from(large.clone())))?;
    for _ in 0..20 {
        rig.send_to_client(server, key, Delivery::Voice, &unreliable).map_err(refused(RULE))?;
        rig.frame()?;
    }
    rig.until(RULE, |rig| rig.at_client(client).contains(&Bytes::from(unreliable.clone())))?;
    PASSED
}

/// Whether enough of them came, each once and unchanged.
fn must_be_most<T: Testbed>(
    rig: &Rig<T>,
    rule: &'static str,
    packets: &[Bytes],
) -> Result<(), Violation> {
    let all: BTreeSet<Bytes> = expected(MANY).into_iter().collect();
    let distinct: BTreeSet<&Bytes> = packets.iter().collect();
    let are_known = distinct.iter().all(|packet| all.contains(*packet));
    let enough = distinct.len() as f64 >= rig.arrives() * f64::from(MANY);
    if are_known && enough && distinct.len() == packets.len() {
        return Ok(());
    }
    let seen = format!(
        "{} packets, {} different, of {MANY}; all known: {are_known}",
        packets.len(),
        distinct.len()
    );
    Err(Violation { rule, seen })
}

/// As many as [`Testbed::arrives`] says, unchanged.
pub fn most_unreliable_packets_reach_the_server_and_none_twice<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "most unreliable packets reach the server, and none twice";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    spread(rig, |rig, number| {
        rig.send_to_server(client, Reliability::Unreliable, &numbered(number))
            .map_err(refused(RULE))
    })?;
    rig.vigil()?;
    let packets: Vec<Bytes> = rig.at_server(server).into_iter().map(|(_, packet)| packet).collect();
    must_be_most(rig, RULE, &packets)?;
    PASSED
}

fn most_to_the_client<T: Testbed>(rig: &mut Rig<T>, how: Delivery, rule: &'static str) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let key = rig.key(server, client)?;
    spread(rig, |rig, number| {
        rig.send_to_client(server, key, how, &numbered(number)).map_err(refused(rule))
    })?;
    rig.vigil()?;
    must_be_most(rig, rule, &rig.at_client(client))?;
    PASSED
}

/// As many as [`Testbed::arrives`] says, unchanged.
pub fn most_voice_reaches_the_client_and_none_twice<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    most_to_the_client(rig, Delivery::Voice, "most voice reaches the client, and none twice")
}

/// As many as [`Testbed::arrives`] says, unchanged.
pub fn most_data_reaches_the_client_and_none_twice<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    most_to_the_client(rig, Delivery::Data, "most data reaches the client, and none twice")
}

/// What is reliable keeps its order among itself.
pub fn unreliable_packets_between_do_not_disturb_the_order<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "reliable packets keep their order with unreliable ones between";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    spread(rig, |rig, number| {
        rig.send_to_server(client, Reliability::Unreliable, &[0xff; 40]).map_err(refused(RULE))?;
        rig.send_to_server(client, Reliability::Reliable, &numbered(number)).map_err(refused(RULE))
    })?;
    let reliable = |rig: &Rig<T>| {
        let packets = rig.at_server(server).into_iter().map(|(_, packet)| packet);
        packets.filter(|packet| **packet != [0xff; 40]).collect::<Vec<_>>()
    };
    rig.until(RULE, |rig| reliable(rig).len() >= MANY as usize)?;
    rig.must(RULE, reliable(rig) == expected(MANY))?;
    PASSED
}

/// Voice may be dropped where much waits; what is reliable may not.
pub fn a_burst_of_voice_does_not_break_what_is_reliable<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a burst of voice in one frame loses no reliable packet";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let key = rig.key(server, client)?;
    for number in 0..50 {
        for _ in 0..20 {
            rig.send_to_client(server, key, Delivery::Voice, &[0xff; 100])
                .map_err(refused(RULE))?;
        }
        rig.send_to_client(server, key, Delivery::Reliable, &numbered(number))
            .map_err(refused(RULE))?;
    }
    let reliable = |rig: &Rig<T>| {
        let packets = rig.at_client(client).into_iter();
        packets.filter(|packet| **packet != [0xff; 100]).collect::<Vec<_>>()
    };
    rig.until(RULE, |rig| reliable(rig).len() >= 50)?;
    rig.must(RULE, reliable(rig) == expected(50))?;
    PASSED
}

/// Each connection has another key, which stays.
pub fn a_packet_says_which_connection_it_came_by<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a packet says which connection it came by";
    let server = rig.server(0)?;
    let clients = (0..5).map(|_| rig.client(0)).collect::<Result<Vec<_>, _>>()?;
    let mut keys = Vec::new();
    for client in &clients {
        keys.push(rig.key(server, *client)?);
    }
    rig.must(
        "each connection has another key",
        keys.iter().collect::<BTreeSet<_>>().len() == keys.len(),
    )?;
    rig.forget();
    for round in 0..20_u8 {
        for client in &clients {
            rig.send_to_server(*client, Reliability::Reliable, &[*client as u8, round, 0])
                .map_err(refused(RULE))?;
        }
        rig.frame()?;
    }
    rig.until(RULE, |rig| rig.at_server(server).len() >= 100)?;
    let is_right = |(key, packet): &(_, Bytes)| {
        clients
            .iter()
            .position(|client| *client as u8 == packet[0])
            .is_some_and(|at| keys[at] == *key)
    };
    rig.must(RULE, rig.at_server(server).iter().all(is_right))?;
    PASSED
}

/// No other client gets it.
pub fn a_packet_reaches_only_whom_it_is_for<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a packet reaches only the client that it is for";
    let server = rig.server(0)?;
    let clients = (0..5).map(|_| rig.client(0)).collect::<Result<Vec<_>, _>>()?;
    let mut keys = Vec::new();
    for client in &clients {
        keys.push(rig.key(server, *client)?);
    }
    for round in 0..20_u8 {
        for (client, key) in clients.iter().zip(&keys) {
            rig.send_to_client(server, *key, Delivery::Reliable, &[*client as u8, round, 0])
                .map_err(refused(RULE))?;
        }
        rig.frame()?;
    }
    rig.until(RULE, |rig| clients.iter().all(|client| rig.at_client(*client).len() >= 20))?;
    rig.vigil()?;
    let is_right = |client: &usize| {
        let packets = rig.at_client(*client);
        packets.len() == 20 && packets.iter().all(|packet| packet[0] == *client as u8)
    };
    rig.must(RULE, clients.iter().all(is_right))?;
    PASSED
}

/// Neither at a client nor at a server.
pub fn what_is_sent_does_not_come_back_to_the_sender<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "what is sent does not come back to the sender";
    let server = rig.server(0)?;
    let (client, other) = (rig.client(0)?, rig.client(0)?);
    let key = rig.key(server, client)?;
    rig.key(server, other)?;
    rig.forget();
    for how in [Reliability::Reliable, Reliability::Unreliable] {
        rig.send_to_server(client, how, b"from the client").map_err(refused(RULE))?;
    }
    rig.send_to_client(server, key, Delivery::Reliable, b"from the server")
        .map_err(refused(RULE))?;
    rig.until("a reliable packet arrives", |rig| {
        !rig.at_server(server).is_empty() && !rig.at_client(client).is_empty()
    })?;
    rig.vigil()?;
    let echoed = rig.at_client(client).iter().any(|packet| packet == "from the client")
        || rig.at_server(server).iter().any(|(_, packet)| packet == "from the server");
    rig.must(RULE, !echoed)?;
    PASSED
}

/// A server that sends to a client that left has it refused, and no other client gets it.
pub fn a_connection_that_is_gone_is_refused<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let (client, other) = (rig.client(0)?, rig.client(0)?);
    let key = rig.key(server, client)?;
    rig.key(server, other)?;
    rig.disconnect(client);
    rig.until("the server learns that a client has left", |rig| {
        rig.count(server, |event| matches!(event, NetworkEvent::ClientGone { .. })) > 0
    })?;
    let sent = rig.send_to_client(server, key, Delivery::Reliable, b"too late");
    rig.must("a reliable packet to a connection that is gone is refused", sent.is_err())?;
    rig.vigil()?;
    rig.must("what was refused does not arrive", rig.at_client(other).is_empty())?;
    PASSED
}

/// The network itself relays nothing: that is the session's work.
pub fn clients_do_not_hear_each_other_without_the_server<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let (client, other) = (rig.client(0)?, rig.client(0)?);
    rig.key(server, client)?;
    rig.vigil()?;
    rig.must("what a client sends reaches the server only", rig.at_client(other).is_empty())?;
    PASSED
}

/// Two peers that answer each other while they are polled come to an end in every frame.
pub fn an_answer_while_polling_waits_for_the_next_frame<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "an answer that is sent while polling does not lead to one that is polled in the same frame";
    let host = rig.server(0)?;
    if !rig.join_own(host, 0)? {
        return NOT_ITS_OWN_CLIENT;
    }
    let key = rig.key(host, host)?;
    rig.send_to_server(host, Reliability::Reliable, b"ping").map_err(refused(RULE))?;
    for _ in 0..5 {
        rig.frame()?;
    }
    rig.send_to_server(host, Reliability::Reliable, b"ping").map_err(refused(RULE))?;
    let mut answers = 0;
    while let Some(event) = rig.poll(host) {
        match event {
            NetworkEvent::FromClient { packet, .. } if packet == "ping" => {
                rig.send_to_client(host, key, Delivery::Reliable, b"pong")
                    .map_err(refused(RULE))?;
            }
            NetworkEvent::FromServer(packet) if packet == "pong" => {
                rig.send_to_server(host, Reliability::Reliable, b"ping").map_err(refused(RULE))?;
            }
            _ => continue,
        }
        answers += 1;
        rig.must(RULE, answers < 10)?;
    }
    PASSED
}

/// Server and client in one process, over one network.
pub fn a_host_is_its_own_client<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a host and its own client reach each other";
    let host = rig.server(0)?;
    if !rig.join_own(host, 0)? {
        return NOT_ITS_OWN_CLIENT;
    }
    let remote = rig.client(0)?;
    let (own, other) = (rig.key(host, host)?, rig.key(host, remote)?);
    rig.must("a host tells its own client from the others", own != other)?;
    rig.send_to_client(host, own, Delivery::Reliable, b"to the own client")
        .map_err(refused(RULE))?;
    rig.until(RULE, |rig| rig.at_client(host).iter().any(|packet| packet == "to the own client"))?;
    rig.vigil()?;
    rig.must("what is for the own client reaches no other", rig.at_client(remote).is_empty())?;
    PASSED
}

/// A remote's packet is for the server, whatever it contains.
pub fn what_others_send_never_reaches_the_hosts_own_client<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "what others send never reaches the host's own client";
    let host = rig.server(0)?;
    if !rig.join_own(host, 0)? {
        return NOT_ITS_OWN_CLIENT;
    }
    let remote = rig.client(0)?;
    let own = rig.key(host, host)?;
    rig.key(host, remote)?;
    rig.forget();
    for how in [Reliability::Reliable, Reliability::Unreliable] {
        for number in 0..50 {
            rig.send_to_server(remote, how, &numbered(number)).map_err(refused(RULE))?;
            rig.frame()?;
        }
    }
    rig.until("reliable packets arrive at the server", |rig| rig.at_server(host).len() >= 50)?;
    rig.vigil()?;
    rig.must(RULE, rig.at_client(host).is_empty())?;
    rig.must(
        "what others send is not taken for the own client's",
        rig.at_server(host).iter().all(|(key, _)| *key != own),
    )?;
    PASSED
}

/// Never within the call that sends it, nor within the round of polling in which it is sent.
pub fn a_packet_to_the_own_client_waits_for_the_next_frame<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "a packet to the own client waits for the next frame";
    let host = rig.server(0)?;
    if !rig.join_own(host, 0)? {
        return NOT_ITS_OWN_CLIENT;
    }
    let own = rig.key(host, host)?;
    let client = rig.client(0)?;
    rig.send_to_server(client, Reliability::Reliable, b"begin").map_err(refused(RULE))?;
    let mut is_sent = false;
    for _ in 0..200 {
        let mut came = false;
        while let Some(event) = rig.poll(host) {
            match event {
                NetworkEvent::FromClient { packet, .. } if packet == "begin" => {
                    rig.send_to_client(host, own, Delivery::Reliable, b"at once")
                        .map_err(refused(RULE))?;
                    is_sent = true;
                    came = true;
                }
                NetworkEvent::FromServer(packet) if packet == "at once" => rig.must(RULE, !came)?,
                _ => {}
            }
        }
        if is_sent {
            break;
        }
        rig.pass_only();
    }
    rig.must("a reliable packet arrives at the server", is_sent)?;
    PASSED
}

/// As every other client does.
pub fn a_host_that_stops_serving_loses_its_own_client<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let host = rig.server(0)?;
    if !rig.join_own(host, 0)? {
        return NOT_ITS_OWN_CLIENT;
    }
    rig.key(host, host)?;
    rig.stop_hosting(host);
    rig.until("the own client of a server that stops reports Disconnected", |rig| {
        rig.count(host, |event| matches!(event, NetworkEvent::Disconnected(_))) > 0
    })?;
    PASSED
}
