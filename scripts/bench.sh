#!/usr/bin/env bash
# The benchmarks, on release builds. Arguments go to the benchmark; --help lists them.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh run
cargo build --release --workspace --bins --locked
# Thousands of sockets in one process; where the hard limit is lower, the benchmark says so itself.
ulimit -n 16384 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec "$(target_dir)/release/voicemesh-bench" "$@"
