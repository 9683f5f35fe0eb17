//! Why a client does not get in, in the words that a person reads. Sockets are real and on loopback,
//! the time is the test's own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use voicemesh_renet::{ClientParameters, RenetNetwork, ServerParameters};
use voicemesh_session::Network;
use voicemesh_session::network::{DisconnectReason, NetworkEvent};

const TICK: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const KEY: [u8; 32] = [7; 32];

/// Where no program listens.
fn nowhere() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn host(clients: usize) -> (RenetNetwork, SocketAddr) {
    let mut host = RenetNetwork::new();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let parameters = ServerParameters { listen, public: Vec::new(), key: KEY, clients };
    host.host(Duration::ZERO, parameters).unwrap();
    let address = host.serves_at().unwrap();
    (host, address)
}

fn client(servers: &[SocketAddr], key: [u8; 32]) -> RenetNetwork {
    let mut client = RenetNetwork::new();
    let parameters = ClientParameters { servers: servers.to_vec(), key, timeout: TIMEOUT };
    client.connect(Duration::ZERO, parameters).unwrap();
    client
}

/// What the last of these reports first, and when; the others are polled meanwhile.
fn first_event(
    mut others: Vec<&mut RenetNetwork>,
    client: &mut RenetNetwork,
) -> (Duration, NetworkEvent<voicemesh_renet::RenetPeer>) {
    let mut now = Duration::ZERO;
    while now < 10 * TIMEOUT {
        now += TICK;
        for other in &mut others {
            while other.poll(now).is_some() {}
        }
        if let Some(event) = client.poll(now) {
            return (now, event);
        }
        std::thread::yield_now();
    }
    panic!("nothing is reported");
}

fn refused(event: NetworkEvent<voicemesh_renet::RenetPeer>) -> String {
    match event {
        NetworkEvent::Disconnected(DisconnectReason::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn where_no_program_listens_one_is_told_before_the_timeout() {
    let address = nowhere();
    let (took, event) = first_event(Vec::new(), &mut client(&[address], KEY));
    assert_eq!(refused(event), format!("no program listens at {address}"));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn the_next_address_is_tried_at_once_where_no_program_listens() {
    let (mut host, address) = host(4);
    let servers = [nowhere(), nowhere(), address];
    let (took, event) = first_event(vec![&mut host], &mut client(&servers, KEY));
    assert_eq!(event, NetworkEvent::Connected);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_full_host_says_so() {
    let (mut host, address) = host(1);
    let mut inside = client(&[address], KEY);
    let (_, event) = first_event(vec![&mut host], &mut inside);
    assert_eq!(event, NetworkEvent::Connected);
    let (_, event) = first_event(vec![&mut host, &mut inside], &mut client(&[address], KEY));
    assert_eq!(refused(event), "the host is full");
}

#[test]
fn without_an_answer_the_possible_causes_are_named() {
    let (mut host, address) = host(4);
    let (took, event) = first_event(vec![&mut host], &mut client(&[address], [8; 32]));
    assert_eq!(
        refused(event),
        "no answer: the link may be old, the host gone, or a firewall between"
    );
    assert!(took >= TIMEOUT, "{took:?}");
    // A socket that says nothing.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let (_, event) = first_event(Vec::new(), &mut client(&[address], KEY));
    assert!(refused(event).starts_with("no answer"));
}

/// What says so can be forged by anyone who knows the addresses.
#[test]
fn a_connection_that_stands_is_not_ended_by_word_that_no_program_listens() {
    let (mut host, address) = host(4);
    let mut inside = client(&[address], KEY);
    let (mut now, event) = first_event(vec![&mut host], &mut inside);
    assert_eq!(event, NetworkEvent::Connected);
    // Its program is gone without a word.
    drop(host);
    let mut refusals = 0;
    let gone = loop {
        now += TICK;
        refusals = refusals.max(inside.socket_errors());
        if let Some(event) = inside.poll(now) {
            break event;
        }
        assert!(now < 10 * TIMEOUT);
    };
    assert_eq!(gone, NetworkEvent::Disconnected(DisconnectReason::Lost));
    assert!(now >= TIMEOUT && refusals > 3, "{now:?}, {refusals} refusals");
}

/// A VPN comes up, or a router gives another address, while it serves.
#[test]
fn a_server_on_all_addresses_lets_in_who_comes_by_one_that_it_was_not_told() {
    let mut host = RenetNetwork::new();
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let public = vec![SocketAddr::from(([192, 0, 2, 1], 7788))];
    host.host(Duration::ZERO, ServerParameters { listen, public, key: KEY, clients: 1 }).unwrap();
    let port = host.serves_at().unwrap().port();
    let mut client = client(&[SocketAddr::from((Ipv4Addr::LOCALHOST, port))], KEY);
    assert_eq!(first_event(vec![&mut host], &mut client).1, NetworkEvent::Connected);
}
