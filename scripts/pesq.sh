#!/usr/bin/env bash
# PESQ of pairs of recordings: pesq.sh FOLDER, which holds NAME.ref.wav and NAME.deg.wav. Prints "NAME SCORE" lines.
# Makes a Python environment with the tools under the target folder when it is first needed.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV=$(target_dir)/pesq-venv

if [ ! -e "$VENV/ready" ]; then
    rm -rf "$VENV"
    mkdir -p "$(dirname "$VENV")"
    # What is said while it is made belongs to people, not into the scores.
    {
        python3 -m venv "$VENV" || die "PESQ needs Python's venv module (Debian: python3-venv)."
        "$VENV/bin/pip" install --quiet --disable-pip-version-check numpy==1.26.4 scipy==1.11.4 cython==3.0.12 \
            setuptools==75.8.0 wheel==0.45.1 || die "PESQ: numpy and scipy cannot be installed."
        "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation pesq==0.0.4 ||
            die "PESQ: the package pesq cannot be built (it needs a C compiler and Python's headers: python3-dev)."
    } >&2
    touch "$VENV/ready"
fi
exec "$VENV/bin/python" -I "$REPO/tests/quality/pesq.py" "$@"
