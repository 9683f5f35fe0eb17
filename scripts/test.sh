#!/usr/bin/env bash
# Everything that must hold before a change is taken: format, lints, licences, docs, all tests. Cheap checks first.
# Every step runs even where an earlier one failed, except that nothing is tested which does not build.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FAILED=""

main() {
    scripts/setup.sh test
    # Nothing is rebuilt on such a machine: what incremental builds write would only cost time.
    if in_ci; then export CARGO_INCREMENTAL=0 CARGO_NET_RETRY=5; fi

    step "format" check_format
    step "shell scripts" check_scripts
    step "licences and bans" check_dependencies
    step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
    # Only libraries: the command and the crate to embed are both called voicemesh.
    step "docs" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --lib --no-deps --locked
    # All targets at once, so that the binaries that tests start share one set of features, and one build, with the tests.
    step "build" cargo build --workspace --all-targets --locked
    case "$FAILED" in *build*) ;; *) step "tests" run_tests ;; esac

    [ -z "$FAILED" ] || die "FAILED:$FAILED"
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
    # The fuzz targets are a workspace of their own.
    [ ! -f tests/fuzz/Cargo.toml ] || cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
}

check_scripts() {
    if have shellcheck; then
        shellcheck scripts/*.sh .ci/run
    else
        say "SKIPPED shellcheck: not installed"
    fi
}

check_dependencies() {
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny --locked check --allow duplicate licenses bans
    else
        say "SKIPPED cargo deny: not installed (cargo install --locked cargo-deny)"
    fi
}

run_tests() {
    local log status=0
    log=$(mktemp)
    cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" || status=1
    sum_up "$log"
    rm -f "$log"
    return "$status"
}

# One line for all test binaries together. A test that said SKIPPED counts as that, not as passed.
sum_up() {
    awk '
        /^test result:/ { passed += $4; failed += $6; skipped += $8 }
        /^SKIPPED / && !($2 in seen) { seen[$2]; said += 1 }
        END { printf "tests: %d passed, %d failed, %d skipped\n", passed - said, failed, skipped + said }
    ' "$1"
}

main
