//! Connecting and leaving.

use voicemesh_session::network::{Delivery, NetworkEvent, Reliability, Side};

use crate::rig::PASSED;
use crate::{Outcome, Rig, Testbed, Verdict};

fn gone<T: Testbed>(rig: &Rig<T>, server: usize) -> usize {
    rig.count(server, |event| matches!(event, NetworkEvent::ClientGone { .. }))
}

fn lost<T: Testbed>(rig: &Rig<T>, client: usize) -> usize {
    rig.count(client, |event| matches!(event, NetworkEvent::Disconnected(_)))
}

/// `connect` leads to one [`NetworkEvent::Connected`].
pub fn a_connection_is_reported_once<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    rig.server(0)?;
    let client = rig.client(0)?;
    rig.vigil()?;
    rig.must(
        "Connected is reported once",
        rig.count(client, |event| *event == NetworkEvent::Connected) == 1,
    )?;
    rig.must("a connection that stands is not lost", lost(rig, client) == 0)?;
    PASSED
}

/// [`Network::connect`](voicemesh_session::network::Network::connect) only begins: a server that
/// cannot be reached is no error of the call, since it cannot be known yet.
pub fn connecting_is_no_call_that_answers_at_once<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let client = rig.peer();
    let begun = rig.connect(client, 2);
    rig.must("connect only begins", begun.is_ok())?;
    PASSED
}

/// Until [`NetworkEvent::Connected`] there is nothing to send on.
pub fn nothing_is_sent_before_the_connection_is_there<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.peer();
    let sent = rig.send_to_server(client, Reliability::Reliable, b"too early");
    rig.must("a reliable packet without a connection is refused", sent.is_err())?;
    rig.join(client, 0)?;
    rig.key(server, client)?;
    let early = rig.at_server(server).iter().any(|(_, packet)| packet == "too early");
    rig.must("what was refused does not arrive", !early)?;
    PASSED
}

/// A reliable packet that can no longer be delivered is refused, or the session would miss it
/// without knowing.
pub fn nothing_is_sent_after_the_connection_has_ended<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    rig.stop_hosting(server);
    rig.until("a client whose server stops reports Disconnected", |rig| lost(rig, client) > 0)?;
    let sent = rig.send_to_server(client, Reliability::Reliable, b"too late");
    rig.must("a reliable packet without a connection is refused", sent.is_err())?;
    PASSED
}

/// [`NetworkEvent::Disconnected`] comes, and no [`NetworkEvent::Connected`].
pub fn who_connects_to_no_server_is_told<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let client = rig.peer();
    if rig.connect(client, 2).is_ok() {
        rig.until("a server that is not there is reported by Disconnected", |rig| {
            lost(rig, client) > 0
        })?;
    }
    rig.must(
        "what is not there is not connected",
        rig.count(client, |event| *event == NetworkEvent::Connected) == 0,
    )?;
    PASSED
}

/// `disconnect` without a connection does nothing.
pub fn disconnecting_what_is_not_connected_is_harmless<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.peer();
    rig.disconnect(client);
    rig.disconnect(client);
    rig.disconnect(server);
    rig.vigil()?;
    rig.must(
        "leaving what was never entered is no event",
        rig.seen(client).is_empty() && gone(rig, server) == 0,
    )?;
    rig.join(client, 0)?;
    rig.key(server, client)?;
    PASSED
}

/// Nothing for the client's side is polled after it has left, not even what was on its way.
pub fn who_disconnects_hears_nothing_more<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let key = rig.key(server, client)?;
    for _ in 0..10 {
        let _ = rig.send_to_client(server, key, Delivery::Reliable, b"late");
    }
    rig.disconnect(client);
    rig.forget();
    rig.vigil()?;
    let late = rig.count(client, |event| {
        matches!(event, NetworkEvent::FromServer(_) | NetworkEvent::Connected)
    });
    rig.must("a client that disconnected receives nothing", late == 0)?;
    PASSED
}

/// One [`NetworkEvent::ClientGone`].
pub fn the_server_learns_once_that_a_client_has_left<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let (client, other) = (rig.client(0)?, rig.client(0)?);
    let key = rig.key(server, client)?;
    rig.key(server, other)?;
    rig.disconnect(client);
    rig.until("the server learns that a client has left", |rig| gone(rig, server) > 0)?;
    rig.vigil()?;
    let is_it = |event: &NetworkEvent<_>| *event == NetworkEvent::ClientGone { peer: key };
    rig.must(
        "ClientGone is reported once, for the one that left",
        rig.count(server, is_it) == 1 && gone(rig, server) == 1,
    )?;
    PASSED
}

/// The connection that was to be is not reported any more.
pub fn who_disconnects_while_connecting_is_never_connected<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    rig.server(0)?;
    let client = rig.peer();
    let _ = rig.connect(client, 0);
    rig.disconnect(client);
    rig.vigil()?;
    let connected = rig.count(client, |event| *event == NetworkEvent::Connected);
    rig.must("who gave up connecting is not connected", connected == 0)?;
    PASSED
}

/// And has another key than those that are still there.
pub fn a_client_can_come_back<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let (client, other) = (rig.client(0)?, rig.client(0)?);
    let others = rig.key(server, other)?;
    for _ in 0..3 {
        rig.key(server, client)?;
        let before = gone(rig, server);
        rig.disconnect(client);
        rig.until("the server learns that a client has left", |rig| gone(rig, server) > before)?;
        rig.join(client, 0)?;
        rig.forget();
        let key = rig.key(server, client)?;
        rig.must("who comes back is not taken for another", key != others)?;
    }
    PASSED
}

/// One client has one connection: the earlier one is gone at the server before the new one sends.
pub fn a_client_that_connects_anew_ends_what_it_had<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    rig.key(server, client)?;
    rig.forget();
    rig.join(client, 0)?;
    rig.key(server, client)?;
    let is_gone = |event: &NetworkEvent<_>| matches!(event, NetworkEvent::ClientGone { .. });
    let is_packet = |event: &NetworkEvent<_>| matches!(event, NetworkEvent::FromClient { .. });
    let seen = rig.seen(server);
    let (gone, packet) = (seen.iter().position(is_gone), seen.iter().position(is_packet));
    rig.must(
        "the earlier connection of a client ends before the next one sends",
        gone.is_some() && gone < packet,
    )?;
    PASSED
}

/// [`NetworkEvent::Disconnected`] at the client, [`NetworkEvent::ClientGone`] at the server.
pub fn a_connection_that_is_cut_is_reported_once_at_both_ends<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let key = rig.key(server, client)?;
    if !rig.cut(client) {
        return Ok(Outcome::Skipped("this testbed cannot cut a connection"));
    }
    rig.until("a connection that ends is reported at both ends", |rig| {
        lost(rig, client) > 0 && gone(rig, server) > 0
    })?;
    rig.vigil()?;
    let is_it = |event: &NetworkEvent<_>| *event == NetworkEvent::ClientGone { peer: key };
    rig.must(
        "an end is reported once",
        lost(rig, client) == 1 && rig.count(server, is_it) == 1 && gone(rig, server) == 1,
    )?;
    let last = rig.seen(client).iter().rposition(|event| event.side() == Side::Client);
    let is_end =
        last.is_some_and(|last| matches!(rig.seen(client)[last], NetworkEvent::Disconnected(_)));
    rig.must("Disconnected is the last of a connection", is_end)?;
    PASSED
}

/// [`NetworkEvent::ClientGone`] is the last of a connection.
pub fn a_client_that_left_sends_nothing_more<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    let key = rig.key(server, client)?;
    for number in 0..50_u8 {
        let how = if number % 2 == 0 { Reliability::Reliable } else { Reliability::Unreliable };
        let _ = rig.send_to_server(client, how, &[number; 20]);
    }
    rig.disconnect(client);
    rig.until("the server learns that a client has left", |rig| gone(rig, server) > 0)?;
    rig.vigil()?;
    let ended =
        rig.seen(server).iter().position(|event| *event == NetworkEvent::ClientGone { peer: key });
    let after = &rig.seen(server)[ended.unwrap_or_default()..];
    let speaks = after
        .iter()
        .any(|event| matches!(event, NetworkEvent::FromClient { peer, .. } if *peer == key));
    rig.must("after ClientGone nothing comes from that connection", ended.is_some() && !speaks)?;
    PASSED
}

/// One after the other.
pub fn a_hundred_clients_come_and_go<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.peer();
    for round in 0..100 {
        rig.join(client, 0)?;
        rig.key(server, client)?;
        rig.disconnect(client);
        rig.until("the server learns that a client has left", |rig| gone(rig, server) > round)?;
    }
    PASSED
}

/// Not another.
pub fn a_client_reaches_the_server_it_named<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let servers = [rig.server(0)?, rig.server(1)?];
    let client = rig.client(1)?;
    rig.key(servers[1], client)?;
    rig.disconnect(client);
    rig.join(client, 0)?;
    rig.key(servers[0], client)?;
    let is_moved = rig.at_server(servers[1]).len() == 1 && rig.at_server(servers[0]).len() == 1;
    rig.must("a client that goes to another server sends to that one", is_moved)?;
    PASSED
}
