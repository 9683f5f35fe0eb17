//! What an engine asks of a network, and when.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_engine::{EngineConfig, EngineOnNetwork, VoiceEngine};
use voicemesh_session::network::{Delivery, Network, NetworkError, NetworkEvent, Reliability};

/// What it takes to serve and to join here: types that only this network has.
#[derive(Clone, Debug, PartialEq)]
struct Table(u8);
#[derive(Clone, Debug, PartialEq)]
struct Seat {
    table: Table,
    number: u16,
}

#[derive(Debug, Default)]
struct Calls(Vec<String>);

impl Network for Calls {
    type Peer = u8;
    type ClientParameters = Seat;
    type ServerParameters = Table;

    fn initialise(&mut self) {
        self.0.push("initialise".to_owned());
    }

    fn connect(&mut self, _now: Duration, seat: Seat) -> Result<(), NetworkError> {
        self.0.push(format!("connect to {} at {}", seat.number, seat.table.0));
        Ok(())
    }

    fn disconnect(&mut self, _now: Duration) {
        self.0.push("disconnect".to_owned());
    }

    fn host(&mut self, _now: Duration, table: Table) -> Result<(), NetworkError> {
        self.0.push(format!("host {}", table.0));
        Ok(())
    }

    fn stop_hosting(&mut self, _now: Duration) {
        self.0.push("stop hosting".to_owned());
    }

    fn poll(&mut self, _now: Duration) -> Option<NetworkEvent<u8>> {
        None
    }

    fn send_to_server(
        &mut self,
        _: Duration,
        _: Reliability,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        self.0.push("send".to_owned());
        Ok(())
    }

    fn send_to_client(
        &mut self,
        _: Duration,
        _: u8,
        _: Delivery,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        self.0.push("send".to_owned());
        Ok(())
    }
}

fn asked(engine: &mut EngineOnNetwork<Calls>) -> Vec<String> {
    let mut calls = std::mem::take(&mut engine.network_mut().0);
    // Where nothing is, ending it is harmless, and may be asked more than once.
    calls.retain(|call| !matches!(call.as_str(), "disconnect" | "stop hosting"));
    calls
}

/// proves: D-41, D-42
#[test]
fn a_network_is_initialised_once_before_all_else_and_gets_its_own_parameters() {
    let engine = VoiceEngine::new(EngineConfig::new("Ada", 1)).expect("an engine");
    let mut engine = EngineOnNetwork::new(engine, Calls::default());
    assert_eq!(asked(&mut engine), [""; 0], "what is made asks nothing of the network");

    let now = Duration::ZERO;
    let seat = |number| Seat { table: Table(7), number };
    engine.run_as_client(now, seat(3)).expect("a client");
    assert_eq!(asked(&mut engine), ["initialise", "connect to 3 at 7"]);
    engine.stop(now);
    engine.run_as_client(now, seat(4)).expect("a client");
    assert_eq!(asked(&mut engine), ["connect to 4 at 7"]);
    engine.stop(now);
    engine.run_as_dedicated_server(now, Table(9)).expect("a server");
    assert_eq!(asked(&mut engine), ["host 9"]);
}
