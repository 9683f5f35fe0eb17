# shellcheck shell=bash
# What the other scripts share: words for the terminal, the repository's root, and Rust on the PATH.

set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$REPO"

# rustup puts its tools where only a new login shell finds them.
CARGO_BIN=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
case ":$PATH:" in
    *":$CARGO_BIN:"*) ;;
    *) PATH=$CARGO_BIN:$PATH ;;
esac
export PATH

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() { warn "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

in_ci() { [ "${CI:-}" = true ] || [ "${CI:-}" = 1 ]; }

target_dir() {
    case "${CARGO_TARGET_DIR:-}" in
        '') say "$REPO/target" ;;
        /*) say "$CARGO_TARGET_DIR" ;;
        *) say "$REPO/$CARGO_TARGET_DIR" ;;
    esac
}
