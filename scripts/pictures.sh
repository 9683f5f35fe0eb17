#!/usr/bin/env bash
# Takes the pictures of README.md anew (docs/pictures): a server, a page in Chromium and two commands in one room, with recorded
# voices. It needs what the page's tests need, and tmux. With BUILT=1 it takes the programs that were built before.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for program in node tmux; do have "$program" || die "This takes $program."; done
[ -d web/node_modules ] || die "This takes the packages of web/: (cd web && npm ci)"
[ "${BUILT:-}" = 1 ] || cargo build --workspace --bins --locked
node tests/browser/pictures.js
