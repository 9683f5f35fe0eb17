//! C# as Unity has it: the package's sources, compiled and run by Mono.

use std::path::{Path, PathBuf};
use std::process::Command;

use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, Joining, PATIENCE, Server, leave, wait_for};
use voicemesh_tests::{skip, speech};

use crate::prefix::{Prefix, root, run};
use crate::{alone, assert_talks};

const PACKAGE: &str = "crates/capi/unity";

/// Compiles a program of the package's examples together with the package.
pub fn compile(prefix: &Prefix, example: &str) -> PathBuf {
    compile_file(prefix, &root().join(PACKAGE).join(format!("Example/{example}.cs")))
}

fn compile_file(prefix: &Prefix, source: &Path) -> PathBuf {
    let name = source.file_stem().expect("it has a name").to_string_lossy();
    let program = prefix.file(&format!("{name}.exe"));
    let mut compiler = Command::new("mcs");
    // What the oldest Unity of the package compiles.
    compiler.args(["-langversion:7.2", "-warnaserror+"]).arg(format!("-out:{}", program.display()));
    compiler.arg(source);
    let runtime =
        std::fs::read_dir(root().join(PACKAGE).join("Runtime")).expect("the package is there");
    let sources = runtime.map(|entry| entry.expect("a file").path());
    compiler
        .args(sources.filter(|path| path.extension().is_some_and(|extension| extension == "cs")));
    run(&mut compiler);
    program
}

/// proves: B-14
#[test]
fn the_unity_package_talks_under_mono() {
    let _alone = alone();
    if !skip::can_run("the_unity_package_talks_under_mono", false, &["mcs", "mono"]) {
        return;
    }
    let prefix = Prefix::install();
    let program = compile(&prefix, "Room");
    let folder = Folder::create("mono");
    let server = Server::start(&[]);
    let mut ada =
        Joining::new(&server.url(), "engines", "ada").speaking_on("reader").start(&folder);
    let mut mono = Command::new("mono");
    prefix.lend(&mut mono);
    mono.arg(program).args([&server.url(), "engines", "bob"]).arg(folder.file("bob"));
    mono.arg(format!("{}:loop", speech::path("numbers").display())).arg("null");
    let mut bob = Program::start("bob", mono);
    assert_eq!(assert_talks(&mut ada, &mut bob), "left");
    leave(ada);
}

/// proves: B-14, U-19
#[test]
fn servers_and_clients_as_in_unityp2p_meet_under_mono() {
    let _alone = alone();
    if !skip::can_run("servers_and_clients_as_in_unityp2p_meet_under_mono", false, &["mcs", "mono"])
    {
        return;
    }
    let prefix = Prefix::install();
    let program = compile(&prefix, "Walk");
    let folder = Folder::create("walk");
    // Who makes the room may moderate it at once.
    let server = Server::start(&["--owner-after", "0"]);
    let mut mono = Command::new("mono");
    prefix.lend(&mut mono);
    mono.arg(program).arg(server.url()).arg(folder.file("state"));
    let mut walk = Program::start("walk", mono);
    wait_for(&mut walk, "done");
    let status = walk.wait_for_exit(PATIENCE);
    assert!(status.success(), "{status}\n{}", walk.transcript());
}

#[test]
fn a_careless_game_ends_its_voice_within_its_network_under_mono() {
    let _alone = alone();
    let name = "a_careless_game_ends_its_voice_within_its_network_under_mono";
    if !skip::can_run(name, false, &["mcs", "mono"]) {
        return;
    }
    let prefix = Prefix::install();
    let program = compile_file(&prefix, &root().join("tests/engines/careless.cs"));
    let mut mono = Command::new("mono");
    prefix.lend(&mut mono);
    mono.arg(program);
    let mut careless = Program::start("careless", mono);
    assert_eq!(wait_for(&mut careless, "disposed").json["calls"], 1);
    assert_eq!(wait_for(&mut careless, "lost").json["refused"], 1, "it is said once");
    let flooded = wait_for(&mut careless, "flooded").json;
    assert!(flooded["ended"].as_u64() > Some(0), "{flooded}");
    assert_eq!(flooded["ended_first"], false, "who says little stays");
    assert!(flooded["megabytes"].as_u64().is_some_and(|megabytes| megabytes < 64), "{flooded}");
    let status = careless.wait_for_exit(PATIENCE);
    assert!(status.success(), "{status}\n{}", careless.transcript());
}
