//! Many rooms for a long time, with a hostile member in a tenth of them. The server's memory stays
//! where it is, and no room is disturbed: its members hear what is said, agree on who is there, are
//! not put out, and can come back.
//!
//! One server process as operators run it, one runtime with all clients, on loopback. Behind a
//! trusted proxy, as far as the server knows, so that every client has an address and the limits of
//! addresses hold.

#[allow(dead_code, reason = "the hostile cases use more of it")]
#[path = "../hostile/client.rs"]
mod client;
mod findings;
mod honest;
mod hostile;
#[allow(dead_code, reason = "the hostile cases use more of it")]
#[path = "../hostile/memory.rs"]
mod memory;
#[path = "../bench/socket.rs"]
mod socket;
mod view;

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, interval, interval_at};
use voicemesh_tests::room::Server;

use findings::{Findings, Room};
use memory::resident_kib;

/// Members of a room, the hostile one included.
const SEATS: usize = 8;
/// One room in so many has a hostile member.
const HOSTILE_IN: usize = 10;
/// Rooms are filled one after the other, this far apart.
const FILL_INTERVAL: Duration = Duration::from_millis(40);
/// Descriptors beyond the connections.
const MORE_FILES: u64 = 512;
/// What one room's listeners must hear of what is said in it, and all together. What is missing is
/// late: the server drops speech that waited 400 ms, as it does when the machine has other work.
const HEARD_IN_ROOM: f64 = 0.98;
const HEARD: f64 = 0.99;
/// Memory: how far the mean of the last third may be from that of the second.
const MOST_CHANGE: f64 = 0.05;
/// The same for a run of two minutes, in KiB: pages that the allocator holds are a larger part of
/// little.
const MOST_CHANGE_SHORT_KIB: f64 = 2048.0;
const MINUTES: &str = "SOAK_MINUTES";
const ROOMS: &str = "SOAK_ROOMS";
const REPORT: &str = "VOICEMESH_REPORT";

#[test]
fn rooms_with_hostile_members_are_not_disturbed() {
    soak(50, Duration::from_secs(120), MOST_CHANGE_SHORT_KIB);
}

#[test]
#[ignore = "long: make soak"]
fn two_thousand_connections_for_a_long_time() {
    let number = |variable, default| {
        std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    soak(number(ROOMS, 250.0) as usize, Duration::from_secs_f64(60.0 * number(MINUTES, 20.0)), 0.0);
}

fn soak(rooms: usize, length: Duration, least_change_kib: f64) {
    allow_files((2 * rooms * SEATS) as u64 + MORE_FILES);
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let findings = Rc::new(Findings::default());
    let memory =
        runtime.block_on(LocalSet::new().run_until(run(&server, rooms, length, &findings)));
    let ours = resident_kib(std::process::id());
    let (table, summary, late, counters) =
        (memory.table(), findings.summary(), memory.latest, &memory.counters);
    let clients =
        format!("The clients' process held {ours} KiB, and was late by {late:.1?} at most.");
    let report = format!("{table}\n{summary}\n\n{clients} The server counted: {counters}.\n");
    println!("{report}");
    write_report(rooms, length, &report);
    let (second, last) = memory.thirds();
    let most = (MOST_CHANGE * second).max(least_change_kib);
    assert!(
        (last - second).abs() <= most,
        "memory: {second:.0} KiB in the second third, {last:.0} KiB in the last"
    );
    findings.assert_undisturbed(HEARD_IN_ROOM, HEARD, late);
}

/// Fills the rooms, lets them be for a while, and gives what the server held.
async fn run(server: &Server, rooms: usize, length: Duration, findings: &Rc<Findings>) -> Memory {
    let mut members = JoinSet::new();
    let mut filling = interval(FILL_INTERVAL);
    let begun = Instant::now();
    let end = begun + FILL_INTERVAL * u32::try_from(rooms).expect("few rooms") + length;
    for number in 0..rooms {
        filling.tick().await;
        let room = Rc::new(Room::new(server.address, number, Rc::clone(findings)));
        let hostile = number % HOSTILE_IN == 0;
        for seat in 0..SEATS - usize::from(hostile) {
            members.spawn_local(honest::live(Rc::clone(&room), seat, end));
        }
        if hostile {
            members.spawn_local(hostile::live(room, end));
        }
    }
    println!("{rooms} rooms with {SEATS} members each after {:.0?}", begun.elapsed());
    let mut memory =
        Memory { length, samples: Vec::new(), latest: Duration::ZERO, counters: String::new() };
    let full = Instant::now();
    let mut looks = interval_at(full, Duration::from_secs(1));
    let mut minutes = 0;
    loop {
        tokio::select! {
            due = looks.tick() => {
                // All clients share this thread: when it is late, so are they.
                memory.latest = memory.latest.max(due.elapsed());
                memory.samples.push((full.elapsed(), resident_kib(server.program.id())));
                let passed = full.elapsed().as_secs() / 60;
                if passed > minutes {
                    minutes = passed;
                    let kib = memory.samples.last().map_or(0, |(_, kib)| *kib);
                    println!("minute {minutes}: {kib} KiB; {}", findings.line());
                }
            }
            ended = members.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => findings.note(format!("a client failed: {error}")),
                None => {
                    memory.counters = counters(server).await;
                    return memory;
                }
            },
        }
    }
}

/// Of its metrics, what tells how much of the attacks was refused.
async fn counters(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("metrics are text");
    let wanted = [
        "packets",
        "deliveries",
        "voice_dropped",
        "voice_over_rate",
        "receiver_busy",
        "snapshots",
        "slow_consumers",
    ];
    let value = |name: &str| {
        let prefix = format!("voicemesh_{name}_total ");
        let value = answer.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("?");
        format!("{name} {value}")
    };
    wanted.map(value).join(", ")
}

/// What the server held, second by second.
struct Memory {
    length: Duration,
    samples: Vec<(Duration, u64)>,
    /// How late the clients' own thread was at most.
    latest: Duration,
    /// What the server has counted.
    counters: String,
}

impl Memory {
    fn mean(&self, from: f64, to: f64) -> f64 {
        let part = self
            .samples
            .iter()
            .filter(|(at, _)| (self.length.mul_f64(from)..self.length.mul_f64(to)).contains(at));
        let kib: Vec<f64> = part.map(|(_, kib)| *kib as f64).collect();
        assert!(!kib.is_empty(), "no look at the server's memory");
        kib.iter().sum::<f64>() / kib.len() as f64
    }

    /// Means of the second third and of the last.
    fn thirds(&self) -> (f64, f64) {
        (self.mean(1.0 / 3.0, 2.0 / 3.0), self.mean(2.0 / 3.0, 1.0))
    }

    fn table(&self) -> String {
        let mut table = "| minute | server, KiB |\n|---|---|\n".to_owned();
        for minute in 0..self.length.as_secs().div_ceil(60) {
            let within = |at: Duration| at.as_secs() / 60 == minute;
            if let Some((_, kib)) = self.samples.iter().rev().find(|(at, _)| within(*at)) {
                // Writing to a String does not fail.
                let _ = writeln!(table, "| {} | {kib} |", minute + 1);
            }
        }
        let (second, last) = self.thirds();
        let change = 100.0 * (last - second) / second;
        let _ = writeln!(
            table,
            "\nMean of the second third {second:.0} KiB, of the last {last:.0} KiB: {change:+.1} %."
        );
        table
    }
}

/// Appends the result to the file that a long run names.
fn write_report(rooms: usize, length: Duration, report: &str) {
    let Some(path) = std::env::var_os(REPORT) else { return };
    let connections = rooms * SEATS;
    let text = format!(
        "\n{connections} connections in {rooms} rooms for {:.1} minutes.\n\n{report}",
        length.as_secs_f64() / 60.0
    );
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .expect("the report can be written");
}

/// For this process and the server that it starts.
fn allow_files(wanted: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit of open files");
    assert!(
        hard >= wanted,
        "the system allows {hard} open files, {wanted} are needed (ulimit -Hn)"
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).expect("a higher limit");
}
