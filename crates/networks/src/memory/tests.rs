use super::*;
use voicemesh_session::network::DisconnectReason;

const NOW: Duration = Duration::ZERO;

fn address() -> String {
    "here".to_owned()
}

fn serve(hub: &Hub) -> Endpoint {
    let mut server = hub.endpoint();
    server.host(NOW, ServerParameters { address: address() }).unwrap();
    assert_eq!(events(&mut server), [NetworkEvent::Hosting]);
    server
}

fn join(hub: &Hub) -> Endpoint {
    let mut client = hub.endpoint();
    client.connect(NOW, ClientParameters { address: address() }).unwrap();
    client
}

fn events(endpoint: &mut Endpoint) -> Vec<NetworkEvent<PeerKey>> {
    std::iter::from_fn(|| endpoint.poll(NOW)).collect()
}

fn packet(n: u8) -> Bytes {
    Bytes::from(vec![n])
}

/// proves: D-45, D-47, D-48
#[test]
fn packets_go_both_ways_once_in_order_and_with_the_peer_that_sent_them() {
    let hub = Hub::new();
    let mut server = serve(&hub);
    let mut ada = join(&hub);
    let mut bob = join(&hub);
    assert_eq!(events(&mut ada), [NetworkEvent::Connected]);
    assert_eq!(events(&mut bob), [NetworkEvent::Connected]);
    ada.send_to_server(NOW, Reliability::Reliable, packet(1)).unwrap();
    bob.send_to_server(NOW, Reliability::Unreliable, packet(2)).unwrap();
    ada.send_to_server(NOW, Reliability::Unreliable, packet(3)).unwrap();
    let from =
        |peer: &Endpoint, n| NetworkEvent::FromClient { peer: peer.key(), packet: packet(n) };
    assert_eq!(events(&mut server), [from(&ada, 1), from(&bob, 2), from(&ada, 3)]);
    assert_eq!(events(&mut server), []);
    server.send_to_client(NOW, ada.key(), Delivery::Reliable, packet(4)).unwrap();
    server.send_to_client(NOW, ada.key(), Delivery::Voice, packet(5)).unwrap();
    assert_eq!(
        events(&mut ada),
        [NetworkEvent::FromServer(packet(4)), NetworkEvent::FromServer(packet(5))]
    );
    assert_eq!(events(&mut bob), []);
}

/// proves: D-43
#[test]
fn a_slow_connect_is_reported_when_it_is_there_and_carries_nothing_before() {
    let hub = Hub::new();
    hub.hold_connects(true);
    let mut server = serve(&hub);
    let mut client = join(&hub);
    assert_eq!(events(&mut client), []);
    let too_early = client.send_to_server(NOW, Reliability::Reliable, packet(1));
    assert_eq!(too_early, Err(NetworkError::NotConnected));
    assert!(hub.complete_connect(client.key()));
    assert!(!hub.complete_connect(client.key()));
    assert_eq!(events(&mut client), [NetworkEvent::Connected]);
    assert_eq!(events(&mut server), []);
}

#[test]
fn a_client_whose_server_is_not_there_is_refused() {
    let hub = Hub::new();
    let mut client = join(&hub);
    let refused = events(&mut client);
    assert!(
        matches!(&refused[..], [NetworkEvent::Disconnected(DisconnectReason::Refused(_))]),
        "{refused:?}"
    );
    let _server = serve(&hub);
    let mut second = hub.endpoint();
    assert!(
        second.host(NOW, ServerParameters { address: address() }).is_err(),
        "one server has an address"
    );
}

/// proves: D-44
#[test]
fn a_server_that_stops_takes_everything_with_it_and_can_serve_again() {
    let hub = Hub::new();
    let mut server = serve(&hub);
    let mut client = join(&hub);
    client.send_to_server(NOW, Reliability::Reliable, packet(1)).unwrap();
    server.send_to_client(NOW, client.key(), Delivery::Reliable, packet(2)).unwrap();
    server.stop_hosting(NOW);
    server.stop_hosting(NOW);
    assert_eq!(events(&mut server), [], "what was not polled is gone");
    let lost = NetworkEvent::Disconnected(DisconnectReason::Lost);
    assert_eq!(
        events(&mut client),
        [NetworkEvent::Connected, NetworkEvent::FromServer(packet(2)), lost]
    );
    assert_eq!(
        client.send_to_server(NOW, Reliability::Reliable, packet(3)),
        Err(NetworkError::NotConnected)
    );
    server.host(NOW, ServerParameters { address: address() }).unwrap();
    client.connect(NOW, ClientParameters { address: address() }).unwrap();
    assert_eq!(events(&mut server), [NetworkEvent::Hosting]);
    assert_eq!(events(&mut client), [NetworkEvent::Connected]);
}

#[test]
fn a_client_that_leaves_or_is_cut_or_dropped_is_gone_once() {
    let hub = Hub::new();
    let mut server = serve(&hub);
    let clients = [join(&hub), join(&hub), join(&hub)];
    let keys = clients.each_ref().map(Endpoint::key);
    let [mut leaver, mut cut, dropped] = clients;
    leaver.disconnect(NOW);
    leaver.disconnect(NOW);
    assert!(hub.cut_server(cut.key()));
    assert!(!hub.cut_server(cut.key()));
    drop(dropped);
    assert_eq!(events(&mut server), keys.map(|peer| NetworkEvent::ClientGone { peer }));
    assert_eq!(events(&mut leaver), []);
    let lost = NetworkEvent::Disconnected(DisconnectReason::Lost);
    assert_eq!(events(&mut cut), [NetworkEvent::Connected, lost]);
}

#[test]
fn what_is_sent_while_polling_waits_for_the_next_round() {
    let hub = Hub::new();
    let mut server = serve(&hub);
    let client = join(&hub);
    server.connect(NOW, ClientParameters { address: address() }).unwrap();
    server.send_to_server(NOW, Reliability::Reliable, packet(0)).unwrap();
    for round in 0..3 {
        let mut seen = 0;
        while let Some(event) = server.poll(NOW) {
            seen += 1;
            if let NetworkEvent::FromClient { packet, .. } = event {
                server.send_to_server(NOW, Reliability::Reliable, packet).unwrap();
            }
        }
        assert_eq!(seen, if round == 0 { 2 } else { 1 });
    }
    drop(client);
}

#[test]
fn links_carry_packets_between_two_and_are_replaced_by_a_higher_generation() {
    let hub = Hub::new();
    let [mut ada, mut bob] = [hub.endpoint(), hub.endpoint()];
    let to = |peer: &Endpoint, generation| LinkId { peer: peer.key(), generation };
    assert_eq!(hub.connect_link(ada.key(), bob.key()), 1);
    assert_eq!(hub.connect_link(bob.key(), ada.key()), 2);
    assert_eq!(
        events(&mut ada),
        [NetworkEvent::LinkUp(to(&bob, 1)), NetworkEvent::LinkUp(to(&bob, 2))]
    );
    ada.release_link(NOW, to(&bob, 1));
    let client = voicemesh_wire::ClientId(1);
    let mut destinations =
        vec![1, 2].into_iter().map(|n| Destination { client, link: to(&bob, n) }).collect();
    ada.send_to_links(NOW, &mut destinations, Reliability::Unreliable, &packet(7));
    assert_eq!(
        destinations,
        [Destination { client, link: to(&bob, 1) }],
        "whom it reached is removed"
    );
    let seen = events(&mut bob);
    assert_eq!(
        seen[2..],
        [
            NetworkEvent::LinkDown(to(&ada, 1)),
            NetworkEvent::FromLink { link: to(&ada, 2), packet: packet(7) },
        ]
    );
    assert_eq!(hub.cut_link(ada.key(), bob.key()), 1);
    assert_eq!(events(&mut bob), [NetworkEvent::LinkDown(to(&ada, 2))]);
    assert_eq!(hub.connect_link(ada.key(), bob.key()), 3, "a generation is never used again");
    ada.disconnect(NOW);
    assert_eq!(events(&mut ada), [], "links end with the client side");
    assert_eq!(
        events(&mut bob),
        [NetworkEvent::LinkUp(to(&ada, 3)), NetworkEvent::LinkDown(to(&ada, 3))]
    );
}

#[test]
fn links_outlive_the_connection_to_the_server() {
    let hub = Hub::new();
    let mut server = serve(&hub);
    let [mut ada, mut bob] = [join(&hub), join(&hub)];
    hub.connect_link(ada.key(), bob.key());
    for endpoint in [&mut server, &mut ada, &mut bob] {
        events(endpoint);
    }
    hub.cut_server(ada.key());
    ada.connect(NOW, ClientParameters { address: address() }).unwrap();
    let lost = NetworkEvent::Disconnected(DisconnectReason::Lost);
    assert_eq!(events(&mut ada), [lost, NetworkEvent::Connected]);
    assert_eq!(events(&mut bob), []);
    assert_eq!(events(&mut server), [NetworkEvent::ClientGone { peer: ada.key() }]);
    assert_eq!(hub.cut_link(ada.key(), bob.key()), 1);
}

/// proves: D-49
#[test]
fn a_full_inbox_loses_what_is_unreliable_and_ends_what_is_reliable() {
    let hub = Hub::new();
    let mut server = serve(&hub);
    let mut client = join(&hub);
    events(&mut client);
    let send = |client: &mut Endpoint, how| {
        (0..100_000).find_map(|_| client.send_to_server(NOW, how, packet(0)).err())
    };
    assert_eq!(send(&mut client, Reliability::Unreliable), None);
    assert_eq!(send(&mut client, Reliability::Reliable), Some(NetworkError::ReliabilityBroken));
    assert_eq!(
        events(&mut client),
        [NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken)]
    );
    let waiting = events(&mut server);
    assert!(waiting.len() < 20_000, "{}", waiting.len());
    assert_eq!(waiting.last(), Some(&NetworkEvent::ClientGone { peer: client.key() }));
}
