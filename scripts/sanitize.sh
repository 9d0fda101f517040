#!/usr/bin/env bash
# Runs tests of the library under a sanitizer. Needs a nightly toolchain.
#
#   scripts/sanitize.sh address            the library's tests under ASan and LSan
#   scripts/sanitize.sh thread             those that share much between threads under TSan
#   scripts/sanitize.sh thread --test NAME one of them; other arguments are cargo test's as well
#   scripts/sanitize.sh thread libtorrent  the libtorrent adapter's, in C++ (or address); names of tests
#                                          and planted faults may follow
#   LOOKBEHIND_STRESS_OPS=100000 scripts/sanitize.sh thread --test stress -- interval
#
# ASan sees a use after free only when the memory was given back, and buffers, roots and lines are
# put aside for reuse instead: under `cfg asan` the canary of a node that is put aside is poisoned.
#
# TSan takes no notice of SeqCst fences, and so orders nothing by them: a pass and a reader are told
# apart by their Release and Acquire operations alone. It therefore also sees the loss of an ordering
# that a fence nearby hides from loom; and that a fence is missing it does not see, loom does.
# Acquire fences it learns of by tsan-fences.c. std is not instrumented: under `cfg tsan` the
# library's mutex and condition variable are its own, and the tests use atomics of arc-swap and join
# their threads. Hyaline is left out: seize locks a mutex of std and leans on acquire fences after
# loads. What is left is in tsan-suppressions.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sanitizer=${1:-}
case $sanitizer in
address)
    flags="-Zsanitizer=address --cfg asan"
    export ASAN_OPTIONS="detect_leaks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
    export LSAN_OPTIONS="suppressions=$PWD/scripts/lsan-suppressions.txt${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
    ;;
thread)
    flags="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg tsan"
    mkdir -p target/thread
    fences=$PWD/target/thread/tsan-fences.o
    cc -O2 -c -o "$fences" scripts/tsan-fences.c
    flags+=" -Clink-arg=$fences"
    for name in atomic_thread_fence atomic64_fetch_sub atomic32_fetch_sub; do
        flags+=" -Clink-arg=-Wl,--wrap=__tsan_$name"
    done
    export TSAN_OPTIONS="suppressions=$PWD/scripts/tsan-suppressions.txt${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
    ;;
*)
    echo "usage: scripts/sanitize.sh address|thread [arguments for cargo test]" >&2
    exit 2
    ;;
esac
shift

# What to run, if nothing is said.
if (($# == 0)); then
    set -- --lib --tests
    if [[ $sanitizer == thread ]]; then
        set -- --test stress --test history --test lifecycle
    fi
fi
# After the arguments of cargo, those of the tests. What a test prints is captured behind a mutex of
# std, and so is what they print at once: neither is done.
if [[ $sanitizer == thread && $1 != libtorrent ]]; then
    [[ " $* " == *" -- "* ]] || set -- "$@" --
    set -- "$@" --nocapture --test-threads 1 --skip hyaline
fi

unset CARGO_ENCODED_RUSTFLAGS # it would win over RUSTFLAGS
export RUSTFLAGS=$flags
# Each of its own target directory, for the flags change every crate. Frames for the reports, and
# no link-time optimisation, which would move code between them.
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

if [[ $1 == libtorrent ]]; then
    exec crates/libtorrent/sanitize.sh "$sanitizer" "${@:2}"
fi
exec cargo +nightly test --no-fail-fast --locked --release -p lookbehind --target x86_64-unknown-linux-gnu \
    --target-dir "target/$sanitizer" "$@"
