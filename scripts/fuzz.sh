#!/usr/bin/env bash
# Fuzzes every target in turn, and ends with the number of executions of each.
#
#   TIME=600     seconds for each target
#   TARGET=name  only that one
#
# It starts from the committed corpus and keeps what it finds under out/fuzz; an input that fails is left in
# tests/fuzz/artifacts, and belongs into the corpus once it is mended.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TIME=${TIME:-600}
FUZZ=tests/fuzz
# The fuzzed crates forbid unsafe code: an address sanitizer would find nothing there and take half the speed.
SANITIZER=${SANITIZER:-none}

main() {
    [ -f "$FUZZ/Cargo.toml" ] || die "There are no fuzz targets in $FUZZ."
    scripts/setup.sh fuzz
    local target summary="" failed=no
    for target in ${TARGET:-$(cargo +nightly fuzz list --fuzz-dir "$FUZZ")}; do
        fuzz_one "$target" || failed=yes
        summary="$summary$(printf '%-28s %s executions in %s s' "$target" "$EXECUTIONS" "$TIME")"$'\n'
    done
    printf '\n%s' "$summary"
    [ "$failed" = no ] || die "A target failed: see $FUZZ/artifacts"
}

# fuzz_one TARGET, leaving the number of EXECUTIONS
fuzz_one() {
    local found=$REPO/out/fuzz/$1 log=$REPO/out/fuzz/$1.log status=0
    local corpora=("$found")
    mkdir -p "$found"
    [ ! -d "$FUZZ/corpus/$1" ] || corpora+=("$FUZZ/corpus/$1")
    say "== $1, $TIME s"
    cargo +nightly fuzz run --fuzz-dir "$FUZZ" --sanitizer "$SANITIZER" "$1" "${corpora[@]}" -- \
        -max_total_time="$TIME" -print_final_stats=1 2>&1 | tee "$log" || status=1
    EXECUTIONS=$(awk '/stat::number_of_executed_units/ { n = $2 } END { print n + 0 }' "$log")
    return "$status"
}

main
