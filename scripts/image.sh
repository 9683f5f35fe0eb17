#!/usr/bin/env bash
# Makes the container image of the signaling server without a container engine: an OCI layout with one static program in it.
#
#   scripts/image.sh            packs target/static/voicemesh-signaling (scripts/static-server.sh) into target/image
#   scripts/image.sh check      packs it, runs it with runc (read-only root, user 65534, no capability), and calls through it
#   scripts/image.sh quick      packs target/debug/voicemesh-signaling with its libraries, and runs what is in the image as user 65534
#
# To publish: skopeo copy oci:target/image:0.1.0 docker://REGISTRY/voicemesh-signaling:0.1.0

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

IMAGE=$(target_dir)/image
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
STATIC=$(target_dir)/static/voicemesh-signaling
DEBUG=$(target_dir)/debug
# Largest image that is accepted, in bytes.
LIMIT=15000000
WORK=""

main() {
    [ "$(id -u)" = 0 ] || die "An image with files of root can be made by root only."
    have umoci || die "umoci is not installed."
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
    case "${1:-}" in
        '') pack "$STATIC" ;;
        check) pack "$STATIC"; check ;;
        quick) IMAGE=$WORK/image; pack "$DEBUG/voicemesh-signaling"; quick ;;
        *) die "usage: scripts/image.sh [check|quick]" ;;
    esac
}

pack() {
    local program=$1 root=$WORK/bundle/rootfs
    [ -x "$program" ] || die "$program is missing."
    rm -rf "$IMAGE"
    umoci init --layout "$IMAGE"
    umoci new --image "$IMAGE:$VERSION"
    umoci unpack --image "$IMAGE:$VERSION" "$WORK/bundle" 2>/dev/null
    install -D "$program" "$root/voicemesh-signaling"
    # Certificates of others are not needed: the server opens no connection by itself.
    libraries_of "$program" | while read -r library; do install -D "$library" "$root$library"; done
    umoci repack --image "$IMAGE:$VERSION" "$WORK/bundle" 2>/dev/null
    umoci config --image "$IMAGE:$VERSION" --config.user 65534:65534 --config.entrypoint /voicemesh-signaling \
        --config.env PORT=8080 --config.exposedports 8080/tcp --config.stopsignal SIGTERM \
        --config.label "org.opencontainers.image.title=voicemesh-signaling" \
        --config.label "org.opencontainers.image.version=$VERSION" \
        --config.label "org.opencontainers.image.licenses=MIT OR Apache-2.0"
    umoci gc --layout "$IMAGE" 2>/dev/null
    say "$IMAGE:$VERSION: $(size) bytes"
}

# A static program has none.
libraries_of() { ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true; }

size() { find "$IMAGE/blobs" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }'; }

# --- what is in it runs ----------------------------------------------------------------------------------------------

PORT=18097
SERVER=""

check() {
    [ "$(size)" -le $LIMIT ] || die "The image is larger than $LIMIT bytes."
    have runc || die "runc is not installed."
    umoci unpack --image "$IMAGE:$VERSION" "$WORK/run" 2>/dev/null
    # The host's network, so that the programs outside reach it; everything else as an engine does it.
    python3 - "$WORK/run/config.json" $PORT <<'EOF'
import json, sys
path, port = sys.argv[1:]
config = json.load(open(path))
process = config["process"]
assert process["user"] == {"uid": 65534, "gid": 65534}, process["user"]
assert process["args"] == ["/voicemesh-signaling"], process["args"]
process["terminal"] = False
process["capabilities"] = {}
process["noNewPrivileges"] = True
process["args"] += ["--listen", f"127.0.0.1:{port}", "--stun", "none"]
config["root"]["readonly"] = True
config["linux"]["namespaces"] = [space for space in config["linux"]["namespaces"] if space["type"] != "network"]
json.dump(config, open(path, "w"))
EOF
    runc run --bundle "$WORK/run" "voicemesh-$$" >"$WORK/server.log" 2>&1 &
    SERVER=$!
    answers
    a_call
    runc kill "voicemesh-$$" TERM
    wait "$SERVER" || die "The server did not end well: $(cat "$WORK/server.log")"
    say "Run with a read-only root as user 65534: healthy, a call through it heard, ended by SIGTERM."
}

# Without runc: the image's files and its user, in a root of their own.
quick() {
    umoci unpack --image "$IMAGE:$VERSION" "$WORK/run" 2>/dev/null
    chroot --userspec=65534:65534 "$WORK/run/rootfs" /voicemesh-signaling --listen "127.0.0.1:$PORT" --stun none >"$WORK/server.log" 2>&1 &
    SERVER=$!
    answers
    kill "$SERVER"
    wait "$SERVER" || die "The server did not end well: $(cat "$WORK/server.log")"
    say "What is in the image runs as user 65534 and is healthy."
}

answers() {
    local tries
    for tries in $(seq 100); do
        [ "$(curl -s -m 2 "http://127.0.0.1:$PORT/healthz")" != ok ] || return 0
        # Until it listens.
        sleep 0.1
    done
    kill "$SERVER" 2>/dev/null || true
    die "No answer after $tries tries: $(cat "$WORK/server.log")"
}

# Two of the built commands talk through it.
a_call() {
    local echo_peer
    "$DEBUG/voicemesh" echo lobby --server "ws://127.0.0.1:$PORT" --relay-only --state-dir "$WORK/a" --duration 30 >"$WORK/echo.log" 2>&1 &
    echo_peer=$!
    "$DEBUG/voicemesh" join lobby --server "ws://127.0.0.1:$PORT" --state-dir "$WORK/b" --input tone --output "$WORK/heard.wav" --duration 8 --json \
        >"$WORK/join.log" || die "$(cat "$WORK/join.log" "$WORK/server.log")"
    kill "$echo_peer"
    is_heard "$WORK/heard.wav" || die "Nothing was heard: $(tail -n 5 "$WORK/join.log")"
}

main "$@"
