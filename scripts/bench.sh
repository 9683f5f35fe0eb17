#!/usr/bin/env bash
# The benchmarks, on release builds: how fast (arguments go there; --help lists them), then how good it sounds.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh run
cargo build --release --workspace --bins --locked
cargo build --release -p voicemesh-tests --example message_speed --locked
cargo build --release -p voicemesh-link --example measure --locked
case " $* " in
    *" --only "*) [[ " $* " != *" messages "* ]] || build_matchbox=yes ;;
    *) build_matchbox=yes ;;
esac
if [ "${build_matchbox:-no}" = yes ]; then
    cargo build --release --locked --manifest-path tests/bench/matchbox/Cargo.toml --target-dir "$(target_dir)/matchbox" ||
        warn "SKIPPED matchbox_socket beside ours: it cannot be built here"
fi
# Thousands of sockets in one process; where the hard limit is lower, the benchmark says so itself.
ulimit -n 16384 2>/dev/null || ulimit -n "$(ulimit -Hn)"
status=0
"$(target_dir)/release/voicemesh-bench" "$@" || status=$?
case " $* " in
    *" --help "* | *" --only "*) exit "$status" ;;
esac
if have node && [ -d web/node_modules ] && { have chromium || [ -n "${VOICEMESH_CHROMIUM:-}" ]; }; then
    quick=""
    case " $* " in *" --quick "*) quick=--quick ;; esac
    # shellcheck disable=SC2086 # nothing, or one word
    VOICEMESH_PROFILE=release node tests/browser/bench.js $quick || status=$?
else
    warn "SKIPPED the page: it takes Node.js, Chromium, and the packages of web/ (cd web && npm ci)"
fi
case " $* " in
    *" --quick "*) "$(target_dir)/release/voicemesh-quality" --quick || status=$? ;;
    *) "$(target_dir)/release/voicemesh-quality" || status=$? ;;
esac
exit "$status"
