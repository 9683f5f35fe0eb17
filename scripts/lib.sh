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

# is_heard FILE.wav: whether an echo of a tone is in it, and not silence.
is_heard() {
    python3 - "$1" <<'EOF'
import array, sys, wave
with wave.open(sys.argv[1]) as file:
    samples = array.array("h", file.readframes(file.getnframes()))
loud = sum(1 for sample in samples if abs(sample) > 300)
print(f"{loud} of {len(samples)} samples of the echo are loud")
sys.exit(loud < len(samples) // 20)
EOF
}
