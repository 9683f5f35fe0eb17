#!/usr/bin/env bash
# Takes the pictures of README.md anew (docs/pictures): a server, a page in Chromium and two commands in one room, with recorded
# voices. It needs what the page's tests need, and tmux. With BUILT=1 it takes the programs that were built before.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for program in node tmux; do have "$program" || die "This takes $program."; done
[ -d web/node_modules ] || die "This takes the packages of web/: (cd web && npm ci)"
[ "${BUILT:-}" = 1 ] || cargo build --workspace --bins --locked
node tests/browser/pictures.js

# badge NAME LABEL VALUE: a small picture with two words, without a service that draws it.
badge() {
    local left=$((${#2} * 7 + 12)) right=$((${#3} * 7 + 12))
    local all=$((left + right))
    cat >"docs/pictures/$1.svg" <<END
<svg xmlns="http://www.w3.org/2000/svg" width="$all" height="20" role="img" aria-label="$2: $3">
<rect width="$all" height="20" rx="3" fill="#555"/>
<path fill="#0d6e67" d="M${left} 0h$((right - 3))a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-$((right - 3))z"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="$((left / 2))" y="14" textLength="$((left - 12))">$2</text>
<text x="$((left + right / 2))" y="14" textLength="$((right - 12))">$3</text>
</g></svg>
END
}
badge licence licence "$(sed -n 's/^license = "\(.*\)"/\1/p' Cargo.toml)"
badge rust rust "$(sed -n 's/^rust-version = "\(.*\)"/\1+/p' Cargo.toml)"
