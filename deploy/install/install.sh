#!/bin/sh
# Installs voicemesh @VERSION@ for Linux and macOS, after its checksum was verified.
#
#   sh install.sh                          the command, voicemesh
#   sh install.sh voicemesh-signaling      the server
#
#   VOICEMESH_TO=~/.local/bin   the folder to install into
#   VOICEMESH_FROM=URL          a mirror of the release's files
#
# Where gh (GitHub's command) is installed and logged in, it also verifies that the archive was built by the repository's
# workflow; VOICEMESH_ATTESTATION=1 makes that a condition.

set -eu

VERSION=@VERSION@
REPOSITORY=@REPOSITORY@
FROM=${VOICEMESH_FROM:-$REPOSITORY/releases/download/v$VERSION}
TO=${VOICEMESH_TO:-$HOME/.local/bin}

# All of it is read before any of it runs, so that a connection that breaks leaves no half of a script at work.
main() {
    program=${1:-voicemesh}
    target=$(target_of "$program")
    archive=$program-$VERSION-$target.tar.gz
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT

    fetch "$FROM/$archive" "$work/$archive"
    fetch "$FROM/SHA256SUMS" "$work/SHA256SUMS"
    verify_checksum
    verify_attestation

    tar -xzf "$work/$archive" -C "$work"
    mkdir -p "$TO"
    # Renamed into place: an older one may be running.
    cp "$work/$program-$VERSION-$target/$program" "$TO/.$program.new"
    chmod 755 "$TO/.$program.new"
    mv "$TO/.$program.new" "$TO/$program"
    echo "$program $VERSION is in $TO."
    case ":$PATH:" in
        *":$TO:"*) ;;
        *) echo "$TO is not on your PATH." ;;
    esac
}

target_of() {
    case "$(uname -m)" in
        x86_64 | amd64) processor=x86_64 ;;
        aarch64 | arm64) processor=aarch64 ;;
        *) fail "There is no $1 for $(uname -m). Build it from source: $REPOSITORY" ;;
    esac
    case "$1 $(uname -s)" in
        "voicemesh Linux") echo "$processor-unknown-linux-gnu" ;;
        "voicemesh-signaling Linux") echo "$processor-unknown-linux-musl" ;;
        "voicemesh Darwin" | "voicemesh-signaling Darwin") echo "$processor-apple-darwin" ;;
        "voicemesh "* | "voicemesh-signaling "*) fail "This is for Linux and macOS; for Windows there is install.ps1." ;;
        *) fail "There is voicemesh and voicemesh-signaling, and no $1." ;;
    esac
}

fetch() {
    if command -v curl >/dev/null; then
        curl --proto '=https,file' --proto-redir '=https' --tlsv1.2 -fsSL "$1" -o "$2" || fail "Could not fetch $1"
    elif command -v wget >/dev/null; then
        wget --https-only -q "$1" -O "$2" || fail "Could not fetch $1"
    else
        fail "Neither curl nor wget is installed."
    fi
}

verify_checksum() {
    wanted=$(awk -v name="$archive" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
    [ -n "$wanted" ] || fail "SHA256SUMS has no checksum of $archive: nothing was installed."
    if command -v sha256sum >/dev/null; then
        found=$(sha256sum "$work/$archive" | cut -d ' ' -f 1)
    else
        found=$(shasum -a 256 "$work/$archive" | cut -d ' ' -f 1)
    fi
    [ "$found" = "$wanted" ] || fail "The checksum of $archive is $found and should be $wanted: nothing was installed."
}

verify_attestation() {
    if [ "${VOICEMESH_ATTESTATION:-}" != 1 ]; then
        case "$FROM" in https://github.com/*) ;; *) return 0 ;; esac
        command -v gh >/dev/null && gh auth status >/dev/null 2>&1 || return 0
    fi
    command -v gh >/dev/null || fail "gh is not installed, which verifies the attestation: nothing was installed."
    gh attestation verify "$work/$archive" --repo "${REPOSITORY#https://github.com/}" >/dev/null ||
        fail "The attestation of $archive could not be verified: nothing was installed."
}

fail() {
    echo "$*" >&2
    exit 1
}

main "$@"
