#!/usr/bin/env bash
# Builds the command and the C library for Linux with an old glibc, so that they run on systems back to Debian 11 and Ubuntu 20.04.
#
#   scripts/old-glibc.sh        into target/TARGET/release; says the glibc that they need
#
# cargo-zigbuild links with Zig, which has the symbols of every glibc (both from PyPI). Opus is built into the programs; ALSA is the
# one library that they take from the system, because it reads the system's settings of sound.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

GLIBC=2.31
ZIGBUILD_VERSION=0.24.0
ZIG_VERSION=0.14.1
TARGET=$(uname -m)-unknown-linux-gnu
TOOLS=$(target_dir)/zigbuild
BUILT=$(target_dir)/$TARGET/release

main() {
    [ "$(uname -s)" = Linux ] || die "This builds for Linux, on Linux."
    have cmake || die "cmake is not installed: it builds Opus."
    pkg-config --exists alsa || die "The headers of ALSA (libasound2-dev) are not installed."
    rustup target list --installed 2>/dev/null | grep -qx "$TARGET" || die "Rust's standard library for $TARGET is missing: rustup target add $TARGET"
    [ -x "$TOOLS/bin/cargo-zigbuild" ] ||
        { python3 -m venv "$TOOLS" && "$TOOLS/bin/pip" install --quiet "cargo-zigbuild==$ZIGBUILD_VERSION" "ziglang==$ZIG_VERSION"; }
    only_alsa_of_the_system
    # The system's ALSA may ask for a newer glibc than this; at run time it is the user's own.
    env PATH="$TOOLS/bin:$PATH" LIBOPUS_NO_PKG=1 LIBOPUS_STATIC=1 CMAKE_POLICY_VERSION_MINIMUM=3.5 \
        RUSTFLAGS="-L native=$TOOLS/alsa -C link-arg=-Wl,--allow-shlib-undefined" \
        cargo zigbuild --release --locked --target "$TARGET.$GLIBC" -p voicemesh-cli -p voicemesh-capi
    scripts/release.sh glibc "$BUILT/voicemesh" "$GLIBC"
    scripts/release.sh glibc "$BUILT/libvoicemesh_capi.so" "$GLIBC"
}

# A folder with this one library: with the system's whole folder, Zig would link the system's glibc.
only_alsa_of_the_system() {
    mkdir -p "$TOOLS/alsa"
    ln -sf "$(pkg-config --variable=libdir alsa)/libasound.so" "$TOOLS/alsa/libasound.so"
}

main
