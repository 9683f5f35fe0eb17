#!/usr/bin/env bash
# Builds the signaling server as one static program (musl), which runs on any Linux of this processor and in an empty image.
#
#   scripts/static-server.sh    builds target/static/voicemesh-signaling and says its size
#
# With rustup's target where it is installed (rustup target add x86_64-unknown-linux-musl; musl-tools). Otherwise with Debian's
# rustc, whose source package brings the standard library, musl-tools, and Zig (PyPI's ziglang), which brings the unwinder for
# musl that Debian lacks.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TARGET=$(uname -m)-unknown-linux-musl
BUILD=$(target_dir)/musl
OUT=$(target_dir)/static/voicemesh-signaling
DEBIAN_RUSTC=/usr/bin/rustc
ZIG_VERSION=0.14.1

main() {
    scripts/setup.sh static
    if rustup target list --installed 2>/dev/null | grep -qx "$TARGET"; then
        CARGO_TARGET_DIR=$BUILD cargo build --release --locked --target "$TARGET" -p voicemesh-signaling
    else
        build_with_debian
    fi
    install -D "$BUILD/$TARGET/release/voicemesh-signaling" "$OUT"
    say "$OUT: $(stat -c %s "$OUT") bytes"
}

# Building the standard library is an option of nightly compilers, which RUSTC_BOOTSTRAP unlocks.
build_with_debian() {
    local upper
    upper=$(say "$TARGET" | tr 'a-z-' 'A-Z_')
    python_has_zig || python3 -m pip install --quiet --target "$BUILD/zig" "ziglang==$ZIG_VERSION"
    mkdir -p "$BUILD"
    # Zig takes neither rustc's "-m64" nor "-nodefaultlibs", without which it adds its own musl and unwinder.
    cat >"$BUILD/linker" <<EOF
#!/usr/bin/env bash
wanted=()
for argument in "\$@"; do
    case "\$argument" in -m64 | -nodefaultlibs | -Wl,-Bdynamic) ;; *) wanted+=("\$argument") ;; esac
done
PYTHONPATH=$BUILD/zig\${PYTHONPATH:+:\$PYTHONPATH} exec python3 -m ziglang cc -target $(uname -m)-linux-musl "\${wanted[@]}"
EOF
    chmod +x "$BUILD/linker"
    env CARGO_TARGET_DIR="$BUILD" RUSTC=$DEBIAN_RUSTC RUSTC_BOOTSTRAP=1 "CC_${TARGET//-/_}=musl-gcc" \
        "CARGO_TARGET_${upper}_LINKER=$BUILD/linker" \
        "CARGO_TARGET_${upper}_RUSTFLAGS=-C link-self-contained=no -C target-feature=+crt-static" \
        cargo build --release --locked -Z build-std=std,panic_abort,panic_unwind --target "$TARGET" -p voicemesh-signaling
}

python_has_zig() { PYTHONPATH=$BUILD/zig python3 -m ziglang version >/dev/null 2>&1; }

main
