//! The guide to one's own accounts: its commands do what it says, and a token is printed by nothing
//! but the command that makes it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use voicemesh_tests::process::Program;

const GUIDE: &str = include_str!("../../../docs/accounts.md");
/// Long enough for a busy machine; nothing here takes a second on an idle one.
const ROOM_KEY: &str = "cm9vbS1rZXktNy1oaWRlcw";
const PATIENCE: Duration = Duration::from_secs(30);

/// The guide's blocks for a shell, in order.
fn commands() -> Vec<String> {
    let blocks = GUIDE.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().trim().to_owned()).collect()
}

/// An empty folder, removed at the end, in which `voicemesh` is this command.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place =
            std::env::temp_dir().join(format!("voicemesh-accounts-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&place).expect("a folder for temporary files");
        Self(place)
    }

    fn shell(&self, script: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_voicemesh"));
        let folder = binary.parent().expect("a folder").to_string_lossy().into_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(&self.0).env("PATH", format!("{folder}:{path}"));
        for variable in ["VOICEMESH_SERVER", "VOICEMESH_TOKEN", "VOICEMESH_LOG", "PORT"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, script: &str) -> String {
        let output = self.shell(script).stdin(Stdio::null()).output().expect("a shell");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    fn join(&self, room: &str, more: &[&str], token: Option<&str>) -> Output {
        self.command(&[&[room, "--json"], more].concat(), token)
            .output()
            .expect("the command starts")
    }

    fn command(&self, arguments: &[&str], token: Option<&str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh"));
        command.args(["join", "--input", "silence", "--output", "null", "--duration", "0.2"]);
        command.args(arguments).arg("--state-dir").arg(&self.0);
        command
            .env_remove("VOICEMESH_SERVER")
            .env_remove("VOICEMESH_TOKEN")
            .env("VOICEMESH_LOG", "trace");
        if let Some(token) = token {
            command.env("VOICEMESH_TOKEN", token);
        }
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

#[test]
fn the_commands_of_the_guide_let_in_who_has_a_token_and_no_log_shows_it() {
    let [secret, serve, token] = &commands()[..] else {
        panic!("the guide has other commands than this test knows")
    };
    let place = Place::new("guide");
    place.run(secret);
    let mut server = Program::start("server", {
        let mut command = place.shell(&format!("exec {serve}"));
        command
            .env("VOICEMESH_LISTEN", "127.0.0.1:0")
            .env("VOICEMESH_STUN", "none")
            .env("VOICEMESH_LOG", "trace");
        command
    });
    let url = server.wait_for_text("its address", PATIENCE, |line| {
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(' ').next().map(str::to_owned)
    });
    let token = place.run(token);
    assert_eq!((token.lines().count(), token.split('.').count()), (1, 3), "{token}");

    let at = ["--server", &url];
    let without = place.join("lobby", &at, None);
    assert_eq!(without.status.code(), Some(4), "{}", text(&without));
    assert!(text(&without).contains("token-required"), "{}", text(&without));
    let other_room = place.join("other", &at, Some(&token));
    assert_eq!(other_room.status.code(), Some(4), "{}", text(&other_room));
    assert!(text(&other_room).contains("token-invalid"), "{}", text(&other_room));

    let link = format!("{}/r/lobby#k={ROOM_KEY}&t={token}", url.replacen("ws", "http", 1));
    let by_variable = place.join("lobby", &at, Some(&token));
    let by_link = place.join(&link, &[], None);
    for joined in [&by_variable, &by_link] {
        assert_eq!(joined.status.code(), Some(0), "{}", text(joined));
        let line = text(joined)
            .lines()
            .find(|line| line.contains(r#""event":"joined""#))
            .map(str::to_owned);
        assert!(
            line.as_deref().is_some_and(|line| line.contains(r#""name":"Ada""#)),
            "{}",
            text(joined)
        );
    }
    let read = place
        .command(&["lobby", "--name", "Someone else", "--server", &url], Some(&token))
        .output();
    let read = text(&read.expect("the command starts"));
    let about: Vec<&str> = read.lines().filter(|line| line.contains("You are here as")).collect();
    assert!(
        matches!(&about[..], [line] if line.ends_with("You are here as Ada, as your token says.")),
        "{read}"
    );
    let broken_link =
        place.join(&format!("http://127.0.0.1:x/r/lobby#k={ROOM_KEY}&t={token}"), &[], None);
    let no_room = place.join(&format!("http://127.0.0.1/#k={ROOM_KEY}&t={token}"), &[], None);
    let outputs = [without, other_room, by_variable, by_link, broken_link, no_room];
    let signature = token.rsplit('.').next().expect("a signature");
    for said in outputs.iter().map(text).chain([server.transcript()]) {
        assert!(!said.contains(signature) && !said.contains(ROOM_KEY), "{said}");
    }
}

#[test]
fn what_cannot_be_a_token_is_said_with_exit_code_2() {
    let place = Place::new("wrong");
    std::fs::write(place.0.join("short"), "short\n").expect("a file");
    std::fs::write(place.0.join("long"), "0123456789abcdef0123456789abcdef").expect("a file");
    let many = "x".repeat(300);
    for arguments in [
        "'' --secret long",
        "' ' --secret long",
        ". --secret long",
        ".. --secret long",
        &format!("{many} --secret long"),
        &format!("{many} --pattern --secret long"),
        "'' --pattern --secret long",
        "lobby --name '  ' --secret long",
        "lobby --name \"$(printf 'a\\nb')\" --secret long",
        &format!("lobby --name {many} --secret long"),
        &format!("lobby --subject {many} --secret long"),
        &format!("lobby --audience {} --secret long", many.repeat(20)),
        "lobby --secret missing",
        "lobby --secret short",
        "lobby --secret long --permissions speak,fly",
        "lobby --secret long --expires soon",
        "lobby --secret long --expires -5m",
        "lobby --secret long --expires 0s",
        "lobby",
    ] {
        let output =
            place.shell(&format!("exec voicemesh token {arguments}")).output().expect("a shell");
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", text(&output));
        assert!(output.stdout.is_empty() && !text(&output).contains("0123456789"), "{arguments}");
    }
    let serve = "exec voicemesh serve --listen 127.0.0.1:0 --stun none --auth-secret short";
    let output = place.shell(serve).output().expect("a shell");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains("--auth-secret") && text(&output).contains("at least 32"),
        "{}",
        text(&output)
    );
}
