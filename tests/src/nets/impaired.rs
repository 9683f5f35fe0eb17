//! The program `voicemesh-impair` as a handle.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Counts, Host, Impairment};
use crate::process::{Program, binary};

/// Answers come at once; a busy machine may need longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A user-space link between the interfaces of two hosts; ends when dropped.
pub struct ImpairedLink {
    program: Program,
}

impl ImpairedLink {
    /// Makes both interfaces and connects them; both are up. Perfect until changed.
    pub(super) fn new(a: &Host, interface_a: &str, b: &Host, interface_b: &str, seed: u64) -> Self {
        let mut command = a.command(binary("voicemesh-impair"));
        command.args([interface_a, interface_b, &seed.to_string()]);
        let mut program = Program::start("voicemesh-impair", command);
        program.wait_for_line("ready", PATIENCE);
        a.run(&format!("ip link set {interface_b} netns {}", b.namespace()));
        a.run(&format!("ip link set {interface_a} up"));
        b.run(&format!("ip link set {interface_b} up"));
        Self { program }
    }

    /// Impairs frames from B to A: the uplink, where B is a home.
    pub fn set_up(&mut self, impairment: Impairment) {
        self.ask(&json!({ "to_a": impairment.to_json() }));
    }

    /// Impairs frames from A to B: the downlink.
    pub fn set_down(&mut self, impairment: Impairment) {
        self.ask(&json!({ "to_b": impairment.to_json() }));
    }

    /// Frames so far, up and down.
    #[must_use]
    pub fn counts(&mut self) -> (Counts, Counts) {
        let answer = self.ask(&json!({ "counts": true }));
        let counts = |way: &Value| {
            let number = |key: &str| way[key].as_u64().unwrap_or_default();
            Counts {
                frames: number("frames"),
                bytes: number("bytes"),
                dtls_frames: number("dtls_frames"),
                dtls_bytes: number("dtls_bytes"),
                lost: number("lost"),
                dropped: number("dropped"),
            }
        };
        (counts(&answer["to_a"]), counts(&answer["to_b"]))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.program.type_line(&request.to_string());
        let answer = self.program.wait_for("an answer", PATIENCE, Value::is_object).json;
        assert!(answer["error"].is_null(), "{request}: {answer}");
        answer
    }
}
