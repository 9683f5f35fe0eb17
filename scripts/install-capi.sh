#!/usr/bin/env bash
# Installs the C library under a prefix: include/voicemesh.h, the shared and the static library, and what pkg-config reads.
#
#   scripts/install-capi.sh PREFIX      /usr/local, for example; DESTDIR=… puts it below another root
#   BUILT=target/debug                  takes what lies there instead of building a release
#
# A program finds it by `pkg-config --cflags --libs voicemesh` (with --static for the static library), with
# PKG_CONFIG_PATH=PREFIX/lib/pkgconfig where the prefix is none that the system looks into.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
    [ $# = 1 ] || die "usage: scripts/install-capi.sh PREFIX"
    case "$1" in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
    VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    ABI=$(sed -n 's/^#define VMESH_ABI_VERSION //p' crates/capi/include/voicemesh.h)
    if [ -z "${BUILT:-}" ]; then
        cargo build --release --locked -p voicemesh-capi
        BUILT=$(target_dir)/release
    fi
    local to=${DESTDIR:-}$PREFIX
    mkdir -p "$to/include" "$to/lib/pkgconfig"
    cp crates/capi/include/voicemesh.h "$to/include/"
    cp "$BUILT/libvoicemesh_capi.a" "$to/lib/libvoicemesh.a"
    install_shared "$to/lib"
    describe >"$to/lib/pkgconfig/voicemesh.pc"
    say "voicemesh $VERSION for C is in $to"
}

# The file has the whole version in its name; programs look for the one of the ABI, the linker for the one without.
install_shared() {
    local plain=libvoicemesh.so abi=libvoicemesh.so.$ABI whole=libvoicemesh.so.$ABI.$VERSION built=libvoicemesh_capi.so
    if [ "$(uname -s)" = Darwin ]; then
        plain=libvoicemesh.dylib abi=libvoicemesh.$ABI.dylib whole=libvoicemesh.$ABI.$VERSION.dylib
        built=libvoicemesh_capi.dylib
    fi
    # Replaced, not written into: a program may be running with the old one.
    cp "$BUILT/$built" "$1/$whole.new"
    mv "$1/$whole.new" "$1/$whole"
    ln -sf "$whole" "$1/$abi"
    ln -sf "$abi" "$1/$plain"
}

describe() {
    local requires="" system="-lm"
    if [ "$(uname -s)" = Darwin ]; then
        system="-framework CoreAudio -framework AudioToolbox -framework AudioUnit -framework CoreFoundation -framework Security -liconv"
    else
        system="-lpthread -ldl -lm -lgcc_s -lutil -lrt"
        requires=alsa
    fi
    # Where there was no libopus, the codec was built into the library.
    ! pkg-config --exists opus || requires="$requires opus"
    cat <<END
prefix=$PREFIX
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: voicemesh
Description: Voice between the people in a room
Version: $VERSION
Requires.private: $requires
Cflags: -I\${includedir}
Libs: -L\${libdir} -lvoicemesh
Libs.private: $system
END
}

main "$@"
