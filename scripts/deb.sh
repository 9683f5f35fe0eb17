#!/usr/bin/env bash
# Makes Debian packages of the server and of the command, from programs that are built already.
#
#   scripts/deb.sh          packs target/static/voicemesh-signaling (scripts/static-server.sh) and target/release/voicemesh into
#                           target/debian
#   scripts/deb.sh check    installs both of them in a fresh Debian root, uses and purges them there (root, debootstrap)
#   scripts/deb.sh quick    packs the programs of target/debug and looks at what is in the packages
#
# The server's package is for systemd: a unit whose user exists only while it runs, with as few rights as it needs, /etc/default/voicemesh
# for settings, and a secret that is drawn at the first installation.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

OUT=$(target_dir)/debian
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAINTAINER=$(sed -n 's/^maintainer = "\(..*\)"/\1/p' release.toml)
SUITE=${SUITE:-bookworm}
COMPRESSION=(-Zxz)

main() {
    case "${1:-}" in
        check) check ;;
        quick) quick ;;
        '') pack "$(target_dir)/static" "$(target_dir)/release" ;;
        *) die "usage: scripts/deb.sh [check|quick]" ;;
    esac
}

pack() {
    local server=$1 command=$2
    { have dpkg-deb && have dpkg-shlibdeps; } || die "dpkg-dev is not installed: packages for Debian are made on Debian or Ubuntu."
    rm -rf "$OUT"
    mkdir -p "$OUT"
    pack_server "$server/voicemesh-signaling"
    pack_command "$command/voicemesh"
}

pack_server() {
    local root=$OUT/voicemesh-signaling
    begin "$root" "$1" README.md docs/hosting.md docs/operate.md docs/reverse-proxy.md
    install -D -m 644 deploy/debian/voicemesh-signaling.service "$root/lib/systemd/system/voicemesh-signaling.service"
    install -D -m 644 deploy/debian/default "$root/etc/default/voicemesh"
    say /etc/default/voicemesh >"$root/DEBIAN/conffiles"
    for script in postinst prerm postrm; do
        install -m 755 "deploy/debian/voicemesh-signaling.$script" "$root/DEBIAN/$script"
    done
    end "$root" net "init-system-helpers (>= 1.54)" "Signaling server of voicemesh, peer-to-peer voice" \
        "Introduces the people in a room to each other, relays their voices where their
networks allow no direct link, and serves the web page."
}

pack_command() {
    local root=$OUT/voicemesh
    begin "$root" "$1" README.md docs/cli.md docs/troubleshooting.md
    end "$root" sound "" "Peer-to-peer voice in a terminal" \
        "voicemesh join ROOM talks with the people in a room, directly from peer to peer
where their networks allow it and through the server where they do not."
    dpkg-deb --field "$OUT"/voicemesh_*.deb Depends | grep -q libopus0 || die "The command's package does not depend on libopus0."
}

# begin ROOT PROGRAM DOCUMENT…
begin() {
    local root=$1 program=$2 name
    shift 2
    name=$(basename "$root")
    [ -x "$program" ] || die "$program is missing: cargo build --release --locked"
    mkdir -p "$root/DEBIAN"
    install -D "$program" "$root/usr/bin/$(basename "$program")"
    for document in "$@"; do install -D -m 644 "$document" "$root/usr/share/doc/$name/$(basename "$document")"; done
    { say "Copyright: the authors of voicemesh"; say "License: MIT OR Apache-2.0"; say; cat LICENSE-MIT; say
        say "The Apache License, Version 2.0, is in /usr/share/common-licenses/Apache-2.0."; } >"$root/usr/share/doc/$name/copyright"
}

# end ROOT SECTION DEPENDS SUMMARY DESCRIPTION
end() {
    local root=$1 section=$2 depends=$3 name libraries
    name=$(basename "$root")
    libraries=$(libraries_of "$root") || die "It cannot be said which packages $name needs."
    depends=$(say "$depends${depends:+${libraries:+, }}$libraries")
    {
        say "Package: $name"
        say "Version: $VERSION"
        say "Architecture: $(dpkg --print-architecture)"
        say "Maintainer: ${MAINTAINER:-voicemesh (unpublished)}"
        say "Installed-Size: $(du -k -s "$root/usr" | cut -f 1)"
        [ -z "$depends" ] || say "Depends: $depends"
        say "Section: $section"
        say "Priority: optional"
        say "Description: $4"
        printf '%s\n' "$5" | sed 's/^/ /'
    } >"$root/DEBIAN/control"
    dpkg-deb "${COMPRESSION[@]}" --build --root-owner-group "$root" "$OUT/${name}_${VERSION}_$(dpkg --print-architecture).deb" >/dev/null
    rm -r "$root"
    say "$OUT/${name}_${VERSION}_$(dpkg --print-architecture).deb"
}

# The packages that its program's libraries come from; a static program has none.
libraries_of() {
    local work
    work=$(mktemp -d)
    mkdir "$work/debian"
    printf 'Source: voicemesh\n\nPackage: voicemesh\nArchitecture: any\n' >"$work/debian/control"
    # A static program is no fault to dpkg-shlibdeps; anything else that keeps it from an answer is one here.
    (cd "$work" && dpkg-shlibdeps -O --warnings=0 "$1"/usr/bin/* >found 2>errors) || { warn "$(cat "$work/errors")"; return 1; }
    sed -n 's/^shlibs:Depends=//p' "$work/found"
    rm -r "$work"
}

quick() {
    local name script
    OUT=$(mktemp -d)
    COMPRESSION=(-Zgzip -z1)
    trap 'rm -rf "$OUT"' EXIT
    pack "$(target_dir)/debug" "$(target_dir)/debug"
    for name in voicemesh-signaling voicemesh; do
        dpkg-deb --extract "$OUT/${name}"_*.deb "$OUT/$name"
        dpkg-deb --control "$OUT/${name}"_*.deb "$OUT/$name/DEBIAN"
        "$OUT/$name/usr/bin/$name" --version
    done
    for script in postinst prerm postrm; do sh -n "$OUT/voicemesh-signaling/DEBIAN/$script"; done
    grep -qx /etc/default/voicemesh "$OUT/voicemesh-signaling/DEBIAN/conffiles" || die "The settings are no conffile."
    # What the unit names is in the package.
    sed -n 's/^ExecStart=\([^ ]*\).*/\1/p; s/^EnvironmentFile=-\(.etc.default.*\)/\1/p' "$OUT/voicemesh-signaling/lib/systemd/system/voicemesh-signaling.service" |
        while read -r file; do [ -e "$OUT/voicemesh-signaling$file" ] || die "The unit names $file, which is not in the package."; done
}

# --- in a fresh Debian root -------------------------------------------------------------------------------------------

ROOT=""

check() {
    [ "$(id -u)" = 0 ] || die "A Debian root can be made by root only."
    have debootstrap || die "debootstrap is not installed."
    ls "$OUT"/voicemesh-signaling_*.deb "$OUT"/voicemesh_*.deb >/dev/null || die "scripts/deb.sh has to pack them first."
    ROOT=$(mktemp -d)
    trap 'umount "$ROOT/proc" 2>/dev/null || true; rm -rf "$ROOT"' EXIT
    debootstrap --variant=minbase --include=ca-certificates,init-system-helpers "$SUITE" "$ROOT" >/dev/null
    mount -t proc proc "$ROOT/proc"
    cp "$OUT"/*.deb "$ROOT/tmp/"

    in_root sh -c 'apt-get install -y --no-install-recommends /tmp/*.deb'
    in_root voicemesh --version
    in_root voicemesh-signaling --version
    [ "$(in_root stat -c '%a %U' /etc/voicemesh/secret)" = "600 root" ] || die "The secret can be read by others."
    in_root sh -c 'grep -qx "VOICEMESH_SECRET=[0-9a-f]\{64\}" /etc/voicemesh/secret' || die "There is no secret."
    secret_is_kept
    a_call_through_it

    in_root apt-get purge -y voicemesh-signaling voicemesh
    if in_root find /etc /usr /lib /var -xdev -name '*voicemesh*' | grep .; then die "That is left after the purge."; fi
    say "Installed, used and purged in Debian $SUITE."
}

in_root() { chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }

# The same in the background: the process that is started is the program itself, so that it can be ended.
become_in_root() {
    exec chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"
}

secret_is_kept() {
    local before
    before=$(cat "$ROOT/etc/voicemesh/secret")
    in_root sh -c 'apt-get install -y --reinstall /tmp/voicemesh-signaling_*.deb'
    [ "$before" = "$(cat "$ROOT/etc/voicemesh/secret")" ] || die "The secret changed with a new installation."
}

# The installed server, as the unit starts it, and two of the installed commands that talk through it.
a_call_through_it() {
    local server echo_peer log=$ROOT/tmp/server.log
    become_in_root sh -c '. /etc/voicemesh/secret; export VOICEMESH_SECRET; exec voicemesh-signaling --listen 127.0.0.1:18080 --stun none' >"$log" 2>&1 &
    server=$!
    wait_for "$log" "127.0.0.1:18080"
    become_in_root voicemesh echo lobby --server ws://127.0.0.1:18080 --state-dir /tmp/a --duration 30 >"$ROOT/tmp/echo.log" 2>&1 &
    echo_peer=$!
    if in_root voicemesh join lobby --server ws://127.0.0.1:18080 --state-dir /tmp/b --input tone --output /tmp/heard.wav --duration 8 --plain \
        >"$ROOT/tmp/join.log" 2>&1 && is_heard "$ROOT/tmp/heard.wav"; then
        say "A call through the installed server: heard."
    else
        cat "$log" "$ROOT/tmp/join.log"
        kill "$server" "$echo_peer" || true
        die "No call through the installed server."
    fi
    kill "$server" "$echo_peer" || true
    wait "$server" "$echo_peer" 2>/dev/null || true
}

wait_for() {
    local tries
    for tries in $(seq 100); do
        grep -q "$2" "$1" && return
        # Until the server has said its address.
        sleep 0.1
    done
    cat "$1"
    die "The server did not start after $tries looks at its log."
}

main "$@"
