#!/usr/bin/env bash
# Builds the WebAssembly modules of the page from crates/page, one for each of its features: uplink and keys.
#
#   scripts/page.sh             puts them into web/src, with a stamp of what they were made from, and writes the expected rows
#                               of tests/vectors/uplink.json anew
#   scripts/page.sh build DIR   only builds them, into DIR
#   scripts/page.sh check-pure  compiles the pure crates for WebAssembly, which has no sockets, devices, threads or C libraries
#   scripts/page.sh can-build   whether this machine can
#
# Needs either rustup's target wasm32-unknown-unknown, or Debian's rustc-web and rust-web-src, from which the standard
# library is built.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TARGET=wasm32-unknown-unknown
MODULES=(uplink keys)
STAMP=crates/page/stamp.txt
# Crates without I/O. Those with sound need a C library as they stand.
PURE=(common wire e2ee sealing uplink session mesh netsim networks resample rooms cluster unityp2p)

main() {
    case "${1:-}" in
        build) build "${2:?where to}" ;;
        check-pure) for_wasm check --locked --quiet --lib "${PURE[@]/#/-pvoicemesh-}" ;;
        can-build) rustup_has_target || debian_has_rust ;;
        '')
            build web/src
            {
                inputs | sha256sum
                for module in "${MODULES[@]}"; do sha256sum <"web/src/$module.wasm"; done
            } | cut -c 1-64 >"$STAMP"
            WRITE_VECTORS=1 cargo test --locked --quiet -p voicemesh-page --test vectors
            ;;
        *) die "usage: scripts/page.sh [build DIR|check-pure|can-build]" ;;
    esac
}

build() {
    export CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
    export CARGO_PROFILE_RELEASE_STRIP=true CARGO_PROFILE_RELEASE_PANIC=abort
    local module
    for module in "${MODULES[@]}"; do
        # Small rather than fast, as is the standard library where it is built: a decision is made ten times a second. But each
        # frame is sealed, and opened for each speaker.
        export CARGO_PROFILE_RELEASE_OPT_LEVEL=z
        [ "$module" != keys ] || export CARGO_PROFILE_RELEASE_OPT_LEVEL=3
        for_wasm build --locked --release --quiet --lib -p voicemesh-page --no-default-features --features "$module"
        install -m 644 "$(wasm_dir)/$TARGET/release/voicemesh_page.wasm" "$1/$module.wasm"
        say "$1/$module.wasm: $(wc -c <"$1/$module.wasm") bytes"
    done
}

# cargo for WebAssembly, with whichever Rust is there. No path of this machine stays in what it makes.
for_wasm() {
    if rustup_has_target; then
        CARGO_TARGET_DIR=$(wasm_dir) RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}= --remap-path-prefix=$REPO=" cargo "$@" --target "$TARGET"
    else
        debian_has_rust || die "No Rust for WebAssembly here: rustup target add $TARGET, or Debian's rustc-web and rust-web-src."
        CARGO_TARGET_DIR=$(wasm_dir) RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
            RUSTFLAGS="-Zunstable-options -Zlocation-detail=none -Cpanic=immediate-abort" CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(linker) \
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

# What the modules are made from, without comments and tests. tests/check/module.rs reads the same.
inputs() {
    local file
    { printf '%s\n' crates/{page,uplink,e2ee,wire}/Cargo.toml; find crates/{page,uplink,e2ee,wire}/src -name '*.rs' ! -path '*/src/tests*' ! -path '*/tests.rs'; } |
        LC_ALL=C sort | while read -r file; do
            printf '%s\n' "$file"
            awk '/^#\[cfg\(test\)\]/ { exit } !/^[[:space:]]*\/\// && NF' "$file"
        done
}

main "$@"
