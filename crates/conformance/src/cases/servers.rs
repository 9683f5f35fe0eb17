//! Serving.

use voicemesh_session::network::{NetworkEvent, Reliability, Side};

use crate::rig::PASSED;
use crate::{Rig, Testbed, Verdict, Violation};

/// `host` leads to one [`NetworkEvent::Hosting`].
pub fn hosting_is_reported_once<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    rig.vigil()?;
    rig.must(
        "Hosting is reported once",
        rig.count(server, |event| *event == NetworkEvent::Hosting) == 1,
    )?;
    PASSED
}

/// An address is free again when its server has stopped.
pub fn a_server_serves_again_after_it_stopped<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    for _ in 0..3 {
        rig.stop_hosting(server);
        rig.frame()?;
        rig.serve(server, 0)?;
        let client = rig.client(0)?;
        rig.key(server, client)?;
    }
    PASSED
}

/// [`Network::stop_hosting`](voicemesh_session::network::Network::stop_hosting) on a peer that does
/// not serve does nothing.
pub fn stopping_what_does_not_serve_is_harmless<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    rig.stop_hosting(client);
    rig.stop_hosting(client);
    rig.vigil()?;
    let lost = rig.count(client, |event| matches!(event, NetworkEvent::Disconnected(_)));
    rig.must("stopping a server that there is not leaves the client connected", lost == 0)?;
    rig.key(server, client)?;
    PASSED
}

/// Its clients learn it, once each.
pub fn a_server_that_stops_is_lost_to_its_clients<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let clients = [rig.client(0)?, rig.client(0)?];
    rig.stop_hosting(server);
    let lost = |rig: &Rig<T>, client| {
        rig.count(client, |event| matches!(event, NetworkEvent::Disconnected(_)))
    };
    rig.until("a client whose server stops reports Disconnected", |rig| {
        clients.iter().all(|client| lost(rig, *client) > 0)
    })?;
    rig.vigil()?;
    rig.must(
        "Disconnected is reported once",
        clients.iter().all(|client| lost(rig, *client) == 1),
    )?;
    PASSED
}

/// Nothing for the server's side is polled after it has stopped, not even what was on its way.
pub fn a_server_that_stopped_receives_nothing<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    rig.key(server, client)?;
    for _ in 0..10 {
        let _ = rig.send_to_server(client, Reliability::Reliable, b"late");
    }
    rig.stop_hosting(server);
    rig.forget();
    rig.vigil()?;
    let late = rig.count(server, |event| event.side() == Side::Server);
    rig.must("a server that was stopped reports nothing", late == 0)?;
    PASSED
}

/// Two servers cannot have one address: the second is refused by the call or by
/// [`NetworkEvent::HostingFailed`], and the first goes on.
pub fn an_address_that_is_taken_is_refused<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a server whose address is taken is refused";
    let server = rig.server(0)?;
    let second = rig.peer();
    if rig.host(second, 0).is_ok() {
        rig.until(RULE, |rig| {
            rig.count(second, |event| matches!(event, NetworkEvent::HostingFailed(_))) > 0
        })?;
    }
    rig.must(RULE, rig.count(second, |event| *event == NetworkEvent::Hosting) == 0)?;
    let client = rig.client(0)?;
    rig.key(server, client)?;
    PASSED
}

/// Each gets what its own clients send.
pub fn what_two_servers_receive_is_kept_apart<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let servers = [rig.server(0)?, rig.server(1)?];
    let clients = [rig.client(0)?, rig.client(1)?];
    for (client, packet) in clients.into_iter().zip([b"to zero".as_slice(), b"to one"]) {
        rig.send_to_server(client, Reliability::Reliable, packet).map_err(|error| Violation {
            rule: "a connected client can send",
            seen: error.to_string(),
        })?;
    }
    rig.until("a reliable packet arrives at the server", |rig| {
        servers.iter().all(|server| !rig.at_server(*server).is_empty())
    })?;
    rig.vigil()?;
    for (server, expected) in servers.into_iter().zip(["to zero", "to one"]) {
        let packets = rig.at_server(server);
        let is_own = packets.len() == 1 && packets[0].1 == expected;
        rig.must("a server receives what its own clients send, and nothing else", is_own)?;
    }
    PASSED
}

/// Starting and stopping, a hundred times, in every order.
pub fn a_hundred_starts_and_stops_leave_it_working<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let (server, client) = (rig.peer(), rig.peer());
    for round in 0..100 {
        rig.serve(server, 0)?;
        if round % 3 != 0 {
            rig.join(client, 0)?;
        }
        if round % 2 == 0 {
            rig.disconnect(client);
        }
        rig.stop_hosting(server);
        if round % 4 == 1 {
            rig.disconnect(client);
        }
        rig.frame()?;
        rig.forget();
    }
    rig.serve(server, 0)?;
    rig.join(client, 0)?;
    rig.key(server, client)?;
    PASSED
}
