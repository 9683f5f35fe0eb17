#!/usr/bin/env bash
# The demo without hands: a server and two peers as processes of their own, recorded speech, and how well it was heard.
# Arguments go to the demo; --help lists them.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh run
cargo build --workspace --bins --locked
exec "$(target_dir)/debug/voicemesh-demo" "$@"
