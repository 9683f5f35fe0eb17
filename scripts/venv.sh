#!/usr/bin/env bash
# Python's packages for one purpose, in an environment of their own that is made anew when the list changes.
#
#   scripts/venv.sh NAME REQUIREMENTS    prints the environment's folder, target/NAME
#
# Ends with 1, and says why, where they cannot be had.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FOLDER=$(target_dir)/$1
WANTED=$2

main() {
    is_here || install || exit 1
    say "$FOLDER"
}

is_here() { cmp -s "$WANTED" "$FOLDER/.installed"; }

install() {
    local log
    have python3 || { warn "Python is not installed."; return 1; }
    python3 -c 'import ensurepip, venv' 2>/dev/null || { warn "Python with venv is not installed (python3-venv)."; return 1; }
    rm -rf "$FOLDER"
    mkdir -p "$(dirname "$FOLDER")"
    log=$(mktemp)
    # Wheels only: a source package would fetch or compile something else when it is built.
    if python3 -m venv "$FOLDER" && "$FOLDER/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps -r "$WANTED" >"$log" 2>&1; then
        cp "$WANTED" "$FOLDER/.installed"
        rm -f "$log"
    else
        warn "Python's packages could not be installed: $(tail -n 2 "$log")"
        rm -f "$log"
        return 1
    fi
}

main
