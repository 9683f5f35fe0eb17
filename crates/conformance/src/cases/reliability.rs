//! When what must arrive cannot: then the connection ends, and nothing goes on behind a gap.

use bytes::Bytes;
use voicemesh_session::network::{DisconnectReason, NetworkEvent, Reliability};

use crate::rig::PASSED;
use crate::{Outcome, Rig, Testbed, Verdict, Violation};

/// In one frame, of 100 bytes each: more than an integration keeps.
const WITHOUT_END: u32 = 60_000;
const BYTES: usize = 100;

fn numbered(number: u32) -> Bytes {
    let mut packet = number.to_le_bytes().to_vec();
    packet.resize(BYTES, 0xee);
    packet.into()
}

fn is_gone<T: Testbed>(rig: &Rig<T>, server: usize) -> bool {
    rig.count(server, |event| matches!(event, NetworkEvent::ClientGone { .. })) > 0
}

fn from_one_client<T: Testbed>(rig: &Rig<T>, server: usize) -> Vec<Bytes> {
    rig.at_server(server).into_iter().map(|(_, packet)| packet).collect()
}

/// [`DisconnectReason::ReliabilityBroken`], so that a person reads another sentence than for a cable
/// that was pulled. The client can connect again.
pub fn a_loss_on_the_reliable_path_ends_the_connection_and_says_so<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "a reliable packet that is lost for good is reported by ReliabilityBroken";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    rig.key(server, client)?;
    if !rig.break_reliability(client) {
        return Ok(Outcome::Skipped("this testbed cannot lose a reliable packet for good"));
    }
    let is_end = |event: &NetworkEvent<_>| matches!(event, NetworkEvent::Disconnected(_));
    rig.until(RULE, |rig| rig.count(client, is_end) > 0 && is_gone(rig, server))?;
    rig.vigil()?;
    let broken = NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken);
    rig.must(
        RULE,
        rig.count(client, is_end) == 1 && rig.count(client, |event| *event == broken) == 1,
    )?;
    let sent = rig.send_to_server(client, Reliability::Reliable, b"behind a gap");
    rig.must("a reliable packet behind a lost one is refused", sent.is_err())?;
    rig.forget();
    rig.join(client, 0)?;
    rig.key(server, client)?;
    PASSED
}

/// All of them arrive, or one is refused and those before it arrive as far as they do: a packet that
/// was taken never misses while a later one comes.
pub fn reliable_packets_without_end_arrive_without_a_gap<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "no reliable packet is lost before one that arrives";
    let server = rig.server(0)?;
    let client = rig.client(0)?;
    rig.key(server, client)?;
    rig.forget();
    let is_taken = |number: &u32| {
        rig.send_to_server(client, Reliability::Reliable, &numbered(*number)).is_ok()
    };
    let taken = (0..WITHOUT_END).take_while(is_taken).count();
    if taken == WITHOUT_END as usize {
        rig.until(RULE, |rig| rig.at_server(server).len() >= taken || is_gone(rig, server))?;
    } else {
        // The session ends what refuses a reliable packet.
        rig.disconnect(client);
        rig.until("the server learns that a client has left", |rig| is_gone(rig, server))?;
    }
    rig.vigil()?;
    let arrived = from_one_client(rig, server);
    let at = arrived.iter().zip(0..).position(|(packet, number)| *packet != numbered(number));
    match at {
        None if arrived.len() <= taken => PASSED,
        _ => {
            let seen =
                format!("{taken} were taken, {} arrived, wrong from {at:?} on", arrived.len());
            Err(Violation { rule: RULE, seen })
        }
    }
}

/// What others send, and what is unreliable, does not disturb it.
pub fn reliable_packets_of_many_arrive_in_the_order_of_each<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str =
        "reliable packets of many clients arrive whole, once and in the order of each";
    const EACH: u32 = 60;
    let server = rig.server(0)?;
    let clients = (0..5).map(|_| rig.client(0)).collect::<Result<Vec<_>, _>>()?;
    let mut keys = Vec::new();
    for client in &clients {
        keys.push(rig.key(server, *client)?);
    }
    rig.forget();
    for number in 0..EACH {
        for client in &clients {
            let noise = rig.send_to_server(*client, Reliability::Unreliable, &[0xff; 40]);
            let sent = rig.send_to_server(*client, Reliability::Reliable, &numbered(number));
            rig.must("a connection that stands takes packets", noise.is_ok() && sent.is_ok())?;
        }
        if number % 3 == 2 {
            rig.frame()?;
        }
    }
    let of = |rig: &Rig<T>, key| {
        let packets = rig.at_server(server).into_iter();
        let its = packets.filter(|(from, packet)| *from == key && packet.len() == BYTES);
        its.map(|(_, packet)| packet).collect::<Vec<_>>()
    };
    rig.until(RULE, |rig| keys.iter().all(|key| of(rig, *key).len() >= EACH as usize))?;
    rig.vigil()?;
    let expected: Vec<Bytes> = (0..EACH).map(numbered).collect();
    rig.must(RULE, keys.iter().all(|key| of(rig, *key) == expected))?;
    PASSED
}
