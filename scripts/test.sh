#!/usr/bin/env bash
# Everything that must hold before a change is taken: format, lints, licences, docs, all tests. Cheap checks first; what takes
# long and only computes is done beside the tests in real time.
# Every step runs even where an earlier one failed, except that nothing is tested which does not build.
# What this machine cannot run says SKIPPED and why; with CI=true it fails instead.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FAILED=""
LOG=$(mktemp)    # what all tests said, to be counted at the end
# Run beside the tests in real time: see start_beside. The first are tests on a virtual clock.
VIRTUAL="sim model conformance"
BESIDE_LOG=$(mktemp)
BESIDE_PID=""
trap 'rm -f "$LOG" "$BESIDE_LOG"; [ -z "$BESIDE_PID" ] || kill -TERM -- "-$BESIDE_PID" 2>/dev/null || true
    [ -z "$BESIDE_PID" ] || kill -CONT -- "-$BESIDE_PID" 2>/dev/null || true' EXIT

main() {
    # Nothing is rebuilt on such a machine: what incremental builds write would only cost time.
    if in_ci; then export CARGO_INCREMENTAL=0 CARGO_NET_RETRY=5; fi
    if [ "${1:-}" = beside ]; then
        beside
    else
        scripts/setup.sh test
        in_front
        what_failed
        sum_up
    fi
    [ -z "$FAILED" ] || die "FAILED:$FAILED"
}

in_front() {
    step "format" check_format
    step "shell scripts" check_scripts
    step "licences and bans" check_dependencies
    step "web packages" web_packages
    step "web format" web_format
    step "web types" web_types
    # All targets at once, so that the binaries that tests start share one set of features, and one build, with the tests.
    step "build" cargo build --workspace --all-targets --locked
    case "$FAILED" in *build*) return ;; esac

    start_beside
    step "tests" cargo_tests
    step "several nodes" several_nodes
    step "Debian packages" debian_packages
    step "container image" container_image
    # These start the server and the command that were built above. Of sound that a browser plays every late step is heard, so
    # nothing is done beside them.
    kill -STOP -- "-$BESIDE_PID" 2>/dev/null || true
    step "browser tests" browser_tests
    kill -CONT -- "-$BESIDE_PID" 2>/dev/null || true
    step "beside the tests" finish_beside
}

# What only computes, in any time it likes.
beside() {
    step "workflows and hosts" check_workflows
    step "release files" release_files
    step "tests on a virtual clock" virtual_tests
    step "web tests" web_tests
    step "web module" web_module
    step "pure crates" pure_crates
    step "packages" scripts/packages.sh quick
    step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
    step "matchbox" matchbox
    # Only libraries: the command and the crate to embed are both called voicemesh.
    step "docs" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --lib --no-deps --locked
}

# step NAME COMMAND…
step() {
    local name=$1 began=$SECONDS
    shift
    say "== $name"
    if "$@"; then
        say "== $name: ok, $((SECONDS - began)) s"
    else
        say "== $name: FAILED, $((SECONDS - began)) s"
        FAILED="$FAILED $name,"
    fi
}

check_format() {
    cargo fmt --all --check || return
    # These are separate workspaces.
    cargo fmt --manifest-path crates/matchbox/Cargo.toml --check || return
    [ ! -f tests/fuzz/Cargo.toml ] || cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
}

check_scripts() {
    if have shellcheck; then
        shellcheck scripts/*.sh deploy/*.sh deploy/vps/*.sh deploy/install/*.sh .ci/run
    else
        skip shellcheck "not installed"
    fi
}

check_dependencies() {
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny --locked check --allow duplicate licenses bans sources || return
        cargo deny --locked --manifest-path crates/matchbox/Cargo.toml --config crates/matchbox/deny.toml \
            check --allow duplicate licenses bans sources
    else
        skip "cargo deny" "not installed (cargo install --locked cargo-deny)"
    fi
}

# Workflows, the Dockerfile and the files for hosts, with linters from PyPI.
check_workflows() {
    local result=0
    have python3 || { skip "workflows and hosts" "Python is not installed"; return; }
    scripts/lint.sh || result=$?
    [ "$result" = 75 ] || return "$result"
    skip "workflows and hosts" "the linters cannot be had"
}

# A release of stand-ins for the programs, installed from.
release_files() {
    have python3 || { skip "release files" "Python is not installed"; return; }
    scripts/release.sh check
}

# counted COMMAND…: what it says is counted at the end.
counted() { "$@" 2>&1 | tee -a "$LOG"; }

# All tests but those on a virtual clock, which are at work meanwhile.
cargo_tests() {
    local runner
    runner=CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')_RUNNER
    counted env "$runner=$REPO/scripts/run-test.sh" VOICEMESH_NOT_HERE="$VIRTUAL" \
        cargo test --workspace --locked --no-fail-fast
}

# The server with a bus, which the others build without.
several_nodes() {
    cargo clippy -p voicemesh-signaling --features nats --all-targets --locked -- -D warnings || return
    counted cargo test -p voicemesh-signaling --features nats --locked --test signaling nats::
}

virtual_tests() {
    local name wanted=()
    for name in $VIRTUAL; do wanted+=(--test "$name"); done
    counted cargo test --workspace --locked --no-fail-fast "${wanted[@]}"
}

# The integration over matchbox_socket: a separate workspace, which takes from the target directory what both have. Its tests
# wait for connections more than they compute, whatever is done beside them: so they are many at a time.
matchbox() {
    local here=(--manifest-path crates/matchbox/Cargo.toml --target-dir "$(target_dir)" --locked)
    cargo clippy "${here[@]}" --all-targets -- -D warnings || return
    RUSTDOCFLAGS="-D warnings" cargo doc "${here[@]}" --lib --no-deps || return
    counted cargo test "${here[@]}" -- --test-threads 16
}

# What happens on a virtual clock is the same however slowly it is computed, and so are lints. So these run from here to the
# end, in a session of their own and at the lowest priority: most tests in real time wait rather than compute.
start_beside() {
    say "== beside the tests: begun"
    # shellcheck disable=SC2016
    setsid bash -c '
        # The kernel shares the processor between sessions first, then between the processes of each.
        echo 19 2>/dev/null >/proc/self/autogroup || true
        exec nice -n 19 "$@"
    ' - scripts/test.sh beside >"$BESIDE_LOG" 2>&1 &
    BESIDE_PID=$!
}

finish_beside() {
    local result=0
    wait "$BESIDE_PID" || result=$?
    BESIDE_PID=""
    counted cat "$BESIDE_LOG"
    return "$result"
}

# --- what is shipped, with the programs that were built above ------------------------------------------------------------

debian_packages() {
    have dpkg-shlibdeps || { skip "Debian packages" "dpkg-dev is not installed"; return; }
    scripts/deb.sh quick
}

container_image() {
    [ "$(id -u)" = 0 ] || { skip "container image" "only root can make one"; return; }
    have umoci || { skip "container image" "umoci is not installed"; return; }
    scripts/image.sh quick
}

# --- the page ------------------------------------------------------------------------------------------------------

WEB_STAMP=web/node_modules/.installed-lock
NODE_WANTED=$(sed -n 's/.*"node": ">=\([0-9]*\)".*/\1/p' web/package.json)

web_packages() {
    node_will_do || { skip "web packages" "$(why_no_node)"; return; }
    have npm || { skip "web packages" "npm is not installed"; return; }
    ! web_is_installed || return 0
    (cd web && npm ci --loglevel=error) && cp web/package-lock.json "$WEB_STAMP"
}

web_format() {
    node_will_do || { skip "web format" "$(why_no_node)"; return; }
    web_is_installed || { skip "web format" "the packages of web/ are not installed"; return; }
    (cd web && npm run --silent format:check)
}

web_types() {
    node_will_do || { skip "web types" "$(why_no_node)"; return; }
    web_is_installed || { skip "web types" "the packages of web/ are not installed"; return; }
    (cd web && npm run --silent check)
}

web_tests() {
    node_will_do || { skip "web tests" "$(why_no_node)"; return; }
    counted node --test --test-reporter=spec web/test/*.test.js
}

# The modules are built afresh, and must do what those do that the page carries.
web_module() {
    local built
    node_will_do || { skip "web module" "$(why_no_node)"; return; }
    scripts/page.sh can-build || { skip "web module" "no Rust for WebAssembly is installed"; return; }
    built=$(mktemp -d) && scripts/page.sh build "$built" &&
        UPLINK_WASM=$built/uplink.wasm KEYS_WASM=$built/keys.wasm counted node --test --test-reporter=spec \
            web/test/{uplink,speaker,key-ring,encryption}.test.js
    local result=$?
    rm -rf "$built"
    return $result
}

# What compiles for a machine without sockets, devices, threads and C libraries has none. Clocks and chance are for clippy.toml.
pure_crates() {
    scripts/page.sh can-build || { skip "pure crates" "no Rust for WebAssembly is installed"; return; }
    scripts/page.sh check-pure
}

# Without Chromium they skip themselves.
browser_tests() {
    node_will_do || { skip "browser tests" "$(why_no_node)"; return; }
    web_is_installed || { skip "browser tests" "the packages of web/ are not installed"; return; }
    # One at a time: several at once would measure how busy the machine is.
    counted node --test --test-concurrency=1 --test-reporter=spec tests/browser/*.test.js
}

node_will_do() { have node && node -e "process.exit(parseInt(process.versions.node) >= $NODE_WANTED ? 0 : 1)"; }

# Nothing is fetched again while the lock file is the same.
web_is_installed() { cmp -s web/package-lock.json "$WEB_STAMP"; }

why_no_node() { say "Node.js $NODE_WANTED or newer is not installed"; }

# skip WHAT WHY: loud, and a failure where nothing may be left out.
skip() {
    say "SKIPPED $1: $2" | tee -a "$LOG"
    ! in_ci
}

# Once more, where whoever looks at the end finds it: why tests failed.
what_failed() {
    awk '
        # Of Rust: what a failed test said, after all tests of its file, and why at last.
        /^---- .* ----$/ { left = 20 }
        / panicked at / && left < 10 { left = 10 }
        # Of node --test: after a summary of the file.
        /^✖ failing tests:/ { left = 60 }
        left > 0 { print; left -= 1; shown += 1 }
        shown >= 400 { exit }
    ' "$LOG"
}

# One line for all tests together. A test that said SKIPPED counts as that, not as passed; so does a step.
sum_up() {
    awk '
        /^test result:/ { passed += $4; failed += $6; skipped += $8 }
        /^SKIPPED (web|browser) [a-z]+:/ { skipped += 1; next }
        # A file of browser tests says why; node counts what it holds.
        /^SKIPPED [a-z]+\.test\.js:/ { next }
        /^SKIPPED / && !($2 in seen) { seen[$2]; said += 1 }
        # The summary of node --test.
        NF == 3 && ($1 == "#" || $1 == "ℹ") && $3 ~ /^[0-9]+$/ {
            if ($2 == "pass") passed += $3
            if ($2 == "fail" || $2 == "cancelled") failed += $3
            if ($2 == "skipped" || $2 == "todo") skipped += $3
        }
        END { printf "tests: %d passed, %d failed, %d skipped\n", passed - said, failed, skipped + said }
    ' "$LOG"
}

main "$@"
