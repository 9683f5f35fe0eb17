#!/usr/bin/env bash
# Whether each package builds and passes its tests outside the workspace, as someone gets it from a registry.
#
#   scripts/packages.sh        all packages: their unit tests, and the two programs installed and started
#   scripts/packages.sh quick  all are packaged; the first of them are built and tested
#
# The packages are unpacked side by side in a folder of their own, and stand in for those of the registry there. Nothing is
# published.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Of no use outside the repository.
NOT_PUBLISHED="voicemesh-tests voicemesh-quality voicemesh-page"
QUICK="voicemesh-wire voicemesh-vectors"
OUTSIDE=""

main() {
    local name packages=()
    OUTSIDE=$(mktemp -d)
    trap 'rm -rf "$OUTSIDE"' EXIT
    package
    unpack
    export CARGO_TARGET_DIR
    CARGO_TARGET_DIR=$(target_dir)
    if [ "${1:-}" = quick ]; then
        for name in $QUICK; do packages+=(--package "$name"); done
    else
        packages=(--workspace)
    fi
    (cd "$OUTSIDE" && cargo test --offline --lib --tests "${packages[@]}")
    [ "${1:-}" = quick ] || install_programs
}

# Without verification: what that would build is built here.
package() {
    local name excluded=()
    for name in $NOT_PUBLISHED; do excluded+=(--exclude "$name"); done
    rm -f "$(target_dir)"/package/*.crate
    cargo package --workspace "${excluded[@]}" --locked --allow-dirty --no-verify --quiet
}

unpack() {
    local crate folder
    {
        printf '[workspace]\nresolver = "3"\nmembers = ["*-[0-9]*"]\n\n[patch.crates-io]\n'
        for crate in "$(target_dir)"/package/*.crate; do
            folder=$(basename "$crate" .crate)
            tar -xzf "$crate" -C "$OUTSIDE"
            printf '%s = { path = "%s" }\n' "${folder%-[0-9]*}" "$folder"
        done
        # The same profiles, so that what is built of the libraries serves here as well.
        sed -n '/^\[profile/,$p' Cargo.toml
    } >"$OUTSIDE/Cargo.toml"
    cp Cargo.lock "$OUTSIDE/"
}

install_programs() {
    local folder program
    for program in voicemesh voicemesh-signaling; do
        case "$program" in voicemesh) folder=voicemesh-cli ;; *) folder=$program ;; esac
        (cd "$OUTSIDE" && cargo install --offline --debug --root "$OUTSIDE/installed" --path "$folder"-[0-9]*)
        "$OUTSIDE/installed/bin/$program" --version
    done
}

main "$@"
