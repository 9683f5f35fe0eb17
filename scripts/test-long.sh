#!/usr/bin/env bash
# The tests that take long or need much: whole tables of networks, the check for Windows, the packages, soaks.
#
#   PART=name,name  only these parts (default: all); a prefix such as "nets" takes all parts that begin with it
#   CASES="a; b"    of the nets tables, only these cases
#   SOAK_MINUTES=10 length of the soak; 20 for the server's
#   SOAK_ROOMS=250  rooms of eight in the server's soak; 250 take a processor core for the server and one for the clients
#   UPLINK_SEEDS=5  seeds by which each case of the simulated uplinks is judged
#   ATTACK_SEEDS=1000 seeds of each attack of a malicious server
#   FIREFOX_CALLS=10 calls of four with Firefox
#
# Each part writes its result to docs/measured/YYYY-MM-DD-PART.md, where it belongs into the repository. Ends with 1 if a
# part failed; the others run all the same. `make fuzz`, `make sanitize` and `make bench` have commands of their own.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PARTS="nets-nat nets-paths nets-uplinks nets-changes nets-reaching uplinks attacks firefox hosts windows packages debian image soak server-soak"
MEASURED=$REPO/docs/measured

main() {
    local part failed="" ran=""
    scripts/setup.sh test
    mkdir -p "$MEASURED"
    for part in $PARTS; do
        is_wanted "$part" || continue
        ran="$ran $part"
        say "== $part"
        begin_report "$part"
        if run_part "$part"; then end_report ok; else end_report failed; failed="$failed $part"; fi
    done
    [ -n "$ran" ] || die "There is no part ${PART:-}. Parts: $PARTS"
    [ -z "$failed" ] || die "FAILED:$failed"
}

is_wanted() {
    local wanted
    [ -n "${PART:-}" ] || return 0
    for wanted in ${PART//,/ }; do
        case "$1" in "$wanted" | "$wanted"-*) return 0 ;; esac
    done
    return 1
}

run_part() {
    case "$1" in
        nets-nat) nets meeting::nat_table ;;
        nets-paths) nets meeting::paths_table ;;
        nets-uplinks) nets uplinks::uplinks_table ;;
        nets-changes) nets moving::changes_table ;;
        nets-reaching) nets reaching::reaching_table ;;
        uplinks) uplinks ;;
        attacks) attacks ;;
        firefox) firefox ;;
        hosts) hosts ;;
        windows) windows ;;
        packages) packages ;;
        debian) debian ;;
        image) image ;;
        soak) soak ;;
        server-soak) server_soak ;;
    esac
}

# nets TEST: an ignored test that appends its table to the report.
nets() {
    [ "$(id -u)" = 0 ] || { warn "Network namespaces need root."; return 1; }
    # All targets of the workspace, so that its features, and what `make test` has built, stay the same.
    cargo build --locked --workspace --all-targets &&
        CI=true VOICEMESH_REPORT=$REPORT cargo test --locked --workspace --test nets -- --ignored --exact --nocapture "$1"
}

# Every case of the matrix of narrow ways by several seeds, under the virtual clock.
uplinks() {
    cargo build --locked --workspace --all-targets &&
        UPLINK_SEEDS=${UPLINK_SEEDS:-5} VOICEMESH_REPORT=$REPORT \
            cargo test --locked --workspace --test sim -- --ignored --exact --nocapture uplink_seeds::every_case_of_the_matrix_by_several_seeds
}

# Each attack of a malicious server on whole rooms by many seeds, under the virtual clock.
attacks() {
    cargo build --locked --workspace --all-targets &&
        ATTACK_SEEDS=${ATTACK_SEEDS:-1000} VOICEMESH_REPORT=$REPORT \
            cargo test --locked --workspace --test sim -- --ignored --exact --nocapture malicious::every_attack_by_many_seeds
}

# Calls of four with one in Firefox, every other one with a slowed sound thread: in none may its page stop.
firefox() {
    (cd web && npm ci --loglevel=error) && cp web/package-lock.json web/node_modules/.installed-lock &&
        cargo build --locked --workspace --all-targets &&
        CI=true FIREFOX_CALLS=${FIREFOX_CALLS:-10} VOICEMESH_REPORT=$REPORT node --test --test-reporter=spec tests/browser/firefox.test.js
}

# A room of twenty on a host that ends sockets, sleeps and restarts, under the virtual clock.
hosts() {
    cargo build --locked --workspace --all-targets &&
        reported cargo test --locked --workspace --test sim -- --ignored hosts::
}

windows() {
    local log status=0
    log=$(mktemp)
    scripts/check-windows.sh 2>&1 | tee "$log" || status=1
    { printf '\n'; sed -n 's/^ *\(Finished.*\)/\1/p; /^error/p' "$log"; } >>"$REPORT"
    rm -f "$log"
    return "$status"
}

# Every package, outside the workspace.
packages() {
    local log status=0
    log=$(mktemp)
    scripts/packages.sh 2>&1 | tee "$log" || status=1
    awk '/^test result:/ { passed += $4; failed += $6 }
        END { printf "\nUnit tests of the packages: %d passed, %d failed.\n", passed, failed }' "$log" >>"$REPORT"
    rm -f "$log"
    return "$status"
}

# The Debian packages: made from release builds, installed, used and purged in a fresh Debian root.
debian() {
    scripts/static-server.sh && cargo build --release --locked -p voicemesh-cli && scripts/deb.sh &&
        reported scripts/deb.sh check
}

# The container image: made, run with a read-only root by a user without rights, and called through.
image() {
    scripts/static-server.sh && cargo build --locked --workspace --all-targets && reported scripts/image.sh check
}

# reported COMMAND…: the last lines that it says stand in the report.
reported() {
    local log status=0
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=1
    { printf '\n```text\n'; grep -vE '^(Reading|Building|Get:|Selecting|Preparing|Unpacking|Setting up|Processing)' "$log" | tail -n 12; printf '```\n'; } >>"$REPORT"
    rm -f "$log"
    return "$status"
}

soak() {
    SOAK_MINUTES=${SOAK_MINUTES:-10} nets soak::eight_peers_for_a_long_time
}

# 2,000 connections in 250 rooms (make soak), with the server as the tests have it (opt-level 1), so that nothing is built twice.
server_soak() {
    cargo build --locked --workspace --all-targets &&
        SOAK_MINUTES=${SOAK_MINUTES:-20} VOICEMESH_REPORT=$REPORT \
            cargo test --locked --workspace --test soak -- --ignored --exact --nocapture two_thousand_connections_for_a_long_time
}

# --- reports ---------------------------------------------------------------------------------------------------------

begin_report() {
    BEGAN=$SECONDS
    REPORT=$MEASURED/$(date -u +%F)-$1.md
    {
        printf '# %s, %s\n\n' "$1" "$(date -u +%F)"
        # shellcheck disable=SC2016 # Markdown
        printf -- '- Command: `make test-long PART=%s%s`\n' "$1" "${CASES:+ CASES=\"$CASES\"}"
        # shellcheck disable=SC2016
        printf -- '- Commit: `%s`\n' "$(git rev-parse --short HEAD)$(git diff --quiet HEAD -- . ':!docs/measured' || printf ' and changes')"
        printf -- '- Machine: %s cores, load %s when it began, %s\n' "$(nproc)" "$(load)" "$(uname -sm)"
    } >"$REPORT"
}

end_report() {
    printf '\nResult: %s, after %s s, load %s at the end.\n' "$1" "$((SECONDS - BEGAN))" "$(load)" >>"$REPORT"
    say "== $(basename "$REPORT"): $1, $((SECONDS - BEGAN)) s"
}

load() { cut -d ' ' -f 1 /proc/loadavg 2>/dev/null || printf unknown; }

main
