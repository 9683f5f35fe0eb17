#!/usr/bin/env bash
# Checks that the command still compiles for Windows: types and lifetimes, without linking.
#
# With the target of rustup where it is installed (rustup target add x86_64-pc-windows-gnu). Otherwise with Debian's rustc,
# whose source package brings the standard library. Its artifacts are in target/windows, apart from all others.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TARGET=x86_64-pc-windows-gnu
DEBIAN_RUSTC=/usr/bin/rustc

main() {
    scripts/setup.sh windows
    export CARGO_TARGET_DIR
    CARGO_TARGET_DIR=$(target_dir)/windows
    # Opus is built from source there.
    export CMAKE_SYSTEM_NAME=Windows
    if rustup target list --installed 2>/dev/null | grep -qx "$TARGET"; then
        cargo check --locked --target "$TARGET" -p voicemesh-cli
    else
        # Building the standard library is an option of nightly compilers, which this variable unlocks.
        RUSTC=$DEBIAN_RUSTC RUSTC_BOOTSTRAP=1 cargo check --locked -Z build-std=std,panic_abort,panic_unwind \
            --target "$TARGET" -p voicemesh-cli
    fi
}

main
