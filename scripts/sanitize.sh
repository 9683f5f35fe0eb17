#!/usr/bin/env bash
# Runs the C examples under the address sanitizer and the thread sanitizer, each in a room with a peer of ours, everything of
# the library built with them. Needs nightly Rust, for the second with its sources (rustup component add rust-src --toolchain nightly).
#
#   SANITIZER=address   only that one; address or thread
#
# Ends with an error if one of them finds a fault. Takes some minutes to build; what it built stays in target/sanitize.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HOST=$(rustc -vV | sed -n 's/^host: //p')

main() {
    cargo +nightly --version >/dev/null 2>&1 || die "The sanitizers need nightly Rust: rustup toolchain install nightly"
    local sanitizer failed=""
    # The server, the command and the test are the usual ones.
    cargo build --locked -p voicemesh-signaling -p voicemesh-cli
    for sanitizer in ${SANITIZER:-address thread}; do
        build "$sanitizer"
        say "== $sanitizer sanitizer"
        VOICEMESH_ROOM=$PROGRAMS/room VOICEMESH_PLACES=$PROGRAMS/places \
            cargo test --locked -p voicemesh-tests --test engines -- --ignored --nocapture \
            a_sanitizer_finds_no_fault_in_the_c_examples || failed="$failed $sanitizer"
    done
    [ -z "$failed" ] || die "FAILED:$failed"
}

# build SANITIZER, leaving the PROGRAMS
build() {
    local target runtime example
    target=$(target_dir)/sanitize/$1
    local cargo=(cargo +nightly build --locked -p voicemesh-capi --target "$HOST" --target-dir "$target")
    # The thread sanitizer must see the standard library's locks and queues as well.
    [ "$1" = address ] || cargo+=(-Z build-std)
    say "== building with the $1 sanitizer"
    RUSTFLAGS="-Zsanitizer=$1" "${cargo[@]}"
    PROGRAMS=$target
    local libraries
    read -ra libraries <<<"$(pkg-config --libs alsa) $(! pkg-config --exists opus || pkg-config --libs opus)"
    # The runtime is Rust's own: the C compiler's may be older than the code that calls it.
    runtime=$(rustc +nightly --print target-libdir --target "$HOST")/librustc-nightly_rt.${1:0:1}san.a
    for example in room places; do
        cc -std=c99 -g -pthread "-fsanitize=$1" -c -I crates/capi/include "crates/capi/examples/$example.c" -o "$target/$example.o"
        cc "$target/$example.o" "$target/$HOST/debug/libvoicemesh_capi.a" \
            -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive \
            "${libraries[@]}" -lpthread -ldl -lrt -lm -lgcc_s -o "$target/$example"
    done
}

main
