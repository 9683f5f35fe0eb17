//! Clients of UnityP2P by other authors: aiortc's WebRTC and Python's `websockets`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{Server, within};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What it says and how it ends, while the server goes on.
async fn run(mut command: Command) -> std::io::Result<Output> {
    let running = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    running.await.expect("it does not panic")
}

/// Python with what the clients need, installed at the first time. With `CI=true` it has to be
/// there.
async fn python() -> Option<PathBuf> {
    let mut command = Command::new(root().join("scripts/venv.sh"));
    command.args(["aiortc", "signaling/tests/aiortc/requirements.txt"]).current_dir(root());
    let output = run(command).await;
    let why = match output {
        Ok(output) if output.status.success() => {
            let folder = String::from_utf8(output.stdout).expect("a path");
            return Some(Path::new(folder.trim()).join("bin/python"));
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(
        std::env::var("CI").map_or(true, |ci| ci != "true"),
        "aiortc must run where CI=true: {why}"
    );
    eprintln!("SKIPPED aiortc: {why}");
    None
}

/// proves: U-24
#[tokio::test]
async fn two_clients_of_the_original_protocol_open_webrtc_and_go_on_without_the_server() {
    let Some(python) = python().await else { return };
    let server = Server::start().await;
    let mut command = Command::new(python);
    command
        .arg(root().join("signaling/tests/aiortc/two_clients.py"))
        .arg(format!("ws://{}/unityp2p", server.address));
    let output = within("the clients are done", run(command)).await.expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.ends_with("done\n"), "{said}{failed}");
    assert_eq!(server.metric("voicemesh_unityp2p_connected_total").await, 5);
    assert_eq!(server.metric("voicemesh_unityp2p_failed_total").await, 0);
    server.stop().await.expect("it stops");
}
