#!/usr/bin/env bash
# Runs the fuzz targets with AddressSanitizer, from the committed corpus on.
#
#   scripts/fuzz.sh build               builds all targets
#   scripts/fuzz.sh TARGET [SECONDS]    runs one target, 60 s by default
#   scripts/fuzz.sh all [SECONDS]       runs each of them, one on each processor
#   scripts/fuzz.sh minimise [TARGET]   shrinks the corpus to what covers as much
#
# Needs a nightly toolchain, cargo-fuzz and a C++ compiler. What a run finds is kept in
# target/fuzz-corpus/TARGET, from where the next run goes on, and comes into the committed corpus by
# `minimise`. With LOOKBEHIND_TALLY=1 a run appends a line to fuzz/TALLY.md. Several targets may run at once in
# different shells: build first. A failing input is left in fuzz/artifacts/TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets="layout_range assemble evict_model player_script trace_lines"
triple=$(rustc -vV | sed -n 's/^host: //p')
binaries=${CARGO_TARGET_DIR:-$PWD/target}/$triple/release
# The release profile of the workspace is made for speed and not for builds.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

# Steps that fit in so many bytes are worth more of each target's time than longer ones.
longest() {
    case $1 in
        layout_range) echo 512 ;;
        *) echo 1024 ;;
    esac
}

build() {
    # One build at a time: the others find it done.
    mkdir -p target
    (
        flock 9
        cargo +nightly fuzz build
    ) 9>target/.fuzz-build-lock
}

known() {
    [[ " $targets " == *" $1 "* ]] || { echo "no such target: $1" >&2; exit 2; }
}

run() { # target, seconds
    local target=$1 seconds=$2 found=target/fuzz-corpus/$1 log=target/fuzz-$1.log status=0
    local since=$SECONDS
    mkdir -p "$found" "fuzz/artifacts/$target"
    ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} "$binaries/$target" \
        "$found" "fuzz/corpus/$target" -max_len="$(longest "$target")" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1 || status=$?
    # What it took: a run that finds something ends early.
    tally "$target" $((SECONDS - since)) "$log"
    if ((status != 0)); then
        grep -a -m1 -A3 "panicked at\|ERROR: AddressSanitizer\|ERROR: libFuzzer" "$log" >&2 ||
            tail -n 20 "$log" >&2
        grep -a "Test unit written" "$log" >&2 || true
        return "$status"
    fi
}

tally() { # target, seconds, log
    local line executions edges features corpus
    # There is none if a committed input fails at once.
    line=$(grep -a "cov: " "$3" | tail -n 1 || true)
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$3")
    edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' <<<"$line")
    features=$(sed -n 's/.* ft: \([0-9]*\).*/\1/p' <<<"$line")
    corpus=$(sed -n 's/.* corp: \([0-9]*\).*/\1/p' <<<"$line")
    echo "$1: ${executions:-?} executions in $2 s, ${edges:-?} edges, ${features:-?} features"
    [[ -n ${LOOKBEHIND_TALLY:-} ]] || return 0
    if [[ ! -e fuzz/TALLY.md ]]; then
        cat >fuzz/TALLY.md <<'HEAD'
# What the fuzz targets have run

Written by `scripts/fuzz.sh`, one line a run, with AddressSanitizer. Edges and features are
those of the whole corpus at the end of the run.

| date | target | s | executions | edges | features | inputs |
|---|---|---|---|---|---|---|
HEAD
    fi
    # One write, so that runs side by side do not mix their lines.
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$(date -u +%F)" "$1" "$2" \
        "${executions:-?}" "${edges:-?}" "${features:-?}" "${corpus:-?}" >>fuzz/TALLY.md
}

# Keeps of all that is known the inputs that cover the same edges, the smallest ones.
minimise() { # target
    local target=$1 found=target/fuzz-corpus/$1 fresh=target/fuzz-minimised/$1
    rm -rf "$fresh"
    mkdir -p "$fresh" "$found"
    "$binaries/$target" -merge=1 -use_counters=0 -max_len="$(longest "$target")" -timeout=20 \
        "$fresh" "fuzz/corpus/$target" "$found" >"target/fuzz-$target-merge.log" 2>&1
    thin "$fresh"
    # What was written by hand has a name and stays.
    find "fuzz/corpus/$target" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
    cp "$fresh"/* "fuzz/corpus/$target/"
    echo "$target: $(find "fuzz/corpus/$target" -type f | wc -l) inputs," \
        "$(du -sb "fuzz/corpus/$target" | cut -f1) bytes"
}

# At most 500 inputs are committed, the larger half of what is too much goes at each pass.
thin() { # folder
    local count
    count=$(find "$1" -type f | wc -l)
    if ((count > 500)); then
        find "$1" -type f -printf '%s %p\n' | sort -n | tail -n +501 | cut -d' ' -f2- | xargs rm --
    fi
}

case ${1:-} in
    build) build ;;
    minimise)
        build
        for target in ${2:-$targets}; do
            known "$target"
            minimise "$target"
        done
        ;;
    all)
        build
        # As many at once as there are processors.
        printf '%s\n' $targets | xargs -P "$(nproc)" -I{} bash scripts/fuzz.sh {} "${2:-60}"
        ;;
    "") sed -n '2,14s/^# \{0,1\}//p' "$0" && exit 2 ;;
    *)
        known "$1"
        build
        run "$1" "${2:-60}"
        ;;
esac
