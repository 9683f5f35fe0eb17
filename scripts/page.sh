#!/usr/bin/env bash
# Builds the WebAssembly module of the page from crates/page.
#
#   scripts/page.sh             puts it into web/src, with a stamp of what it was made from, and writes the expected rows of
#                               tests/vectors/uplink.json anew
#   scripts/page.sh build FILE  only builds it, to FILE
#   scripts/page.sh check-pure  compiles the pure crates for WebAssembly, which has no sockets, devices, threads or C libraries
#   scripts/page.sh can-build   whether this machine can
#
# Needs either rustup's target wasm32-unknown-unknown, or Debian's rustc-web and rust-web-src, from which the standard
# library is built.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TARGET=wasm32-unknown-unknown
MODULE=web/src/uplink.wasm
STAMP=crates/page/stamp.txt
# Crates without I/O. Those with sound need a C library as they stand.
PURE=(common wire e2ee uplink session mesh netsim networks resample rooms unityp2p)

main() {
    case "${1:-}" in
        build) build "${2:?where to}" ;;
        check-pure) for_wasm check --locked --quiet --lib "${PURE[@]/#/-pvoicemesh-}" ;;
        can-build) rustup_has_target || debian_has_rust ;;
        '')
            build "$MODULE"
            { inputs | sha256sum; sha256sum <"$MODULE"; } | cut -c 1-64 >"$STAMP"
            WRITE_VECTORS=1 cargo test --locked --quiet -p voicemesh-page --test vectors
            ;;
        *) die "usage: scripts/page.sh [build FILE|check-pure|can-build]" ;;
    esac
}

build() {
    # Small rather than fast: a decision is made ten times a second. So is the standard library, where it is built.
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=z CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
    export CARGO_PROFILE_RELEASE_STRIP=true CARGO_PROFILE_RELEASE_PANIC=abort
    for_wasm build --locked --release --quiet --lib -p voicemesh-page
    cp "$(wasm_dir)/$TARGET/release/voicemesh_page.wasm" "$1"
    say "$1: $(wc -c <"$1") bytes"
}

# cargo for WebAssembly, with whichever Rust is there.
for_wasm() {
    if rustup_has_target; then
        CARGO_TARGET_DIR=$(wasm_dir) cargo "$@" --target "$TARGET"
    else
        debian_has_rust || die "No Rust for WebAssembly here: rustup target add $TARGET, or Debian's rustc-web and rust-web-src."
        CARGO_TARGET_DIR=$(wasm_dir) RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
            RUSTFLAGS="-Zunstable-options -Cpanic=immediate-abort" CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(linker) \
            CARGO_PROFILE_RELEASE_PANIC=unwind cargo "$@" --target "$TARGET" -Z build-std=std,panic_abort \
            -Z build-std-features=optimize_for_size
    fi
}

# Another compiler than that of the programs.
wasm_dir() { say "$(target_dir)/page"; }

rustup_has_target() { rustup target list --installed 2>/dev/null | grep -qx "$TARGET"; }

debian_has_rust() { [ -x /usr/bin/rustc ] && ls -d /usr/src/rustc-*/library >/dev/null 2>&1; }

# rustup's toolchain brings one that Debian's lacks.
linker() {
    local own
    own=$(env -u RUSTC rustc --print sysroot)/lib/rustlib/$(env -u RUSTC rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
    if [ -x "$own" ]; then say "$own"; else say wasm-ld; fi
}

# What the module is made from, without comments and tests. tests/check/module.rs reads the same.
inputs() {
    local file
    { printf '%s\n' crates/page/Cargo.toml crates/uplink/Cargo.toml; find crates/page/src crates/uplink/src -name '*.rs'; } |
        LC_ALL=C sort | while read -r file; do
            printf '%s\n' "$file"
            awk '/^#\[cfg\(test\)\]/ { exit } !/^[[:space:]]*\/\// && NF' "$file"
        done
}

main "$@"
