#!/usr/bin/env bash
# A voicemesh to try by yourself: builds, starts a server and an echo peer in a room, and says how to join. Ctrl-C ends both.
#
#   PORT=8080        where the server listens
#   HOST=127.0.0.1   0.0.0.0 lets other machines of this network join
#   ROOM=lobby       where the echo peer waits
#
# It contacts no other server: no STUN server is asked (--stun none), which a trial on one machine or one network does not need.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PORT=${PORT:-8080}
HOST=${HOST:-127.0.0.1}
ROOM=${ROOM:-lobby}
case "$HOST" in 0.0.0.0) NEAR=127.0.0.1 ;; *) NEAR=$HOST ;; esac # how the server is reached from here
SERVER=ws://$NEAR:$PORT
LOGS=$REPO/out/run
STARTS_WITHIN_S=10
ENDS_WITHIN_S=12 # the server promises 10

SERVER_PID=""
ECHO_PID=""

main() {
    scripts/setup.sh run
    cargo build --release --locked --package voicemesh-cli
    VOICEMESH=$(target_dir)/release/voicemesh

    ! port_answers || die "Something already listens on port $PORT. Take another: make run PORT=$((PORT + 1))"
    trap stop EXIT
    trap 'exit 0' INT # the way to end it
    trap 'exit 143' TERM HUP
    mkdir -p "$LOGS"
    start_server
    start_echo
    tell_how_to_join
    watch
}

start_server() {
    "$VOICEMESH" serve --listen "$HOST:$PORT" --stun none >"$LOGS/server.log" 2>&1 </dev/null &
    SERVER_PID=$!
    local deadline=$((SECONDS + STARTS_WITHIN_S))
    until port_answers; do
        alive "$SERVER_PID" || gave_up "The server ended" server
        [ "$SECONDS" -lt "$deadline" ] || gave_up "The server did not listen within $STARTS_WITHIN_S s" server
        sleep 0.1
    done
}

start_echo() {
    "$VOICEMESH" echo "$ROOM" --server "$SERVER" >"$LOGS/echo.log" 2>&1 </dev/null &
    ECHO_PID=$!
    local deadline=$((SECONDS + STARTS_WITHIN_S))
    until grep -q "says back what it hears" "$LOGS/echo.log"; do
        alive "$ECHO_PID" || gave_up "The echo peer ended" echo
        [ "$SECONDS" -lt "$deadline" ] || gave_up "The echo peer did not join within $STARTS_WITHIN_S s" echo
        sleep 0.1
    done
}

tell_how_to_join() {
    local join
    join="$(printf '%q' "$VOICEMESH") join $(printf '%q' "$ROOM") --server"
    cat <<END

A server runs at $SERVER, and an echo peer waits in room "$ROOM".
It says back what it hears (wear headphones). Join in a browser:

    http://$NEAR:$PORT/r/$(url_encoded "$ROOM")

or in another terminal:

    $join $SERVER

Without a microphone, send a tone and keep what comes back:

    $join $SERVER --input tone --output heard.wav --duration 10
END
    if [ "$HOST" != 127.0.0.1 ]; then
        say
        say "From another machine, with voicemesh built there, and this machine's address:"
        say
        say "    voicemesh join $(printf '%q' "$ROOM") --server ws://ADDRESS:$PORT"
        say
        say "Browsers of other machines talk only to https://: see --tls-cert, or put the server behind a host that has it."
    fi
    say
    say "Logs are in $LOGS. Ctrl-C ends both."
}

# What a room's name is in an address: every byte but the plainest as %XX.
url_encoded() {
    local LC_ALL=C text=$1 at byte
    for ((at = 0; at < ${#text}; at++)); do
        byte=${text:at:1}
        case "$byte" in
            [a-zA-Z0-9._~-]) printf '%s' "$byte" ;;
            *) printf '%%%02X' "'$byte" ;;
        esac
    done
}

# Waits until one of the two ends, which neither does by itself.
watch() {
    while alive "$SERVER_PID" && alive "$ECHO_PID"; do
        # A sleep that is waited for lets Ctrl-C through at once.
        sleep 1 &
        wait $! || true
    done
    if alive "$SERVER_PID"; then gave_up "The echo peer ended" echo; else gave_up "The server ended" server; fi
}

gave_up() {
    warn "$1. The end of its log ($LOGS/$2.log):"
    tail -n 20 "$LOGS/$2.log" >&2
    exit 1
}

# Ends the two by their ids: first the echo peer, so that it can say goodbye.
stop() {
    trap '' INT TERM HUP
    end "$ECHO_PID"
    end "$SERVER_PID"
}

end() {
    [ -n "$1" ] && alive "$1" || return 0
    kill -TERM "$1" 2>/dev/null || true
    local deadline=$((SECONDS + ENDS_WITHIN_S))
    while alive "$1" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    ! alive "$1" || kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

alive() { kill -0 "$1" 2>/dev/null; }

# In a subshell: a refused connection would end the script.
port_answers() { (exec 3<>"/dev/tcp/$NEAR/$PORT") 2>/dev/null; }

main
