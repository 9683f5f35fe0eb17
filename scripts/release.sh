#!/usr/bin/env bash
# Makes the files of a release from programs that are built already. docs/release.md says which command comes when.
#
#   scripts/release.sh ready TAG          whether this commit can be released as TAG: address, version, changelog
#   scripts/release.sh archive TARGET FOLDER     packs what FOLDER has of the command, the server and the C library, for TARGET
#   scripts/release.sh glibc PROGRAM VERSION     whether PROGRAM runs with this glibc (2.31) and all newer ones
#   scripts/release.sh sbom               lists what each program is built from (CycloneDX; cargo install --locked cargo-cyclonedx)
#   scripts/release.sh finish             installers, Homebrew formula and SHA256SUMS, when all archives are there
#   scripts/release.sh notes              the changelog's part on this version
#   scripts/release.sh check              makes a release of stand-ins and installs from it; what was tampered with is refused
#
# All files lie in target/dist (DIST=…).

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DIST=${DIST:-$(target_dir)/dist}
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
REPOSITORY=${REPOSITORY:-$(sed -n 's/^repository = "\(..*\)"/\1/p' release.toml)}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

main() {
    local step=${1:-}
    shift || true
    case "$step" in
        ready) ready "${1:?which tag?}" ;;
        archive) archive "${1:?which target?}" "${2:?which folder?}" ;;
        glibc) glibc "${1:?which program?}" "${2:?which version?}" ;;
        sbom) sbom ;;
        finish) finish ;;
        notes) notes ;;
        check) check ;;
        *) die "usage: scripts/release.sh ready|archive|glibc|sbom|finish|notes|check" ;;
    esac
}

ready() {
    [ -n "$REPOSITORY" ] || die "release.toml names no repository: nothing can be published. See docs/release.md."
    case "$REPOSITORY" in
        https://github.com/*/*) ;;
        *) die "release.toml names $REPOSITORY; the workflows publish at https://github.com/OWNER/NAME only." ;;
    esac
    [ -z "${GITHUB_REPOSITORY:-}" ] || [ "$REPOSITORY" = "https://github.com/$GITHUB_REPOSITORY" ] ||
        die "release.toml names $REPOSITORY, and this is https://github.com/$GITHUB_REPOSITORY: a fork publishes nothing."
    [ "$1" = "v$VERSION" ] || die "The tag is $1, and Cargo.toml has version $VERSION: the tag has to be v$VERSION."
    [ -n "$(notes)" ] || die "CHANGELOG.md has no part \"## $VERSION\"."
    scripts/address.py check
    say "$1 of $REPOSITORY can be released."
}

# --- archives --------------------------------------------------------------------------------------------------------

archive() {
    local target=$1 folder=$2 suffix=""
    case "$target" in *-windows-*) suffix=.exe ;; esac
    [ -d "$folder" ] || die "There is no folder $folder."
    mkdir -p "$DIST"
    if [ -e "$folder/voicemesh$suffix" ]; then
        pack voicemesh "$target" "$folder/voicemesh$suffix" README.md CHANGELOG.md docs/cli.md docs/troubleshooting.md
    fi
    if [ -e "$folder/voicemesh-signaling$suffix" ]; then
        pack voicemesh-signaling "$target" "$folder/voicemesh-signaling$suffix" README.md CHANGELOG.md docs/hosting.md docs/operate.md docs/reverse-proxy.md
    fi
    if ls "$folder"/*voicemesh_capi* >/dev/null 2>&1; then library "$target" "$folder"; fi
    ls "$DIST"/*"-$VERSION-$target".* >/dev/null 2>&1 || die "$folder has nothing to pack."
}

# pack NAME TARGET FILE…: an archive with one folder of the same name.
pack() {
    local name=$1-$VERSION-$2 file
    shift 2
    mkdir -p "$WORK/$name"
    for file in "$@" LICENSE-MIT LICENSE-APACHE; do cp "$file" "$WORK/$name/"; done
    compress "$name"
}

library() {
    local target=$1 folder=$2 name=libvoicemesh-$VERSION-$1
    if [[ $target == *-windows-* ]]; then
        mkdir -p "$WORK/$name/include" "$WORK/$name/bin" "$WORK/$name/lib"
        cp crates/capi/include/voicemesh.h "$WORK/$name/include/"
        cp "$folder/voicemesh_capi.dll" "$WORK/$name/bin/"
        cp "$folder/libvoicemesh_capi.dll.a" "$folder/libvoicemesh_capi.a" "$WORK/$name/lib/"
    else
        # Where it will lie is not known; pkg-config takes the folder that voicemesh.pc is in.
        BUILT=$folder DESTDIR=$WORK/$name scripts/install-capi.sh /prefix >/dev/null
        mv "$WORK/$name/prefix"/* "$WORK/$name/"
        rmdir "$WORK/$name/prefix"
        # shellcheck disable=SC2016 # pkg-config's variable
        sed 's|^prefix=.*|prefix=${pcfiledir}/../..|' "$WORK/$name/lib/pkgconfig/voicemesh.pc" >"$WORK/voicemesh.pc"
        mv "$WORK/voicemesh.pc" "$WORK/$name/lib/pkgconfig/voicemesh.pc"
    fi
    cp LICENSE-MIT LICENSE-APACHE docs/c-and-unity.md "$WORK/$name/"
    compress "$name"
}

# compress NAME: with the commit's time and no names of users, so that the same files give the same archive.
compress() {
    case "$1" in
        *-windows-*)
            rm -f "$DIST/$1.zip"
            python3 - "$WORK" "$1" "$DIST/$1.zip" "$(git log -1 --format=%ct)" <<'EOS'
import os, sys, time, zipfile
work, name, to, seconds = sys.argv[1:]
with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
    for folder, _, files in sorted(os.walk(os.path.join(work, name))):
        for file in sorted(files):
            path = os.path.join(folder, file)
            entry = zipfile.ZipInfo(os.path.relpath(path, work), time.gmtime(int(seconds))[:6])
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o755 << 16 if file.endswith(".exe") else 0o644 << 16
            archive.writestr(entry, open(path, "rb").read())
EOS
            say "$DIST/$1.zip"
            ;;
        *)
            python3 - "$WORK" "$1" "$DIST/$1.tar.gz" "$(git log -1 --format=%ct)" <<'EOS'
import gzip, os, sys, tarfile
work, name, to, seconds = sys.argv[1:]
def plain(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = int(seconds)
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
with gzip.GzipFile(to, "wb", mtime=int(seconds)) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
    archive.add(os.path.join(work, name), name, filter=plain)
EOS
            say "$DIST/$1.tar.gz"
            ;;
    esac
    rm -r "${WORK:?}/$1"
}

# The highest version of glibc whose symbols a program asks for.
glibc() {
    local highest
    highest=$(objdump -T "$1" | grep -o 'GLIBC_2\.[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
    [ -n "$highest" ] || die "$1 asks for no glibc at all: is it static?"
    [ "$(printf '%s\n%s\n' "$highest" "$2" | sort -V | tail -n 1)" = "$2" ] || die "$1 needs glibc $highest, newer than $2."
    say "$1 needs glibc $highest."
}

# --- what it is made of ----------------------------------------------------------------------------------------------

# One list for each program, for all systems.
sbom() {
    local package
    mkdir -p "$DIST"
    cargo cyclonedx --version >/dev/null 2>&1 || die "cargo-cyclonedx is not installed: cargo install --locked cargo-cyclonedx"
    cargo cyclonedx --format json --spec-version 1.5 --all --target all --override-filename voicemesh-sbom --quiet
    for package in crates/cli signaling crates/capi; do
        case "$package" in
            crates/cli) mv "$package/voicemesh-sbom.json" "$DIST/voicemesh-$VERSION.cdx.json" ;;
            signaling) mv "$package/voicemesh-sbom.json" "$DIST/voicemesh-signaling-$VERSION.cdx.json" ;;
            crates/capi) mv "$package/voicemesh-sbom.json" "$DIST/libvoicemesh-$VERSION.cdx.json" ;;
        esac
    done
    find . -name voicemesh-sbom.json -not -path './target/*' -delete
}

# --- the end ---------------------------------------------------------------------------------------------------------

finish() {
    [ -n "$REPOSITORY" ] || die "release.toml names no repository: the installers would not know where to fetch from. See docs/release.md."
    rm -f "$DIST/SHA256SUMS"
    fill deploy/install/install.sh >"$DIST/install.sh"
    fill deploy/install/install.ps1 >"$DIST/install.ps1"
    formula >"$DIST/voicemesh.rb"
    # `sha256sum` lists the files in the order of their names, so that two runs can be compared.
    (cd "$DIST" && sums ./* | sed 's|  \./|  |' >"$WORK/SHA256SUMS" && mv "$WORK/SHA256SUMS" .)
    say "$DIST: $(wc -l <"$DIST/SHA256SUMS") files"
}

fill() { sed -e "s|@VERSION@|$VERSION|g" -e "s|@REPOSITORY@|$REPOSITORY|g" "$1"; }

# The formula names the archives' checksums.
formula() {
    local target sum text
    text=$(fill deploy/install/voicemesh.rb)
    for target in aarch64-apple-darwin x86_64-apple-darwin aarch64-unknown-linux-gnu x86_64-unknown-linux-gnu; do
        [ -e "$DIST/voicemesh-$VERSION-$target.tar.gz" ] || die "The formula needs the archive for $target."
        sum=$(sums "$DIST/voicemesh-$VERSION-$target.tar.gz" | cut -d ' ' -f 1)
        text=${text//@SHA256:$target@/$sum}
    done
    say "$text"
}

# macOS has no sha256sum.
sums() { if have sha256sum; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

notes() { awk -v version="$VERSION" '/^## / { wanted = $2 == version || $2 == "[" version "]"; next } wanted' CHANGELOG.md; }

# --- without a release -----------------------------------------------------------------------------------------------

# Archives of scripts that say their version stand in for those of programs, and a folder for the host.
check() {
    local target
    DIST=$WORK/releases/download/v$VERSION
    REPOSITORY=https://github.com/example/voicemesh
    mkdir -p "$DIST" "$WORK/built"
    for program in voicemesh voicemesh-signaling; do
        printf '#!/bin/sh\necho "%s %s"\n' "$program" "$VERSION" >"$WORK/built/$program"
        cp "$WORK/built/$program" "$WORK/built/$program.exe"
        chmod +x "$WORK/built/$program" "$WORK/built/$program.exe"
    done
    for target in aarch64-apple-darwin x86_64-apple-darwin aarch64-unknown-linux-gnu x86_64-unknown-linux-gnu \
        aarch64-unknown-linux-musl x86_64-unknown-linux-musl x86_64-pc-windows-gnu; do
        archive "$target" "$WORK/built" >/dev/null
    done
    finish >/dev/null
    archives_are_the_same_again
    formula_is_whole
    installs
    what_was_tampered_with_is_refused
    a_commit_without_address_is_not_ready
    say "A release of stand-ins: packed, summed, installed; tampered archives are refused."
}

archives_are_the_same_again() {
    local one=voicemesh-$VERSION-x86_64-unknown-linux-gnu.tar.gz zip=voicemesh-$VERSION-x86_64-pc-windows-gnu.zip before
    before=$(cd "$DIST" && sums "$one" "$zip")
    # A second of the clock has to make no difference.
    touch "$WORK"/built/*
    archive x86_64-unknown-linux-gnu "$WORK/built" >/dev/null
    archive x86_64-pc-windows-gnu "$WORK/built" >/dev/null
    [ "$before" = "$(cd "$DIST" && sums "$one" "$zip")" ] || die "Packed again, an archive differs."
}

formula_is_whole() {
    ! grep -n '@' "$DIST/voicemesh.rb" "$DIST/install.sh" | grep -E '@[A-Z]' || die "A template was not filled."
    ! have ruby || ruby -c "$DIST/voicemesh.rb" >/dev/null
    [ "$(grep -c 'sha256 "[0-9a-f]\{64\}"' "$DIST/voicemesh.rb")" = 4 ] || die "The formula does not name four checksums."
}

# install PROGRAM: with the installer of the release, from the folder.
install() {
    VOICEMESH_FROM=file://$DIST VOICEMESH_TO=$WORK/installed sh "$DIST/install.sh" "$@"
}

installs() {
    install >"$WORK/said" 2>&1 || die "The installer failed: $(cat "$WORK/said")"
    install voicemesh-signaling >"$WORK/said" 2>&1 || die "The installer failed: $(cat "$WORK/said")"
    for program in voicemesh voicemesh-signaling; do
        [ "$("$WORK/installed/$program")" = "$program $VERSION" ] || die "$program was not installed."
    done
    ! install nothing >"$WORK/said" 2>&1 || die "A program that does not exist was installed."
}

what_was_tampered_with_is_refused() {
    local archive
    rm -r "$WORK/installed"
    for archive in "$DIST"/voicemesh-"$VERSION"-*-linux-gnu.tar.gz "$DIST"/voicemesh-"$VERSION"-*-darwin.tar.gz; do printf x >>"$archive"; done
    ! install >"$WORK/said" 2>&1 || die "A tampered archive was installed."
    grep -q checksum "$WORK/said" || die "It was refused for another reason: $(cat "$WORK/said")"
    [ ! -e "$WORK/installed/voicemesh" ] || die "A tampered program was left behind."
    : >"$DIST/SHA256SUMS"
    ! install >"$WORK/said" 2>&1 || die "An archive without checksum was installed."
}

a_commit_without_address_is_not_ready() {
    (REPOSITORY="" is_refused "names no repository" "v$VERSION")
    (REPOSITORY=https://voicemesh.example/x is_refused "only" "v$VERSION")
    is_refused "the tag has to be" v9.9.9
    (GITHUB_REPOSITORY=someone/fork is_refused "a fork publishes nothing" "v$VERSION")
}

# is_refused WHY TAG
is_refused() {
    if (ready "$2") >"$WORK/said" 2>&1; then die "It counts as ready, although: $1"; fi
    grep -q "$1" "$WORK/said" || die "It was refused for another reason: $(cat "$WORK/said")"
}

main "$@"
