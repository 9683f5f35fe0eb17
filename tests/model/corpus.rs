//! What fuzzing found is tried again with every run of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bodies;
use crate::bodies::rooms::Reached;

#[test]
fn every_input_of_the_fuzzing_corpus_passes() {
    replay("packet", bodies::packet::run);
    replay("signaling", bodies::signaling::run);
    replay("server", bodies::server::run);
    replay("client", bodies::client::run);
    replay("rooms", bodies::rooms::run);
    replay("jitter", bodies::jitter::run);
    replay("send_queue", bodies::send_queue::run);
    replay("sealed", bodies::sealed::run);
}

/// Where the fuzzer starts from, the password paths are reached: hashes, right and wrong ones, new
/// passwords, tickets.
#[test]
fn the_corpus_of_rooms_gets_past_passwords() {
    let mut sum = [0; 5];
    for (_, input) in corpus("rooms") {
        let Reached { hashes, let_in, wrong, set, with_ticket } = bodies::rooms::reached(&input);
        let reached = [hashes, let_in, wrong, set, with_ticket];
        sum.iter_mut().zip(reached).for_each(|(sum, reached)| *sum += reached);
    }
    println!("hashes, let in, wrong, set, with a ticket: {sum:?}");
    assert!(sum.iter().all(|reached| *reached > 0), "{sum:?}");
}

/// Links open, what is said on them is heard, and they end.
#[test]
fn the_corpus_of_what_is_sealed_reaches_links() {
    let mut sum = [0; 3];
    for (_, input) in corpus("sealed") {
        let bodies::sealed::Reached { links, heard_on_links, closed } =
            bodies::sealed::reached(&input);
        let reached = [links, heard_on_links, closed];
        sum.iter_mut().zip(reached).for_each(|(sum, reached)| *sum += reached);
    }
    println!("links, heard on links, closed: {sum:?}");
    assert!(sum.iter().all(|reached| *reached > 5), "{sum:?}");
}

/// It reaches every rule of the queue of a connection: what waits too long, is too much, or ends it.
#[test]
fn the_corpus_of_the_send_queue_fills_it_in_every_way() {
    let mut sum = [0; 7];
    for (_, input) in corpus("send_queue") {
        let reached = bodies::send_queue::reached(&input);
        let bodies::send_queue::Reached { busy, voice_dropped, refused, snapshots, .. } = reached;
        let bodies::send_queue::Reached { noted, overflows, stuck, .. } = reached;
        let voice_dropped = voice_dropped as u32;
        let reached = [busy, voice_dropped, refused, snapshots, noted, overflows, stuck];
        sum.iter_mut().zip(reached).for_each(|(sum, reached)| *sum += reached);
    }
    println!("busy, voice, refused, snapshots, noted, overflows, stuck: {sum:?}");
    assert!(sum.iter().all(|reached| *reached > 0), "{sum:?}");
}

fn replay(target: &str, run: fn(&[u8])) {
    let mut inputs = 0;
    for (path, input) in corpus(target) {
        std::panic::catch_unwind(|| run(&input))
            .unwrap_or_else(|_| panic!("{} fails", path.display()));
        inputs += 1;
    }
    assert!(inputs > 20, "{target} has only {inputs} inputs");
}

fn corpus(target: &str) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files =
        fs::read_dir(corpus).unwrap_or_else(|error| panic!("no corpus for {target}: {error}"));
    files.map(|file| {
        let path = file.unwrap().path();
        let input = fs::read(&path).unwrap();
        (path, input)
    })
}
