//! The command from outside: what it prints, and how it ends.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use voicemesh_tests::process::Program;

/// Long enough for a busy machine; nothing here takes a second on an idle one.
const PATIENCE: Duration = Duration::from_secs(30);

fn voicemesh(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh"));
    command
        .args(arguments)
        .env_remove("VOICEMESH_SERVER")
        .env_remove("VOICEMESH_LOG")
        .env_remove("PORT");
    command
}

fn output(arguments: &[&str]) -> Output {
    voicemesh(arguments).output().expect("the command starts")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A folder for identities, so that no test touches the user's own; removed at the end.
struct StateDir(PathBuf);

impl StateDir {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("voicemesh-command-{}-{test}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on a port of the system's choice, and its address.
fn server(more: &[&str]) -> (Program, String) {
    let mut command = voicemesh(&["serve", "--listen", "127.0.0.1:0", "--stun", "none"]);
    let mut server = Program::start("server", {
        command.args(more);
        command
    });
    let url = server.wait_for_text("its address", PATIENCE, |line| {
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(' ').next().map(str::to_owned)
    });
    (server, url)
}

/// A peer in the room `lobby` without devices.
fn peer(name: &str, server: &str, dir: &StateDir, more: &[&str]) -> Program {
    let silent =
        ["--input", "silence", "--output", "null", "--state-dir", dir.path(), "--name", name];
    let mut command = voicemesh(&["join", "lobby", "--server", server]);
    command.args(silent).args(more);
    Program::start(name, command)
}

fn is(event: &str) -> impl Fn(&Value) -> bool {
    let event = event.to_owned();
    move |line| line["event"] == event.as_str()
}

#[test]
fn help_names_commands_and_exit_codes() {
    let help = output(&["--help"]);
    assert_eq!(code(&help), Some(0));
    for word in
        ["join", "echo", "try", "mic", "loopback", "devices", "serve", "Exit codes", "room full"]
    {
        assert!(stdout(&help).contains(word), "{word}");
    }
    for word in ["--server", "--relay-only", "--json", "ws://127.0.0.1:8080", "Exit codes"] {
        assert!(stdout(&output(&["join", "--help"])).contains(word), "{word}");
    }
    assert!(stdout(&output(&["serve", "--help"])).contains("--max-peers-per-room"));
}

#[test]
fn a_wrong_address_is_a_sentence_and_code_2() {
    let arguments =
        ["join", "lobby", "--server", "ftp://x", "--input", "silence", "--output", "null"];
    let failed = output(&arguments);
    assert_eq!(code(&failed), Some(2));
    assert!(
        stderr(&failed).contains("ftp://x") && stderr(&failed).contains("Use wss://"),
        "{}",
        stderr(&failed)
    );

    assert_error_line(&[&arguments[..], &["--json"]].concat(), 2);
}

#[test]
fn a_value_that_cannot_be_is_said_before_anything_is_printed() {
    for (arguments, why) in [
        (["loopback", "--json", "--burst", "0"], "not between 1 and 1000"),
        (["join", "lobby", "--json", "--no-such-option"], "--no-such-option"),
    ] {
        let failed = output(&arguments);
        assert_eq!((code(&failed), stdout(&failed).as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr(&failed).contains(why), "{}", stderr(&failed));
    }
    let no_channel = ["--channel", "7", "--input", "tone", "--json"];
    assert_error_line(&[&["mic"], &no_channel[..]].concat(), 2);
    assert_error_line(
        &[&["join", "lobby", "--server", "ws://127.0.0.1:9"], &no_channel[..]].concat(),
        2,
    );
}

#[test]
fn programs_read_of_every_failure_before_the_room() {
    let server = ["--server", "ws://127.0.0.1:9", "--json"];
    assert_error_line(&[&["join", "http://127.0.0.1:9/r/a/b"], &server[..]].concat(), 2);
    assert_error_line(&[&["echo", "127.0.0.1:9/r/a/b"], &server[..]].concat(), 2);
    assert_error_line(
        &[&["join", "lobby", "--input", READER, "--output", READER], &server[..]].concat(),
        5,
    );
    for command in ["mic", "loopback"] {
        assert_error_line(&[command, "--json", "--input", "/nowhere/none.wav"], 5);
        // There is no key to hold.
        assert_error_line(
            &[command, "--json", "--input", "silence", "--activation", "push-to-talk"],
            2,
        );
    }
}

/// Nothing is said of joining what cannot be joined.
#[test]
fn what_is_refused_before_a_device_is_opened_is_said_alone() {
    let dir = StateDir::new("refused");
    let (long_room, long_name) = ("x".repeat(300), "x".repeat(70));
    let here = ["--server", "ws://127.0.0.1:9"];
    let with = |more: &[&'static str]| [&["lobby"][..], &here, more].concat();
    let mut refused: Vec<Vec<&str>> = vec![
        vec!["lobby", "--server", "ftp://x"],
        vec!["lobby", "--server", "wss://voice.example.org:99999"],
        vec!["http://127.0.0.1:9/r/a/b"],
        with(&["--ca", "/nowhere/ca.pem"]),
        with(&["--proxy", "ftp://127.0.0.1"]),
    ];
    refused.extend([" ", "..", &long_room].map(|room| [&[room][..], &here].concat()));
    let password = "x".repeat(200);
    refused.push([&["lobby", "--password", &password][..], &here].concat());
    for (command, more) in
        [("join", &["--input", "silence", "--output", "null"][..]), ("echo", &[])]
    {
        let mut refused = refused.clone();
        refused.push([&["lobby", "--name", &long_name][..], &here].concat());
        if command == "join" {
            refused.push(with(&["--record", READER]));
        }
        for arguments in refused {
            let arguments =
                [&[command], &arguments[..], more, &["--state-dir", dir.path()]].concat();
            let failed = output(&arguments);
            assert_ne!(code(&failed), Some(0), "{arguments:?}");
            assert_eq!(stdout(&failed), "", "{arguments:?}");
            assert!(
                !stderr(&failed).is_empty() && !stderr(&failed).contains("Joining"),
                "{}",
                stderr(&failed)
            );
            let for_programs = output(&[&arguments[..], &["--json"]].concat());
            let lines: Vec<String> = stdout(&for_programs).lines().map(str::to_owned).collect();
            assert!(
                matches!(&lines[..], [one] if one.contains(r#""event":"error""#)),
                "{arguments:?}: {lines:?}"
            );
            assert_eq!(code(&for_programs), code(&failed));
        }
    }
}

/// The command ends with this code, and its last line for programs says so.
fn assert_error_line(arguments: &[&str], expected: i32) {
    let failed = output(arguments);
    assert_eq!(code(&failed), Some(expected), "{}", stderr(&failed));
    let lines = stdout(&failed);
    let last: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&Value::from("error"), &Value::from(expected))
    );
}

#[test]
fn a_wrong_command_line_is_code_2() {
    assert_eq!(code(&output(&["join"])), Some(2));
    assert_eq!(code(&output(&["join", "lobby", "--must-exist", "--must-not-exist"])), Some(2));
}

/// What a program has made of a link's `#` on its way, as the server, the room or the link.
#[test]
fn a_key_that_a_program_has_moved_is_refused_by_every_command_and_not_printed() {
    const KEY: &str = "cm9vbS1rZXktNy1oaWRlcw";
    for mark in ["?k=", "%2523k=", "＃k=", "%26k=", ";k=", "&#35;k=", "# k="] {
        let room = format!("tea{mark}{KEY}");
        let [link, port] =
            ["http://127.0.0.1:9/r/", "ws://127.0.0.1:9"].map(|server| format!("{server}{room}"));
        for command in ["join", "echo", "link"] {
            for arguments in [
                &[command, room.as_str()][..],
                &[command, &link],
                &[command, "tea", "--server", &link],
                &[command, "tea", "--server", &port],
            ] {
                let refused = output(arguments);
                let said = stdout(&refused) + &stderr(&refused);
                assert_eq!(code(&refused), Some(2), "{arguments:?}: {said}");
                assert!(!said.contains(KEY), "{arguments:?}: {said}");
            }
        }
    }
    for fragment in ["", "k", "key=cm9vbS1rZXktNy1oaWRlcw", "\u{200b}k=cm9vbS1rZXktNy1oaWRlcw"] {
        let refused = output(&["join", &format!("http://127.0.0.1:9/r/tea#{fragment}")]);
        let said = stderr(&refused);
        assert!(said.contains("the key in the link is damaged: copy the whole link again"));
        assert!(code(&refused) == Some(2) && !said.contains(KEY), "{said}");
    }
    let nonsense = output(&["join", "tea", "--server", &format!("ws://h/{}", "&".repeat(100_000))]);
    assert!(stderr(&nonsense).len() < 400 && stdout(&nonsense).is_empty());
}

#[test]
fn a_link_with_a_new_key_leads_where_its_room_does_and_a_server_named_in_vain_is_said() {
    let link = |room: &str| output(&["link", room, "--server", "wss://named.example"]);
    let made = link("tea time");
    assert_eq!((code(&made), stderr(&made)), (Some(0), String::new()));
    let beginning = "https://named.example/r/tea%20time#k=";
    assert!(stdout(&made).starts_with(beginning), "{}", stdout(&made));
    assert_ne!(stdout(&made), stdout(&link("tea time")), "each has its own key");
    let elsewhere = link("https://linked.example/r/tea");
    assert!(stdout(&elsewhere).starts_with("https://linked.example/r/tea#k="));
    let said = stderr(&elsewhere);
    assert!(said.contains("wss://named.example, which you named, is not used"), "{said}");
    assert_eq!(stderr(&link("https://named.example/r/tea")), "");
    let for_one = link("https://named.example/r/tea#t=a.token.x");
    assert!(!stdout(&for_one).contains("token"), "{}", stdout(&for_one));
    assert!(stderr(&for_one).contains("a token is for one person"), "{}", stderr(&for_one));
    let again = link("https://named.example/r/tea#k=AAAAAAAAAAAAAAAAAAAAAA");
    assert!(!stdout(&again).contains("#k=AAAA"), "{}", stdout(&again));
    assert!(stderr(&again).starts_with("The link has a new key: "), "{}", stderr(&again));
    assert!(stderr(&again).lines().count() == 1 && !stderr(&again).contains("AAAA"));
    let damaged = link("https://named.example/r/tea#k");
    assert_eq!((code(&damaged), stdout(&damaged)), (Some(2), String::new()));
    let mut elsewhere = voicemesh(&["link", "https://linked.example/r/tea"]);
    let quiet = elsewhere.env("VOICEMESH_SERVER", "wss://named.example").output().expect("runs");
    assert_eq!((code(&quiet), stderr(&quiet)), (Some(0), String::new()));
    let here = output(&["link", "tea"]);
    assert!(stdout(&here).starts_with("http://127.0.0.1:8080/r/tea#k="), "{}", stdout(&here));
    assert!(stderr(&here).contains("a server on this machine; name another with --server"));
}

#[test]
fn a_microphone_that_is_not_there_is_code_5_and_says_what_next() {
    let dir = StateDir::new("microphone");
    let file = dir.0.join("none.wav");
    let failed = output(&[
        "join",
        "lobby",
        "--server",
        "ws://127.0.0.1:9",
        "--state-dir",
        dir.path(),
        "--output",
        "null",
        "--input",
        file.to_str().expect("UTF-8"),
    ]);
    assert_eq!(code(&failed), Some(5), "{}", stderr(&failed));
    let said = stderr(&failed);
    assert!(said.contains("none.wav") && said.contains("--input silence"), "{said}");
    assert!(
        !said.contains("voicemesh devices"),
        "the list of devices says nothing about a file: {said}"
    );
}

#[test]
fn devices_are_listed_or_it_is_said_what_to_do_without() {
    let list = output(&["devices"]);
    assert_eq!(code(&list), Some(0), "{}", stderr(&list));
    let text = stdout(&list);
    let says_what_next = text.contains("--input silence") && text.contains("--output");
    assert!(
        says_what_next || (text.contains("Microphones") && text.contains("Speakers")),
        "{text}"
    );

    let list: Value =
        serde_json::from_str(&stdout(&output(&["devices", "--json"]))).expect("one object");
    assert!(
        list["event"] == "devices" && list["inputs"].is_array() && list["outputs"].is_array(),
        "{list}"
    );
}

#[test]
fn a_sound_server_that_does_not_run_is_no_device() {
    let away = |arguments: &[&str]| {
        let mut command = voicemesh(arguments);
        command.env("PULSE_SERVER", "/nowhere").env("PIPEWIRE_RUNTIME_DIR", "/nowhere");
        command.output().expect("runs")
    };
    let list = stdout(&away(&["devices"]));
    assert!(!list.contains("PulseAudio") && !list.contains("PipeWire"), "{list}");
    let failed = away(&["mic", "--input", "pulse", "--seconds", "0.1"]);
    let said = stderr(&failed);
    assert_eq!(code(&failed), Some(5), "{said}");
    // Where ALSA does not name it, there is none of that name.
    assert!(
        said.contains("its sound server does not run") || said.contains("no microphone called"),
        "{said}"
    );
    assert!(!said.contains("close what else uses it"), "{said}");
}

#[test]
fn a_server_that_is_away_is_told_and_given_up_with_code_3() {
    let dir = StateDir::new("away");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let mut ada = peer("Ada", &format!("ws://{free}"), &dir, &["--give-up-after", "0.5", "--json"]);
    let away = ada.wait_for("the server to be away", PATIENCE, is("server-away")).json;
    assert!(
        away["retry_in_ms"].is_number() && !away["why"].as_str().unwrap_or_default().is_empty(),
        "{away}"
    );
    let summary = ada.wait_for("the summary", PATIENCE, is("summary")).json;
    assert_eq!(
        (&summary["reason"], &summary["exit_code"]),
        (&Value::from("gave-up"), &Value::from(3))
    );
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(3));
}

#[test]
fn an_empty_room_can_be_refused_with_code_4() {
    let dir = StateDir::new("missing");
    let (_server, url) = server(&[]);
    let mut ada = peer("Ada", &url, &dir, &["--must-exist"]);
    ada.wait_for_line("No person is in “lobby”", PATIENCE);
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(4));
}

#[test]
fn a_full_room_is_code_4_and_a_sentence() {
    let dir = StateDir::new("full");
    let (_server, url) = server(&["--max-peers-per-room", "1"]);
    let mut ada = peer("Ada", &url, &dir, &["--json"]);
    ada.wait_for("to be in", PATIENCE, is("joined"));
    let mut ben = peer("Ben", &url, &dir, &[]);
    ben.wait_for_line("The room “lobby” is full", PATIENCE);
    assert_eq!(ben.wait_for_exit(PATIENCE).code(), Some(4));
}

/// proves: D-35, U-06
#[test]
fn two_write_to_each_other_and_each_sees_the_other_leave() {
    let dir = StateDir::new("two");
    let (_server, url) = server(&[]);
    let mut ada = peer("Ada", &url, &dir, &["--json", "--relay-only"]);
    ada.wait_for("to be connected", PATIENCE, is("connected"));
    let mut ben = peer("Ben", &url, &dir, &["--relay-only"]);
    let first = ben.wait_for_text("its first line", PATIENCE, |line| Some(line.to_owned()));
    assert!(first.contains("no one in the room sees this machine's IP address"), "{first}");
    ben.wait_for_line("You are in “lobby”; one other is there.", PATIENCE);
    ben.wait_for_line("Ada is here.", PATIENCE);
    ada.wait_for("Ben", PATIENCE, |line| {
        line["event"] == "route-changed" && line["route"] == "relayed"
    });

    ada.type_line("/msg ben only you");
    ben.wait_for_line("Ada (to you alone): only you", PATIENCE);
    ada.type_line("hello \u{1b}[2J");
    ben.wait_for_line("Ada: hello ␛[2J", PATIENCE);
    ben.type_line("/who");
    ben.wait_for_line("You are Ben, connected to “lobby”", PATIENCE);
    ben.wait_for_line("Ada   server", PATIENCE);
    ben.close_input();

    ada.type_line("/quit");
    let summary = ada.wait_for("the summary", PATIENCE, is("summary")).json;
    assert_eq!(
        (&summary["reason"], &summary["exit_code"]),
        (&Value::from("quit"), &Value::from(0))
    );
    assert_eq!(summary["peers"][0]["name"], "Ben");
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(0));
    ben.wait_for_line("Ada left.", PATIENCE);
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_ends_with_a_sentence_and_code_1() {
    let dir = StateDir::new("full-disk");
    let (_server, url) = server(&[]);
    let mut command = voicemesh(&[
        "join", "lobby", "--server", &url, "--input", "silence", "--output", "null", "--json",
    ]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = command
        .args(["--state-dir", dir.path()])
        .stdout(full)
        .output()
        .expect("the command starts");
    assert_eq!(code(&output), Some(1));
    assert!(
        stderr(&output).contains("Nothing more can be printed: the disk is full."),
        "{}",
        stderr(&output)
    );
}

#[test]
#[cfg(target_os = "linux")]
fn help_that_cannot_be_written_ends_with_code_1() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = voicemesh(&["--help"]).stdout(full).output().expect("the command starts");
    assert_eq!(code(&output), Some(1));
}

#[test]
fn a_room_is_called_the_same_from_the_first_line_to_the_last() {
    let dir = StateDir::new("form");
    let (_server, url) = server(&[]);
    let stay = [
        "--server",
        &url,
        "--input",
        "silence",
        "--output",
        "null",
        "--state-dir",
        dir.path(),
        "--duration",
        "0.2",
    ];
    let output =
        voicemesh(&["join", " tea\ntime "]).args(stay).output().expect("the command starts");
    let printed = stdout(&output);
    for line in ["Joining “tea time”", "You are in “tea time”", "You have left “tea time”"]
    {
        assert!(printed.contains(line), "{line}: {printed}");
    }
}

/// Lines that are piped in come sooner than the room; they are sent once it is joined.
#[test]
fn what_a_pipe_says_before_the_room_is_joined_is_sent_when_it_is() {
    let dir = StateDir::new("early");
    let (_server, url) = server(&[]);
    let mut ben = peer("Ben", &url, &dir, &["--plain"]);
    ben.wait_for_line("You are in", PATIENCE);
    for number in 0..5 {
        let mut ada = peer("Ada", &url, &dir, &["--json"]);
        ada.type_line(&format!("line {number}"));
        ada.type_line("/quit");
        ben.wait_for_line(&format!("Ada: line {number}"), PATIENCE);
        assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(0));
    }
}

/// A server could strip what says that a member encrypts.
#[test]
fn of_one_who_encrypted_in_an_earlier_run_and_does_not_now_the_question_says_so() {
    let (_server, url) = server(&[]);
    let [of_ada, of_ben] = ["ada", "ben"].map(|name| StateDir::new(&format!("before-{name}")));
    {
        let mut ada = peer("Ada", &url, &of_ada, &["--json"]);
        let mut ben = peer("Ben", &url, &of_ben, &["--json"]);
        ada.wait_for("Ben's keys", PATIENCE, |line| line["encryption"] == "encrypted");
        for program in [&mut ben, &mut ada] {
            program.type_line("/quit");
            assert_eq!(program.wait_for_exit(PATIENCE).code(), Some(0));
        }
    }
    let mut ada = peer("Ada", &url, &of_ada, &["--plain"]);
    ada.wait_for_line("You are in", PATIENCE);
    let _ben = peer("Ben", &url, &of_ben, &["--json", "--unencrypted"]);
    let asked = ada.wait_for_line("Let the server hear what you say to Ben?", PATIENCE);
    assert!(asked.contains("Ben encrypted when you met last"), "{asked}");
    let of_cleo = StateDir::new("before-cleo");
    let _cleo = peer("Cleo", &url, &of_cleo, &["--json", "--unencrypted"]);
    let asked = ada.wait_for_line("Let the server hear what you say to Cleo?", PATIENCE);
    assert!(asked.contains("Cleo’s program cannot encrypt."), "{asked}");
}

/// proves: U-18
#[cfg(unix)]
#[test]
fn ctrl_c_leaves_and_so_does_sigterm_with_an_echo() {
    let dir = StateDir::new("signals");
    let (_server, url) = server(&[]);
    let mut echo = Program::start(
        "echo",
        voicemesh(&["echo", "lobby", "--server", &url, "--state-dir", dir.path()]),
    );
    echo.wait_for_line("The echo peer “echo” is in “lobby”", PATIENCE);
    let mut ada = peer("Ada", &url, &dir, &["--json"]);
    ada.wait_for("the echo", PATIENCE, |line| {
        line["event"] == "peer-joined" && line["name"] == "echo"
    });
    // As `timeout` does it, to the process and to its group: one request, and no reason to go
    // without a farewell.
    echo.terminate();
    echo.terminate();
    assert_eq!(echo.wait_for_exit(PATIENCE).code(), Some(0));
    let left = ada.wait_for("the echo to leave", PATIENCE, is("peer-left")).json;
    assert_eq!(left["reason"], "left");
    ada.interrupt();
    let summary = ada.wait_for("the summary", PATIENCE, is("summary")).json;
    assert_eq!(
        (&summary["reason"], &summary["peers"][0]["present"]),
        (&Value::from("interrupted"), &Value::from(false))
    );
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_stay_of_a_given_length_ends_by_itself() {
    let dir = StateDir::new("duration");
    let (_server, url) = server(&[]);
    let mut ada =
        peer("Ada", &url, &dir, &["--json", "--duration", "0.3", "--status-interval", "0.1"]);
    let status = ada.wait_for("a status", PATIENCE, is("status")).json;
    assert!(status["peers"].is_array() && status.get("reason").is_none(), "{status}");
    let summary = ada.wait_for("the summary", PATIENCE, is("summary")).json;
    assert_eq!(summary["reason"], "duration");
    let stayed_ms = summary["at_ms"].as_f64().unwrap_or_default()
        - summary["joined_ms"].as_f64().unwrap_or_default();
    assert!(stayed_ms >= 300.0, "{summary}");
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(0));
}

/// The terminal is entered and left; the shell finds it as it was, and the reason in its last
/// lines.
#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_there_is_a_view_and_afterwards_the_terminal_is_as_before() {
    use std::process::Stdio;

    let dir = StateDir::new("view");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let program = env!("CARGO_BIN_EXE_voicemesh");
    let arguments = "--input silence --output null --name Ada --give-up-after 0.5";
    let join = format!(
        "exec '{program}' join lobby --server ws://{free} --state-dir '{}' {arguments}",
        dir.path()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &format!("stty cols 80 rows 24; {join}"), "/dev/null"]);
    terminal
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = match terminal.spawn() {
        Ok(started) => started,
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "`script`, which makes a terminal, is missing: {error}"
            );
            println!("SKIPPED on_a_terminal_there_is_a_view: `script` is missing: {error}");
            return;
        }
    };
    // Its end of what is typed stays open here, else it would press Ctrl-D.
    let mut started = started;
    let typed = started.stdin.take();
    let ended = started.wait_with_output().expect("its end");
    drop(typed);
    let shown = stdout(&ended);
    assert_eq!(code(&ended), Some(3), "{shown}");
    let (before, view) = shown.split_once("\u{1b}[?1049h").expect("the view takes the screen");
    let (view, after) = view.split_once("\u{1b}[?1049l").expect("and gives it back");
    assert!(before.contains("Joining “lobby”"), "{before:?}");
    for part in ["lobby", "server away", "No other person is here yet.", "F1", "write to everyone"]
    {
        assert!(view.contains(part), "{part}: {view:?}");
    }
    assert!(after.contains("was out of reach for 500 ms"), "{after:?}");
    assert!(after.contains("\u{1b}[?25h"), "the cursor is shown again: {after:?}");
}

/// A recording of human speech.
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/speech/reader.wav");

#[test]
fn a_microphone_is_tried_and_judged() {
    let tried =
        output(&["mic", "--input", READER, "--activation", "voice", "--seconds", "2.5", "--json"]);
    assert_eq!(code(&tried), Some(0), "{}", stderr(&tried));
    let lines: Vec<Value> =
        stdout(&tried).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(
        lines.iter().any(|line| line["event"] == "microphone" && line["sending"] == true),
        "{lines:?}"
    );
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["event"], "summary");
    assert!(summary["speech_dbfs"].as_f64().is_some_and(|level| level > -45.0), "{summary}");
    assert!(
        summary["sent_seconds"].as_f64() <= summary["seconds"].as_f64()
            && summary["seconds"].as_f64() > Some(1.0)
    );
    assert!(!summary["advice"].as_array().expect("a list").is_empty());

    let silent = output(&["mic", "--input", "silence", "--seconds", "0.3"]);
    assert!(stdout(&silent).contains("No sound at all"), "{}", stdout(&silent));
    let missing = output(&["mic", "--input", "/nowhere/none.wav", "--seconds", "0.3"]);
    assert_eq!(code(&missing), Some(5));
    assert!(stderr(&missing).contains("/nowhere/none.wav"), "{}", stderr(&missing));
}

#[test]
fn a_file_that_is_played_is_never_written_over() {
    let dir = StateDir::new("same");
    std::fs::create_dir_all(&dir.0).expect("a folder");
    let spoken = dir.0.join("spoken.wav");
    std::fs::copy(READER, &spoken).expect("a copy");
    let link = dir.0.join("link.wav");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&spoken, &link).expect("a link");
    #[cfg(not(unix))]
    std::fs::hard_link(&spoken, &link).expect("a link");
    let before = std::fs::read(&spoken).expect("readable");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    for output_file in [&spoken, &link] {
        let (input, target) = (path(&spoken), path(output_file));
        let files = ["--input", &input, "--output", &target];
        let join = [
            "join",
            "lobby",
            "--server",
            "ws://127.0.0.1:9",
            "--state-dir",
            dir.path(),
            "--duration",
            "5",
        ];
        for command in [&join[..], &["loopback", "--seconds", "0.3"]] {
            let refused = output(&[command, &files].concat());
            assert_eq!(code(&refused), Some(5), "{}", stderr(&refused));
            assert!(stderr(&refused).contains("name another"), "{}", stderr(&refused));
        }
    }
    assert!(std::fs::read(&spoken).expect("readable") == before, "the speech is as it was");
    assert!(!dir.0.join("spoken-2.wav").exists(), "nothing was begun");
}

#[test]
fn oneself_is_heard_over_a_bad_network_and_the_losses_are_counted() {
    let network =
        ["--delay", "20", "--jitter", "10", "--loss", "20", "--burst", "2", "--seconds", "4"];
    let heard =
        output(&[&["loopback", "--input", READER, "--output", "null"], &network[..]].concat());
    assert_eq!(code(&heard), Some(0), "{}", stderr(&heard));
    let text = stdout(&heard);
    for part in ["Sent: ", "Lost on the way: ", "Repaired: ", "Concealed: ", "Delay: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Lost on the way: 0 "), "{text}");

    let heard =
        output(&["loopback", "--json", "--input", READER, "--output", "null", "--seconds", "1.5"]);
    let lines: Vec<Value> =
        stdout(&heard).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [second, summary] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(
        second["event"] == "loopback" && second["mouth_to_ear_ms"].as_f64() > Some(0.0),
        "{second}"
    );
    assert!(
        summary["event"] == "summary" && summary["frames_sent"].as_u64() > Some(10),
        "{summary}"
    );
}

/// proves: B-09
#[test]
fn a_recording_is_seen_by_everyone_and_keeps_everyone() {
    let (dir, recordings) = (StateDir::new("record"), StateDir::new("recordings"));
    let (_server, url) = server(&[]);
    let spoken = ["--json", "--input", READER];
    let mut ben = voicemesh(&[
        "join",
        "lobby",
        "--server",
        &url,
        "--state-dir",
        dir.path(),
        "--name",
        "Ben",
        "--output",
        "null",
    ]);
    ben.args(spoken);
    let mut ben = Program::start("Ben", ben);
    ben.wait_for("to be connected", PATIENCE, is("connected"));
    let ada = [
        "join",
        "lobby",
        "--server",
        &url,
        "--state-dir",
        dir.path(),
        "--name",
        "Ada",
        "--output",
        "null",
    ];
    let mut command = voicemesh(&ada);
    command.args([
        "--json",
        "--status-interval",
        "0.1",
        "--input",
        "tone",
        "--record",
        recordings.path(),
    ]);
    let mut ada = Program::start("Ada", command);
    ben.wait_for("the one who records", PATIENCE, |line| {
        line["event"] == "peer-joined"
            && line["name"] == "Ada"
            && !line["metadata"]["recording"].is_null()
    });
    let heard = |line: &Value| {
        line["event"] == "status" && line["peers"][0]["frames_received"].as_u64() > Some(50)
    };
    let status = ada.wait_for("a second of Ben", PATIENCE, heard).json;
    assert_eq!(status["recording"], true);
    let is_about = |event: &Value| event["event"] == "joined" || event["event"] == "recording";
    let begun: Vec<Value> =
        ada.history().map(|event| event.json.clone()).filter(is_about).collect();
    assert!(
        matches!(&begun[..], [first, then] if first["event"] == "joined" && then["recording"] == true),
        "{begun:?}"
    );
    ada.type_line("/quit");
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(0));
    let files: Vec<PathBuf> = std::fs::read_dir(&recordings.0)
        .expect("files")
        .map(|file| file.expect("one").path())
        .collect();
    let of = |name: &str| {
        files.iter().find(|path| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
        })
    };
    for name in ["Ada-", "Ben-"] {
        let bytes = std::fs::read(of(name).unwrap_or_else(|| panic!("{name}: {files:?}")))
            .expect("readable");
        assert!(bytes.starts_with(b"OggS") && bytes.len() > 2_000, "{name}: {} bytes", bytes.len());
    }
}

#[test]
fn a_recording_begins_and_ends_during_a_call_and_everyone_sees_both() {
    let (dir, recordings) = (StateDir::new("record-later"), StateDir::new("recordings-later"));
    let (_server, url) = server(&[]);
    let mut ben = voicemesh(&[
        "join",
        "lobby",
        "--server",
        &url,
        "--state-dir",
        dir.path(),
        "--name",
        "Ben",
        "--json",
    ]);
    ben.args(["--output", "null", "--input", "tone"]);
    let mut ben = Program::start("Ben", ben);
    ben.wait_for("to be connected", PATIENCE, is("connected"));
    let mut ada = peer("Ada", &url, &dir, &["--json", "--status-interval", "0.1"]);
    ada.wait_for("to be connected", PATIENCE, is("connected"));
    let answered = |ada: &mut Program, line: &str, answer: &str| {
        ada.type_line(line);
        ada.wait_for(answer, PATIENCE, |line| {
            line["event"] == "notice"
                && line["message"].as_str().is_some_and(|text| text.contains(answer))
        });
    };
    let recording = |ben: &mut Program, on: bool| {
        ben.wait_for("what Ada does", PATIENCE, |line| {
            line["event"] == "status-changed"
                && line["name"] == "Ada"
                && line["status"]["recording"] == on
        });
    };
    let frames = |line: &Value| line["peers"][0]["frames_received"].as_u64().unwrap_or_default();
    answered(&mut ada, "/record stop", "Nothing is being recorded");
    answered(&mut ada, &format!("/record {READER}"), "a recording needs a folder");
    answered(&mut ada, &format!("/record {}", recordings.path()), "Recording into");
    let own = |ada: &mut Program, on: bool| {
        ada.wait_for("its own event", PATIENCE, |line| {
            line["event"] == "recording" && line["recording"] == on
        });
    };
    own(&mut ada, true);
    recording(&mut ben, true);
    answered(&mut ada, "/record elsewhere", "recording already");
    let is_recorded =
        |line: &Value| line["event"] == "status" && line["recording"] == true && frames(line) > 0;
    let begun = frames(&ada.wait_for("Ben", PATIENCE, is_recorded).json);
    ada.wait_for("a second of Ben", PATIENCE, |line| {
        is_recorded(line) && frames(line) > begun + 50
    });
    answered(&mut ada, "/record stop", "Nothing is recorded any more");
    own(&mut ada, false);
    recording(&mut ben, false);
    ada.type_line("/quit");
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(0));
    let files: Vec<PathBuf> = std::fs::read_dir(&recordings.0)
        .expect("files")
        .map(|file| file.expect("one").path())
        .collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let bytes = std::fs::read(file).expect("readable");
    assert!(bytes.starts_with(b"OggS") && bytes.len() > 2_000, "{} bytes", bytes.len());
}

#[test]
fn a_folder_that_cannot_be_recorded_into_is_a_sentence() {
    let dir = StateDir::new("unrecordable");
    let arguments =
        ["join", "lobby", "--server", "ws://127.0.0.1:9", "--input", "silence", "--output", "null"];
    let failed =
        output(&[&arguments[..], &["--state-dir", dir.path(), "--record", READER]].concat());
    assert_eq!(code(&failed), Some(1));
    assert!(!stdout(&failed).contains("Recording"), "{}", stdout(&failed));
    assert!(
        stderr(&failed).contains("reader.wav") && stderr(&failed).contains("--record"),
        "{}",
        stderr(&failed)
    );
}
