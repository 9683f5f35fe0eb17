//! What fuzzing found is tried again with every run of the tests.

use std::fs;
use std::path::Path;

use crate::bodies;

#[test]
fn every_input_of_the_fuzzing_corpus_passes() {
    replay("packet", bodies::packet::run);
    replay("signaling", bodies::signaling::run);
    replay("server", bodies::server::run);
    replay("client", bodies::client::run);
    replay("rooms", bodies::rooms::run);
    replay("jitter", bodies::jitter::run);
}

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(corpus).unwrap_or_else(|error| panic!("no corpus for {target}: {error}"));
    let mut inputs = 0;
    for file in files {
        let path = file.unwrap().path();
        let input = fs::read(&path).unwrap();
        std::panic::catch_unwind(|| run(&input)).unwrap_or_else(|_| panic!("{} fails", path.display()));
        inputs += 1;
    }
    assert!(inputs > 20, "{target} has only {inputs} inputs");
}
