//! The network inside one process as a testbed.

use voicemesh_conformance::Testbed;
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, ServerParameters};

#[derive(Default)]
pub struct Memory(pub Hub);

impl Testbed for Memory {
    type Network = Endpoint;

    fn peer(&mut self) -> Endpoint {
        self.0.endpoint()
    }

    fn server_parameters(&mut self, server: usize) -> ServerParameters {
        ServerParameters { address: server.to_string() }
    }

    fn client_parameters(&mut self, server: usize) -> ClientParameters {
        ClientParameters { address: server.to_string() }
    }

    fn cut(&mut self, client: &mut Endpoint) -> bool {
        self.0.cut_server(client.key())
    }

    fn break_reliability(&mut self, client: &mut Endpoint) -> bool {
        self.0.break_reliability(client.key())
    }

    fn link(&mut self, a: &mut Endpoint, b: &mut Endpoint) -> bool {
        self.0.connect_link(a.key(), b.key());
        true
    }
}
