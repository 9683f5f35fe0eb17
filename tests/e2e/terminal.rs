//! `voicemesh join` in a terminal: what a person sees there, and what keys do as a terminal sends
//! them.
//!
//! What was seen is kept in `target/terminal/real` for people to look at, as text and with colours.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{Folder, Joining, PATIENCE, Server, wait_for, wait_for_peer};
use voicemesh_tests::ssh::Ssh;
use voicemesh_tests::tmux::{Kind, Tmux, Window};

use super::alone;

const USUAL: Kind<'_> = Kind { size: (80, 24), term: "tmux-256color", lang: "C.UTF-8" };
const LARGE: Kind<'_> = Kind { size: (120, 40), term: "screen-16color", lang: "C.UTF-8" };
const ASCII: Kind<'_> = Kind { size: (80, 24), term: "xterm-16color", lang: "C" };
const SMALL: (u16, u16) = (40, 10);

/// What the line being typed shows while it is empty.
const NOTHING_TYPED: &str = "> write to everyone, or /help";
/// Parameters of SGR besides the sixteen colours: none, bold, dim, reversed; the terminal's own
/// colours.
const ATTRIBUTES: [u8; 6] = [0, 1, 2, 7, 39, 49];

/// `voicemesh join` as a person starts it.
fn join(server: &Server, room: &str, name: &str, folder: &Folder) -> Command {
    let mut command = Command::new(binary("voicemesh"));
    command
        .args(["join", room, "--server", &server.url(), "--name", name, "--state-dir"])
        .arg(folder.file(name));
    command
}

/// The same without sound devices.
fn join_silent(server: &Server, room: &str, name: &str, folder: &Folder) -> Command {
    let mut command = join(server, room, name, folder);
    command.args(["--input", "silence", "--output", "null"]);
    command
}

/// A member that speaks all the time.
fn speaker(server: &Server, room: &str, name: &str, folder: &Folder) -> Program {
    let joining = Joining { input: "tone".into(), ..Joining::new(&server.url(), room, name) };
    joining.with(&["--activation", "always", "--relay-only"]).start(folder)
}

/// Keeps what a window shows.
fn keep(name: &str, window: &Window<'_>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/terminal/real");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.txt")), window.text()).unwrap();
    fs::write(folder.join(format!("{name}.ansi")), window.coloured()).unwrap();
}

/// Whether these are the rows of the view at this size, each in its place and only once.
fn is_whole(text: &str, room: &str, (columns, rows): (u16, u16)) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let [header, .., input, keys] = lines.as_slice() else { return false };
    let rules = lines.iter().filter(|line| line.starts_with("──") || line.starts_with("--"));
    let rules: Vec<usize> = rules.map(|line| line.chars().count()).collect();
    lines.len() == usize::from(rows)
        && lines.iter().all(|line| line.chars().count() <= usize::from(columns))
        && header.starts_with(&format!(" {room} "))
        && header.contains("connected")
        && input.starts_with(NOTHING_TYPED)
        && keys.starts_with(" F1 help")
        && ["connected", NOTHING_TYPED, "F1 help"]
            .iter()
            .all(|part| text.matches(part).count() == 1)
        && rules == vec![usize::from(columns); if rows < 16 { 0 } else { 4 }]
}

/// Whether the row that begins with this has this, too.
fn row_has(text: &str, beginning: &str, part: &str) -> bool {
    text.lines().any(|line| line.starts_with(beginning) && line.contains(part))
}

fn assert_sixteen_colours(window: &Window<'_>) {
    let coloured = window.coloured();
    let sequences = coloured.split('\u{1b}').skip(1);
    let parameters = sequences
        .map(|rest| rest.strip_prefix('[').and_then(|rest| rest.split_once('m')).expect("SGR").0);
    let numbers = parameters
        .flat_map(|parameters| parameters.split(';'))
        .map(|number| number.parse().unwrap_or(0));
    let used: Vec<u8> = numbers.filter(|number| !ATTRIBUTES.contains(number)).collect();
    let is_of_sixteen = |number: &u8| matches!(number, 30..=37 | 40..=47 | 90..=97 | 100..=107);
    assert!(used.contains(&32) && used.iter().all(is_of_sixteen), "{used:?}\n{coloured:?}");
}

/// Sends these pieces, of which the last mutes or unmutes; waits until that is seen. Nothing of
/// them is text.
fn press(window: &Window<'_>, pieces: &[&str], muted: bool) {
    pieces.iter().for_each(|piece| window.write(piece.as_bytes()));
    let what = if muted { "MUTED" } else { "an open microphone" };
    let text = window
        .wait_until(what, |text| row_has(text, if muted { " MUTED" } else { " silent" }, "noise"));
    assert!(text.contains(NOTHING_TYPED), "after {pieces:?}:\n{text}");
}

/// The program has ended, and the terminal is as before.
fn assert_given_back(window: &Window<'_>, ending: &str) {
    window.wait_until("the end", |text| {
        text.contains(&format!("ended with {ending}, terminal same"))
    });
    assert!(!window.is_alternate() && window.has_cursor() && !window.reports_mouse());
    window.paste("echoed");
    let text = window.wait_until("what is typed", |text| text.contains("echoed"));
    assert!(!text.contains("200~") && !text.contains(NOTHING_TYPED), "{text}");
}

#[test]
fn three_people_are_seen_and_who_of_them_speaks_in_sixteen_colours_or_in_ascii() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("three_people_are_seen_and_who_of_them_speaks") else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    let kinds = [("three", "Ada", USUAL), ("three", "Ben", LARGE), ("ascii", "Cleo", ASCII)];
    let windows = kinds.map(|(room, name, kind)| {
        tmux.open(name, kind, &join_silent(&server, room, name, &folder))
    });
    let mut muted = Joining::new(&server.url(), "ascii", "Dora").with(&["--muted"]).start(&folder);
    // Who is seen may not yet be in the session, where texts go.
    wait_for(&mut muted, "connected");
    windows.iter().for_each(|window| {
        drop(window.wait_until("the connection", |shown| shown.contains("connected")))
    });
    let mut speakers =
        [speaker(&server, "three", "Toni", &folder), speaker(&server, "ascii", "Tom", &folder)];
    for (speaker, viewers) in speakers.iter_mut().zip([["Ada", "Ben"], ["Cleo", "Dora"]]) {
        viewers.iter().for_each(|viewer| drop(wait_for_peer(speaker, "peer-joined", viewer)));
        wait_for(speaker, "connected");
        speaker.type_line("Grüße – 日本");
    }
    for ((room, name, kind), window) in kinds.iter().zip(&windows) {
        let (is_ascii, (columns, rows)) = (kind.lang == "C", kind.size);
        let (speaks, text) = if is_ascii {
            ("  * Tom", "Tom: Gruse - ? ?")
        } else {
            ("  ● Toni", "Toni: Grüße – 日本")
        };
        let text = window.wait_until("two others, who speaks and what was written", |shown| {
            is_whole(shown, room, kind.size)
                && shown.contains("2 other people")
                && row_has(shown, speaks, " ms")
                && shown.contains(text)
                && (!is_ascii || row_has(shown, "  . Dora", "muted"))
        });
        keep(&format!("{room}-{name}-{columns}x{rows}-{}", kind.term), window);
        assert_eq!(text.is_ascii(), is_ascii, "{text}");
        assert_sixteen_colours(window);
    }
}

#[test]
fn without_a_sound_system_the_view_is_whole_and_says_so_in_one_line() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("without_a_sound_system_the_view_is_whole") else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    let mut command = join(&server, "alone", "Ada", &folder);
    // PulseAudio is away, and ALSA knows a card that is none, also on a machine that has one;
    // libasound says so at length.
    fs::write(folder.file("asound.conf"), "pcm.!default { type hw card 31 }\n").unwrap();
    command.env("PULSE_SERVER", "/nowhere").env("XDG_RUNTIME_DIR", folder.file("nothing"));
    command.env("ALSA_CONFIG_PATH", folder.file("asound.conf"));
    let window = tmux.open("no-sound-system", USUAL, &command);
    let text = window.wait_until("what is missing", |text| {
        is_whole(text, "alone", USUAL.size)
            && text.contains("No sound card works")
            && text.contains("LISTENING ONLY")
    });
    keep("no-sound-system-80x24", &window);
    assert_eq!(text.matches("sound card").count(), 1, "{text}");
    assert!(text.contains("No other person is here yet.") && !text.contains("ALSA"), "{text}");
}

#[test]
fn a_damaged_identity_is_said_once_with_its_path_and_the_room_goes_on() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("a_damaged_identity_is_said_once") else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    fs::create_dir_all(folder.file("Ada")).unwrap();
    fs::write(folder.file("Ada").join("identity"), "abc").unwrap();
    // Before her: that he comes is no event that would push hers away.
    let mut bob = Joining::new(&server.url(), "identity", "Bob").start(&folder);
    wait_for(&mut bob, "connected");
    let command = join_silent(&server, "identity", "Ada", &folder);
    // Paths are broken over lines.
    let has_path =
        |text: &str| text.split_whitespace().collect::<String>().contains("Ada/identity.broken-");
    let window = tmux.open("damaged", USUAL, &command);
    let text = window.wait_until("what became of it, beside who is there", |text| {
        is_whole(text, "identity", USUAL.size) && text.contains("· Bob") && has_path(text)
    });
    assert_eq!(text.matches("You are a new person").count(), 1, "{text}");
    keep("damaged-identity-80x24", &window);
    window.write(b"\x1b");
    // It is an event like others now, cut where there is no room; F8 shows it whole.
    window.wait_until("the room", |text| {
        is_whole(text, "identity", USUAL.size)
            && text.matches("You are a new person").count() == 1
            && !has_path(text)
    });
    window.write(b"\x1b[19~");
    window.wait_until("the event", |text| text.contains("You are a new person") && has_path(text));
    window.write(b"\x1b[19~");
    window.wait_until("the room", |text| is_whole(text, "identity", USUAL.size));
    window.write(b"\x03");
    assert_given_back(&window, "0");
    assert!(has_path(&window.text()), "after the call:\n{}", window.text());
    let again = tmux.open("mended", LARGE, &command);
    let text = again.wait_until("the room", |text| {
        is_whole(text, "identity", LARGE.size) && text.contains("· Bob")
    });
    assert!(!text.contains("damaged") && !text.contains("You are a new person"), "{text}");
}

#[test]
fn a_key_to_talk_that_is_held_in_a_terminal_without_releases_opens_and_then_closes() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("a_key_to_talk_that_is_held") else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    let mut bob = Joining::new(&server.url(), "held-key", "Bob").start(&folder);
    wait_for(&mut bob, "connected");
    let mut command = join(&server, "held-key", "Ada", &folder);
    command.args(["--input", "tone", "--output", "null", "--activation", "push-to-talk"]);
    let window = tmux.open("held-key", USUAL, &command);
    window.wait_until("the other", |text| {
        is_whole(text, "held-key", USUAL.size) && text.contains("· Bob")
    });
    bob.forget();
    let speaks = |bob: &mut Program, speaking: bool| {
        bob.events()
            .iter()
            .any(|event| event.json["event"] == "speaking" && event.json["speaking"] == speaking)
    };
    // A repeat of the keyboard for each turn.
    let deadline = Instant::now() + PATIENCE;
    while !speaks(&mut bob, true) {
        window.write(b"\x1bOS");
        assert!(Instant::now() < deadline, "nothing is heard:\n{}", window.text());
    }
    window.wait_until("an open microphone", |text| {
        window.write(b"\x1bOS");
        row_has(text, " TALKING", "noise")
    });
    keep("held-key-80x24", &window);
    wait_for_peer(&mut bob, "speaking", "Ada");
    bob.wait_for("that Ada is quiet", PATIENCE, |json| {
        json["event"] == "speaking" && json["speaking"] == false
    });
    window.wait_until("a closed microphone", |text| !row_has(text, " TALKING", "noise"));
}

#[test]
fn of_twenty_people_the_speaker_is_named_and_another_size_draws_everything_anew() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("of_twenty_people_the_speaker_is_named") else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    let silent = |number| {
        Joining::new(&server.url(), "twenty", &format!("Guest {number:02}")).with(&["--relay-only"])
    };
    let _silent: Vec<Program> = (1..=18).map(|number| silent(number).start(&folder)).collect();
    let _speaker = speaker(&server, "twenty", "Toni", &folder);
    let window = tmux.open("twenty", USUAL, &join_silent(&server, "twenty", "Ada", &folder));
    for (columns, rows) in [USUAL.size, SMALL, USUAL.size, LARGE.size] {
        window.resize(columns, rows);
        window.wait_until("all of it", |text| {
            let all = rows < 16 || text.contains("19 other people");
            let has_rest = text.contains(" more (↑↓) ● Toni");
            let speaks =
                if rows < 40 { has_rest } else { row_has(text, "  ● Toni", "━") && !has_rest };
            all && speaks
                && text.contains("· Guest 01")
                && is_whole(text, "twenty", (columns, rows))
        });
        keep(&format!("twenty-{columns}x{rows}"), &window);
    }
}

#[test]
fn keys_that_arrive_in_pieces_and_answers_of_the_terminal_type_no_letters_and_it_is_given_back() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("keys_that_arrive_in_pieces_type_no_letters") else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    // A program that ended badly has left the reports of the mouse on.
    let mut command = Command::new("sh");
    let joining = join_silent(&server, "keys", "Ada", &folder);
    command.args(["-c", r#"printf '\033[?1000h\033[?1003h\033[?1006h'; exec "$@""#, "sh"]);
    command.arg(joining.get_program()).args(joining.get_args());
    let window = tmux.open("keys", USUAL, &command);
    window.wait_until("the view", |text| is_whole(text, "keys", USUAL.size));
    keep("one-80x24", &window);
    assert!(window.is_alternate() && !window.reports_mouse());
    let cases: [&[&str]; 8] = [
        &["\u{1b}OQ"],
        // Esc and F2 in one write.
        &["\u{1b}\u{1b}OQ"],
        // As a slow line brings them.
        &["\u{1b}O", "Q"],
        &["\u{1b}[", "1", "2~"],
        // Reports of the mouse and the cursor from row and column 0, which there are none.
        &["\u{1b}[M   ", "\u{1b}[<0;0;0M\u{1b}[0;0R", "\u{1b}OQ"],
        // Answers to what an earlier program asked: titles, colours and settings.
        &["\u{1b}]0;hi\u{7}\u{1b}P1$r0m\u{1b}\\", "\u{1b}OQ"],
        &["\u{1b}]11;rgb:0000/0000/0000\u{1b}\\\u{1b}OQ"],
        &["\u{1b}_Gi=1;OK\u{1b}\\\u{1b}[12~"],
    ];
    for (number, pieces) in cases.iter().enumerate() {
        press(&window, pieces, number % 2 == 0);
    }
    // What is typed after all this is a line.
    window.write("to all\r".as_bytes());
    // It was refused, and stands there again, to be mended.
    window.wait_until("why, and the line", |text| {
        text.contains("Not sent: no one else is here.") && row_has(text, "> to all", "")
    });
    keep("keys-80x24", &window);
    window.write(b"\x15");
    window.wait_until("an empty line", |text| text.contains(NOTHING_TYPED));
    window.write(b"/msg Zoe hi\r");
    window.wait_until("why, and the line", |text| {
        text.contains("No person here is called “Zoe”") && row_has(text, "> /msg Zoe hi", "")
    });
    keep("refused-80x24", &window);
    window.write(b"\x15");
    window.wait_until("an empty line", |text| text.contains(NOTHING_TYPED));
    window.write(b"\x03");
    assert_given_back(&window, "0");
    keep("given-back", &window);
}

#[test]
fn over_ssh_the_view_is_the_same_keys_do_the_same_and_another_size_arrives() {
    let _alone = alone();
    let test = "over_ssh_the_view_is_the_same";
    let Some(tmux) = Tmux::start(test) else { return };
    let Some(ssh) = Ssh::start(test) else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    let mut speaker = speaker(&server, "ssh", "Toni", &folder);
    wait_for(&mut speaker, "connected");
    for (name, kind) in [("Ada", USUAL), ("Ben", LARGE)] {
        let command = ssh.over_line(&join_silent(&server, "ssh", name, &folder));
        let window = tmux.open(name, kind, &command);
        wait_for_peer(&mut speaker, "peer-joined", name);
        let (columns, rows) = kind.size;
        let seen = |window: &Window<'_>, size| {
            window.wait_until("who speaks", |text| {
                is_whole(text, "ssh", size) && row_has(text, "  ● Toni", " ms")
            })
        };
        seen(&window, kind.size);
        keep(&format!("ssh-{name}-{columns}x{rows}-{}", kind.term), &window);
        assert_sixteen_colours(&window);
        // A line that lags brings a key in pieces, or with the next one.
        press(&window, &["\u{1b}OQ"], true);
        press(&window, &["\u{1b}O", "Q"], false);
        press(&window, &["\u{1b}\u{1b}OQ"], true);
        window.write("Grüße\r".as_bytes());
        window.wait_until("the line as a message", |text| {
            text.contains("You: Grüße") && text.contains(NOTHING_TYPED)
        });
        let other = if kind.size == USUAL.size { LARGE.size } else { USUAL.size };
        for size in [other, kind.size] {
            window.resize(size.0, size.1);
            seen(&window, size);
        }
        window.write(b"\x03");
        assert_given_back(&window, "0");
    }
}

#[test]
fn a_terminal_is_given_back_when_the_program_is_told_to_end_and_a_dumb_one_gets_lines() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("a_terminal_is_given_back_when_the_program_is_told_to_end") else {
        return;
    };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    let dumb = tmux.open(
        "dumb",
        Kind { term: "dumb", ..USUAL },
        &join_silent(&server, "lines", "Ada", &folder),
    );
    dumb.wait_until("that one is in", |text| text.contains("lines"));
    let view = tmux.open("view", USUAL, &join_silent(&server, "lines", "Ben", &folder));
    view.wait_until("the other one", |text| {
        is_whole(text, "lines", USUAL.size) && text.contains("· Ada")
    });
    let text = dumb.wait_until("who came", |text| text.contains("Ben is here."));
    assert!(
        !dumb.is_alternate()
            && !text.contains(NOTHING_TYPED)
            && !dumb.coloured().contains('\u{1b}'),
        "{text}"
    );
    keep("dumb-80x24", &dumb);
    view.terminate();
    assert_given_back(&view, "0");
    dumb.terminate();
    assert_given_back(&dumb, "0");
}

#[test]
fn a_refused_command_stays_in_the_line_and_one_who_is_held_reads_what_is_possible() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("a_refused_command_stays_in_the_line") else { return };
    let (server, folder) = (Server::start(&["--owner-after", "0"]), Folder::create("terminal"));
    let ada = tmux.open("ada", USUAL, &join_silent(&server, "held", "Ada", &folder));
    ada.wait_until("the room", |text| is_whole(text, "held", USUAL.size));
    let ben = tmux.open("ben", USUAL, &join_silent(&server, "held", "Ben", &folder));
    ada.wait_until("the other", |text| text.contains("· Ben"));
    // Ctrl-U takes away what was refused before.
    let typed = |window: &Window<'_>, line: &str| window.write(format!("\x15{line}\r").as_bytes());
    typed(&ada, "/kick Zoe");
    ada.wait_until("what was typed, and why not", |text| {
        text.contains("called “Zoe”") && text.contains("> /kick Zoe")
    });
    typed(&ada, "/gain Ben");
    ada.wait_until("what was typed", |text| text.contains("> /gain Ben"));
    ada.write(b"\x15");
    ada.wait_until("an empty line", |text| text.contains(NOTHING_TYPED));
    typed(&ada, "/ban Ben -5");
    ada.wait_until("why", |text| text.contains("“-5” is no time for a ban"));
    typed(&ada, "/move Ben red,blue");
    ada.wait_until("what was done", |text| text.contains("“red,blue”, which is one group."));
    ben.wait_until("the group", |text| text.contains("to red,blue"));
    typed(&ben, "/join green");
    ben.wait_until("why not", |text| text.contains("you cannot join “green”"));
    typed(&ben, "/join all");
    ben.wait_until("why not", |text| text.contains("you cannot join everyone"));
    typed(&ben, "/leave red,blue");
    ben.wait_until("a way back", |text| {
        text.contains("TO NO GROUP") && text.contains("/join red,blue")
    });
    typed(&ada, "/move Ben ALL");
    ben.wait_until("everyone", |text| {
        text.contains("You may choose your talk groups again.") && !text.contains("to red")
    });
    keep("held-80x24", &ben);
}

#[test]
fn one_to_whom_no_sound_comes_through_is_marked_in_the_row_without_a_line() {
    let _alone = alone();
    let Some(tmux) = Tmux::start("one_to_whom_no_sound_comes") else { return };
    let (server, folder) = (Server::start(&[]), Folder::create("terminal"));
    let mut ben = speaker(&server, "cut", "Ben", &folder);
    let mut join = join_silent(&server, "cut", "Ada", &folder);
    let ada = tmux.open("ada", USUAL, join.arg("--relay-only"));
    let is_row =
        |text: &str, part| text.lines().any(|row| row.contains("Ben") && row.contains(part));
    ada.wait_until("Ben", |text| is_row(text, "relayed"));
    let Server { mut program, address } = server;
    program.kill();
    ada.wait_until("that no sound comes", |text| is_row(text, "no sound"));
    // Longer than what is said of a way that has ended waits.
    ben.wait_for("a try that comes later", PATIENCE, |json| {
        json["event"] == "server-away" && json["retry_in_ms"].as_f64() > Some(1_500.0)
    });
    wait_for(&mut ben, "server-away");
    assert!(!ada.text().contains("No sound comes through"), "{}", ada.text());
    keep("cut-off-80x24", &ada);
    let _again = Server::start_by(
        Command::new(binary("voicemesh-signaling")),
        Ipv4Addr::LOCALHOST,
        address.port(),
        &[],
    );
    ada.wait_until("Ben again", |text| is_row(text, "relayed"));
}
