//! `make demo`: a server and two peers as separate processes speak to each other, first relayed,
//! then direct. Says how soon, how much and how well was heard; ends with 1 if anything was not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;
use voicemesh_tests::hear::{Floor, Hearing, compare};
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, Joining, Server, finish, heard, of_peer};
use voicemesh_tests::speech;

/// Each part of the demo lasts this long.
const SECONDS: u32 = 10;
/// Who speaks with which voice.
const PEERS: [(&str, &str); 2] = [("ada", "reader"), ("bob", "synthetic")];

fn main() -> ExitCode {
    let out = PathBuf::from("out/demo");
    if let Err(error) = std::fs::create_dir_all(&out) {
        eprintln!("{}: {error}", out.display());
        return ExitCode::FAILURE;
    }
    let server = Server::start(&[]);
    println!("A server, and two peers who speak to each other for {SECONDS} s: {}.", server.url());
    let mut all_heard = true;
    for (way, arguments) in [("relayed", &["--relay-only"][..]), ("direct", &[])] {
        println!("\n{way}");
        println!(
            "  {:<12} {:>9} {:>10} {:>9} {:>6} {:>6} {:>9}   heard against spoken",
            "listener", "join", "1st voice", "direct", "sent", "heard", "concealed"
        );
        all_heard &= converse(&server, &out, way, arguments);
    }
    println!(
        "\nWhat was heard is in {}. All times are from the call that joins, in ms.",
        out.display()
    );
    if all_heard {
        println!("Everything was heard.");
        ExitCode::SUCCESS
    } else {
        println!("NOT everything was heard.");
        ExitCode::FAILURE
    }
}

fn converse(server: &Server, out: &Path, way: &str, arguments: &[&str]) -> bool {
    let folder = Folder::create("demo");
    let file = |name: &str| out.join(format!("{way}-heard-by-{name}.wav"));
    let duration = SECONDS.to_string();
    let mut programs: Vec<Program> = PEERS
        .iter()
        .map(|(name, voice)| {
            Joining::new(&server.url(), &format!("demo {way}"), name)
                .speaking(voice)
                .hearing_into(&file(name))
                .with(&["--duration", &duration])
                .with(arguments)
                .start(&folder)
        })
        .collect();
    let summaries: Vec<Value> = programs.iter_mut().map(finish).collect();
    let mut all_heard = true;
    for (listener, speaker) in [(0, 1), (1, 0)] {
        let (name, _) = PEERS[listener];
        let (speaker_name, voice) = PEERS[speaker];
        let peer = of_peer(&summaries[listener], speaker_name);
        let hearing = compare(&speech::load(voice), &heard(&file(name)));
        let mut verdict = hearing.verdict(&Floor::default());
        if way == "direct" && peer["direct_ms"].is_null() {
            verdict = Err("no direct link".to_owned());
        }
        all_heard &= verdict.is_ok();
        print_row(name, &summaries[listener], &summaries[speaker], peer, &hearing, &verdict);
    }
    all_heard
}

fn print_row(
    name: &str,
    listener: &Value,
    speaker: &Value,
    peer: &Value,
    hearing: &Hearing,
    verdict: &Result<(), String>,
) {
    let ms = |value: &Value| value.as_f64().map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0}"));
    let verdict = match verdict {
        Ok(()) => format!("ok: {hearing}"),
        Err(why) => format!("NOT HEARD: {why} ({hearing})"),
    };
    println!(
        "  {:<12} {:>9} {:>10} {:>9} {:>6} {:>6} {:>9}   {verdict}",
        name,
        ms(&listener["connected_ms"]),
        ms(&peer["first_heard_ms"]),
        ms(&peer["direct_ms"]),
        speaker["frames_spoken"].to_string(),
        peer["frames_heard"].to_string(),
        peer["frames_concealed"].to_string(),
    );
}
