//! A program's standard error is its own. The devices are used by a child process (this test's own
//! program), because it is the process whose standard error is read.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::Arc;

use voicemesh_device::{Capture, InputSpec, OutputSpec, Playback, devices};

const IS_CHILD: &str = "VOICEMESH_DEVICE_TEST_CHILD";

#[test]
fn without_a_sound_system_its_library_writes_nothing_to_standard_error() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "standard_error::child", "--ignored", "--nocapture"]).env(IS_CHILD, "1");
    // libasound's own configuration names its first card, which a machine that runs tests may lack;
    // PulseAudio's is nowhere.
    let written = child.env("PULSE_SERVER", "/nowhere").output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&written.stdout), String::from_utf8_lossy(&written.stderr));
    assert!(out.contains("asked for all"), "{out}{err}");
    assert!(!err.contains("ALSA lib"), "{err}");
}

#[test]
#[ignore = "what the test above runs as a process"]
fn child() {
    if std::env::var_os(IS_CHILD).is_none() {
        return;
    }
    let waker = || Arc::new(|| {});
    let _ = devices();
    let _ = Capture::open(&InputSpec::Device(None), None, waker());
    let _ = Playback::open(&OutputSpec::Device(None), waker());
    println!("asked for all");
}
