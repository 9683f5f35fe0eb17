#!/usr/bin/env bash
# A call through programs that are built: a server, an echo peer, and a peer that sends a tone and hears it come back. It needs no
# sound device, and runs on Linux, macOS and Windows (Git's bash).
#
#   scripts/smoke.sh PROGRAM [SERVER]     PROGRAM is the command; SERVER the server, or the command's `serve` without it

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAM=${1:?usage: scripts/smoke.sh PROGRAM [SERVER]}
SERVER=${2:-}
PORT=18098
WORK=$(mktemp -d)
PIDS=()

main() {
    trap stop EXIT
    # Windows calls it python.
    have python3 || python3() { python "$@"; }
    "$PROGRAM" --version
    start_server
    "$PROGRAM" echo lobby --server "ws://127.0.0.1:$PORT" --state-dir "$WORK/a" --duration 60 >"$WORK/echo.log" 2>&1 &
    PIDS+=($!)
    call direct
    call relayed --relay-only
}

start_server() {
    local tries
    if [ -n "$SERVER" ]; then "$SERVER" --listen "127.0.0.1:$PORT" --stun none >"$WORK/server.log" 2>&1 &
    else "$PROGRAM" serve --listen "127.0.0.1:$PORT" --stun none >"$WORK/server.log" 2>&1 & fi
    PIDS+=($!)
    for tries in $(seq 100); do
        [ "$(curl -s -m 2 "http://127.0.0.1:$PORT/healthz")" != ok ] || return 0
        # Until it listens.
        sleep 0.1
    done
    die "No answer after $tries tries: $(cat "$WORK/server.log")"
}

# call HOW OPTION…
call() {
    local how=$1 route
    shift
    "$PROGRAM" join lobby --server "ws://127.0.0.1:$PORT" --state-dir "$WORK/$how" --input tone --output "$WORK/$how.wav" --duration 8 --json "$@" \
        >"$WORK/$how.log" 2>&1 || die "$(cat "$WORK/$how.log" "$WORK/server.log")"
    is_heard "$WORK/$how.wav" || die "Nothing was heard ($how): $(tail -n 5 "$WORK/$how.log")"
    # The last route to the echo peer.
    route=$(sed -n 's/.*"event":"route-changed".*"route":"\([a-z-]*\)".*/\1/p' "$WORK/$how.log" | tail -n 1)
    [ "$route" = "$how" ] || die "A $how call was ${route:-without a route}: $(tail -n 5 "$WORK/$how.log")"
    say "A $how call: heard."
}

stop() {
    local pid
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$WORK"
}

main
