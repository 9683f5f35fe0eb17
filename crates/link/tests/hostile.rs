//! Remotes that say or send what they should not: their link ends or their message is dropped, and
//! nothing else.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{End, alone, alone_on, open_pair, stack};
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::Instant;
use voicemesh_link::{CloseReason, LinkEvent, Role, Stream};
use voicemesh_wire::signaling::Signal;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCPeerConnectionIceEvent, RTCSessionDescription,
};

fn candidate(candidate: &str) -> Signal {
    Signal::Candidate { candidate: candidate.to_owned(), sdp_mid: None, sdp_m_line_index: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_that_is_garbage_ends_the_link_with_a_reason() {
    for sdp in
        ["", "garbage", "v=0\r\n", "\0\0\0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"]
    {
        let mut end = alone(Role::Answer);
        end.link().signal(Signal::Offer { sdp: sdp.to_owned() });
        assert!(matches!(end.events.closed().await, CloseReason::Negotiation(_)), "{sdp:?}");
    }
    let mut end = alone(Role::Answer);
    end.link().signal(Signal::Offer { sdp: "v=0\r\n".repeat(10_000) });
    assert!(matches!(end.events.closed().await, CloseReason::Negotiation(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_with_any_line_missing_doubled_or_spoiled_never_breaks_the_stack() {
    let sdp = match alone(Role::Offer).signal().await {
        Signal::Offer { sdp } => sdp,
        other => panic!("expected an offer, got {other:?}"),
    };
    let lines: Vec<&str> = sdp.lines().collect();
    let (mut answered, mut refused) = (0, 0);
    for index in 0..lines.len() {
        let line = lines[index];
        let (name, _) = line.split_once([':', ' ']).unwrap_or((line, ""));
        for spoiled in [
            vec![],
            vec![line, line],
            vec![name],
            vec![&line[..line.len() / 2]],
            vec![name, "a=x:\u{ffff}"],
        ] {
            let mut spoiled_lines = lines.clone();
            spoiled_lines.splice(index..=index, spoiled);
            let mut end = alone(Role::Answer);
            end.link().signal(Signal::Offer { sdp: spoiled_lines.join("\r\n") + "\r\n" });
            // Either it is taken, and answered, or the link ends.
            match end.events.next().await {
                LinkEvent::Signal(Signal::Answer { .. }) => answered += 1,
                LinkEvent::Closed(CloseReason::Negotiation(_)) => refused += 1,
                other => panic!("{other:?} after {spoiled_lines:?}"),
            }
        }
    }
    assert!(answered > 10 && refused > 10, "{answered} answered, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_candidates_is_bounded_and_the_link_still_opens() {
    let (mut a, mut b) = (alone(Role::Offer), alone(Role::Answer));
    b.link().signal(a.signal().await);
    let answer = b.signal().await;
    exchange(&mut a, &b).await;
    exchange(&mut b, &a).await;
    for number in 0..2000_u32 {
        a.link().signal(candidate(&format!(
            "candidate:{number} 1 udp 1 127.0.0.1 {} typ host",
            1024 + number
        )));
        a.link().signal(candidate("candidate:1 1 udp 1 nonsense 9 typ host"));
    }
    a.link().signal(answer);
    assert_eq!(a.events.next().await, LinkEvent::Open);
    assert_eq!(b.events.next().await, LinkEvent::Open);
    assert!(a.link().stats().signals_refused > 3000);
}

/// What a remote names is tried at no more addresses than an honest one has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_candidates_no_more_than_ten_are_tried() {
    const WINDOW: Duration = Duration::from_secs(3);
    let (mut hostile, link) = (alone(Role::Offer), alone(Role::Answer));
    link.link().signal(hostile.signal().await);
    let mut third = Vec::new();
    for number in 0..40 {
        let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        link.link().signal(candidate(&format!(
            "candidate:{number} 1 udp {} 127.0.0.1 {port} typ host",
            900 - number
        )));
        third.push(socket);
    }
    let asked = third.iter().map(|socket| async move {
        let mut buffer = [0; 1_500];
        tokio::time::timeout(WINDOW, socket.recv_from(&mut buffer)).await.is_ok()
    });
    let asked =
        futures_util::future::join_all(asked).await.into_iter().filter(|asked| *asked).count();
    assert!((5..=10).contains(&asked), "{asked} of 40 were asked");
}

/// Offers that name a third machine, one after the other as fast as they are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_name_a_third_machine_bring_it_few_datagrams() {
    const WINDOW: Duration = Duration::from_secs(2);
    let victim = stack();
    let mut third = Vec::new();
    for _ in 0..10 {
        third.push(tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket"));
    }
    let began = Instant::now();
    let mut links = Vec::new();
    for _ in 0..8 {
        let mut hostile = alone(Role::Offer);
        let link = alone_on(&victim, Role::Answer);
        link.link().signal(hostile.signal().await);
        for (number, socket) in third.iter().enumerate() {
            let port = socket.local_addr().expect("an address").port();
            link.link().signal(candidate(&format!(
                "candidate:{number} 1 udp {} 127.0.0.1 {port} typ host",
                900 - number
            )));
        }
        links.push(link);
    }
    let counting = third.iter().map(|socket| async move {
        let mut came = 0;
        let mut buffer = [0; 1_500];
        let _ = tokio::time::timeout(WINDOW, async {
            while socket.recv_from(&mut buffer).await.is_ok() {
                came += 1;
            }
        })
        .await;
        came
    });
    let came: usize = futures_util::future::join_all(counting).await.into_iter().sum();
    // Twenty at once and twenty a second, for as long as this took.
    let took = began.elapsed();
    println!("{came} datagrams in {took:?}");
    let most = 20 + (20.0 * took.as_secs_f64()) as usize;
    assert!((20..=most).contains(&came), "{came} datagrams in {took:?}, at most {most}");
}

/// Hands over the candidates of one end.
async fn exchange(from: &mut End, to: &End) {
    loop {
        match from.signal().await {
            Signal::EndOfCandidates => break,
            signal => to.link().signal(signal),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_out_of_place_are_counted_and_harm_nothing() {
    let (a, mut b) = open_pair().await;
    for end in [&a, &b] {
        end.link().signal(Signal::RequestOffer);
        end.link().signal(Signal::Offer { sdp: "garbage".to_owned() });
        end.link().signal(Signal::Answer { sdp: "garbage".to_owned() });
        end.link().signal(candidate("garbage"));
        end.link().signal(candidate(""));
        end.link().signal(Signal::EndOfCandidates);
    }
    a.link().send(Stream::Reliable, Bytes::from_static(b"still here")).unwrap();
    assert_eq!(b.received().await, (Stream::Reliable, b"still here".to_vec()));
    assert_eq!(b.link().stats().signals_refused, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_large_or_malformed_are_dropped_and_counted() {
    let mut stranger = Stranger::connect(Role::Answer).await;
    for (id, message) in
        [(0, vec![1; 1500]), (2, vec![1; 2000]), (1, vec![9; 20]), (1, vec![]), (1, vec![0, 7])]
    {
        stranger.channels[id].send(BytesMut::from(&message[..])).await.unwrap();
    }
    assert_eq!(stranger.end.received().await, (Stream::Reliable, vec![7]));
    for _ in 0..200 {
        stranger.channels[1].send(BytesMut::from(&[1; 1024][..])).await.unwrap();
    }
    stranger.channels[1].send(BytesMut::from(&[0, 8][..])).await.unwrap();
    stranger.channels[1].send(BytesMut::from(&[0, 9][..])).await.unwrap();
    assert_eq!(stranger.end.received().await, (Stream::Reliable, vec![9]));
    let stats = stranger.end.link().stats();
    assert_eq!(stats.messages_refused, 5, "{stats:?}");
    assert_eq!(stats.reliable_received, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_opens_a_channel_of_its_own_is_shown_the_door() {
    let mut stranger = Stranger::connect(Role::Answer).await;
    let _channel = stranger.peer.create_data_channel("mine", None).await.unwrap();
    assert!(matches!(stranger.end.events.closed().await, CloseReason::Misbehaved(_)));
}

/// A link, and at its other end a connection that does as it likes.
struct Stranger {
    end: End,
    peer: Box<dyn PeerConnection>,
    channels: Vec<Arc<dyn DataChannel>>,
}

impl Stranger {
    /// The link has the given role; comes back when it is open.
    async fn connect(role: Role) -> Self {
        assert_eq!(role, Role::Answer, "the stranger only offers");
        let mut end = alone(role);
        let (candidate_sender, mut candidates) = mpsc::unbounded_channel();
        let peer = PeerConnectionBuilder::new()
            .with_handler(Arc::new(Candidates(candidate_sender)))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .unwrap();
        let mut channels = Vec::new();
        for id in 0..3 {
            let init = RTCDataChannelInit { negotiated: Some(id), ..RTCDataChannelInit::default() };
            channels.push(peer.create_data_channel("", Some(init)).await.unwrap());
        }
        let offer = peer.create_offer(None).await.unwrap();
        end.link().signal(Signal::Offer { sdp: offer.sdp.clone() });
        peer.set_local_description(offer).await.unwrap();
        let Signal::Answer { sdp } = end.signal().await else { panic!("expected an answer") };
        peer.set_remote_description(RTCSessionDescription::answer(sdp).unwrap()).await.unwrap();
        while let Signal::Candidate { candidate, .. } = end.signal().await {
            let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
            peer.add_ice_candidate(candidate).await.unwrap();
        }
        let line =
            tokio::time::timeout(Duration::from_secs(5), candidates.recv()).await.unwrap().unwrap();
        end.link().signal(candidate(&line));
        assert_eq!(end.events.next().await, LinkEvent::Open);
        while !matches!(channels[1].poll().await, Some(DataChannelEvent::OnOpen) | None) {}
        Self { end, peer: Box::new(peer), channels }
    }
}

struct Candidates(mpsc::UnboundedSender<String>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Candidates {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let _ = self.0.send(event.candidate.to_json().unwrap().candidate);
    }
}
