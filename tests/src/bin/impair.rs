//! An impaired link between two interfaces, in user space (Linux, root).
//!
//! ```text
//! voicemesh-impair INTERFACE_A INTERFACE_B SEED
//! ```
//!
//! Makes two TAP interfaces and carries Ethernet frames between them, as [`Impairment`] says;
//! either may be moved to another network namespace afterwards. Prints `ready`, then reads lines of
//! JSON from standard input and answers each with one line:
//!
//! - `{"to_b": {…}, "to_a": {…}}` changes one or both directions; see `Impairment::to_json`.
//!   Answer: `{}` or `{"error": …}`.
//! - `{"counts": true}`: the frames of both directions.
//!
//! ARP and anything else that is not IP passes at once. The program ends with its standard input.
//!
//! Each direction has two threads: one takes frames and decides when they are due, the other sleeps
//! until then.

#[cfg(target_os = "linux")]
fn main() {
    if let Err(why) = linux::run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        eprintln!("voicemesh-impair: {why}");
        std::process::exit(1);
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("voicemesh-impair needs Linux: it stands on network namespaces and TAP interfaces.");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, Write as _, stdin, stdout};
    use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
    use std::thread;
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use tappers::{Interface, Tap};
    use voicemesh_common::lock;
    use voicemesh_tests::nets::{Impairment, OneWay};

    /// Longest sleep without a frame.
    const IDLE: Duration = Duration::from_secs(1);
    /// Larger than any frame of an interface with an MTU of 1500.
    const MAX_FRAME: usize = 2 * 1024;
    /// Of an interface that is down: frames are lost there, as on an unplugged cable.
    const EIO: i32 = 5;
    /// After this the interface is asked again whether it is up.
    const DOWN_INTERVAL: Duration = Duration::from_millis(10);

    /// One direction, shared by the thread that takes frames, the one that delivers them, and the
    /// one that changes it.
    struct Direction {
        way: Mutex<OneWay>,
        /// A frame was offered.
        offered: Condvar,
        epoch: Instant,
    }

    pub fn run(arguments: &[String]) -> Result<(), String> {
        let [a, b, seed] = arguments else {
            return Err("takes INTERFACE_A INTERFACE_B SEED".to_owned());
        };
        let seed = seed.parse().map_err(|error| format!("seed {seed}: {error}"))?;
        let (a, b) = (Arc::new(open_tap(a)?), Arc::new(open_tap(b)?));
        let epoch = Instant::now();
        let direction = |stream| {
            let (way, offered) = (Mutex::new(OneWay::new(seed, stream)), Condvar::new());
            Arc::new(Direction { way, offered, epoch })
        };
        let (to_b, to_a) = (direction(0), direction(1));
        for (direction, from, to) in [(&to_b, &a, &b), (&to_a, &b, &a)] {
            let (direction, from, to) = (Arc::clone(direction), Arc::clone(from), Arc::clone(to));
            let (taker, end) = (Arc::clone(&direction), Arc::clone(&to));
            thread::spawn(move || end_with(taker.take_frames(&from, &end)));
            thread::spawn(move || end_with(direction.deliver_frames(&to)));
        }
        println!("ready");
        for line in stdin().lines() {
            let line = line.map_err(|error| format!("standard input: {error}"))?;
            let answer = answer(&line, &to_b, &to_a).unwrap_or_else(|why| json!({ "error": why }));
            println!("{answer}");
            stdout().flush().map_err(|error| format!("standard output: {error}"))?;
        }
        Ok(())
    }

    fn open_tap(name: &str) -> Result<Tap, String> {
        let interface =
            Interface::new(name).map_err(|error| format!("interface {name}: {error}"))?;
        Tap::new_named(interface).map_err(|error| format!("TAP {name}: {error}"))
    }

    /// A link with a dead direction is worse than none.
    fn end_with(result: io::Result<()>) {
        if let Err(error) = result {
            eprintln!("voicemesh-impair: {error}");
            std::process::exit(1);
        }
    }

    impl Direction {
        #[expect(
            clippy::disallowed_methods,
            reason = "an interface that is down gives no event when it is up again"
        )]
        fn take_frames(&self, from: &Tap, to: &Tap) -> io::Result<()> {
            let mut buffer = [0; MAX_FRAME];
            loop {
                let length = match from.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.raw_os_error() == Some(EIO) => {
                        thread::sleep(DOWN_INTERVAL);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let frame = &buffer[..length];
                if is_ip(frame) {
                    self.lock().offer(self.epoch.elapsed(), frame.to_vec());
                    self.offered.notify_one();
                } else {
                    send(to, frame)?;
                }
            }
        }

        fn deliver_frames(&self, to: &Tap) -> io::Result<()> {
            let mut way = self.lock();
            loop {
                if let Some(frame) = way.poll(self.epoch.elapsed()) {
                    drop(way);
                    send(to, &frame)?;
                    way = self.lock();
                } else {
                    let sleep = way
                        .next_at()
                        .map_or(IDLE, |due| due.saturating_sub(self.epoch.elapsed()).min(IDLE));
                    way = self
                        .offered
                        .wait_timeout(way, sleep)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }

        fn lock(&self) -> MutexGuard<'_, OneWay> {
            lock(&self.way)
        }
    }

    fn send(to: &Tap, frame: &[u8]) -> io::Result<()> {
        match to.send(frame) {
            Err(error) if error.raw_os_error() != Some(EIO) => Err(error),
            _ => Ok(()),
        }
    }

    fn answer(line: &str, to_b: &Direction, to_a: &Direction) -> Result<Value, String> {
        let request: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        for (key, direction) in [("to_b", to_b), ("to_a", to_a)] {
            if !request[key].is_null() {
                direction
                    .lock()
                    .set(direction.epoch.elapsed(), Impairment::from_json(&request[key])?);
            }
        }
        if request["counts"] != true {
            return Ok(json!({}));
        }
        let counts = |direction: &Direction| {
            let counts = direction.lock().counts();
            json!({
                "frames": counts.frames,
                "bytes": counts.bytes,
                "dtls_frames": counts.dtls_frames,
                "dtls_bytes": counts.dtls_bytes,
                "lost": counts.lost,
                "dropped": counts.dropped,
            })
        };
        Ok(json!({ "to_b": counts(to_b), "to_a": counts(to_a) }))
    }

    /// IPv4 or IPv6 by the Ethernet type.
    fn is_ip(frame: &[u8]) -> bool {
        matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]))
    }
}
