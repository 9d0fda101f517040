#!/usr/bin/env bash
# Runs tests of the library under a sanitizer. Needs a nightly toolchain.
#
#   scripts/sanitize.sh address            the library's tests under ASan and LSan
#   scripts/sanitize.sh thread             under TSan
#   scripts/sanitize.sh thread --test NAME one of them; other arguments are cargo test's as well
#   LOOKBEHIND_STRESS_OPS=4000000 scripts/sanitize.sh address --test stress
#
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sanitizer=${1:-}
case $sanitizer in
address)
    flags="-Zsanitizer=address --cfg asan"
    export ASAN_OPTIONS="detect_leaks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
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

unset CARGO_ENCODED_RUSTFLAGS # it would win over RUSTFLAGS
export RUSTFLAGS=$flags
# Each of its own target directory, for the flags change every crate. Frames for the reports, and
# no link-time optimisation, which would move code between them.
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

exec cargo +nightly test --locked --release -p lookbehind --target x86_64-unknown-linux-gnu \
    --target-dir "target/$sanitizer" "$@"
