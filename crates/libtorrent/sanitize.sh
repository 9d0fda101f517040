#!/usr/bin/env bash
# The adapter's tests under a sanitizer, on both sides of the C interface: the library by a nightly
# compiler, the adapter and its tests by the C++ compiler. Called by scripts/sanitize.sh, which sets
# what the library is built with, as
#
#   scripts/sanitize.sh address|thread libtorrent [TEST]...
#
# Then faults are planted, which must be reported: otherwise nothing is looked for at all.
#
# With TSan both sides have the runtime of the nightly compiler, for gcc's is too old for what LLVM
# calls. libtorrent and what it is built on are not instrumented. Their mutexes and conditions are
# seen all the same, wherever they are locked, and with them all that io_contexts hand on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

sanitizer=$1
shift
if (($# == 0)); then
    set -- contract faults lifecycle playing planted
fi

target=x86_64-unknown-linux-gnu
cargo +nightly rustc --locked --release -p lookbehind-capi --lib --crate-type staticlib \
    --target "$target" --target-dir "target/$sanitizer"

runtime=
if [[ $sanitizer == thread ]]; then
    sysroot=$(rustc +nightly --print sysroot)
    runtime="$sysroot/lib/rustlib/$target/lib/librustc-nightly_rt.tsan.a;$PWD/target/thread/tsan-fences.o"
    for name in atomic_thread_fence atomic64_fetch_sub atomic32_fetch_sub; do
        runtime+=";LINKER:--wrap=__tsan_$name"
    done
    cat scripts/tsan-suppressions.txt crates/libtorrent/tsan-suppressions.txt \
        >target/thread/tsan-suppressions.txt
    export TSAN_OPTIONS="suppressions=$PWD/target/thread/tsan-suppressions.txt"
fi

folder=target/$sanitizer/libtorrent
cmake -S crates/libtorrent -B "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DLOOKBEHIND_SANITIZE="$sanitizer" -DLOOKBEHIND_SANITIZER_RUNTIME="$runtime" \
    -DLOOKBEHIND_LIBRARY="$PWD/target/$sanitizer/$target/release/liblookbehind_capi.a" >/dev/null
# Linked anew: what stands in for the runtime is nothing that CMake knows to have changed.
(cd "$folder" && rm -f "$@")
cmake --build "$folder" -j "${JOBS:-2}" --target "$@"

# libtorrent's own disk joins its threads where the sanitizer does not look.
export TEST_PLAIN_SEEDERS=1
# Everything takes longer.
export TEST_PATIENCE=${TEST_PATIENCE:-10}

planted() { # fault, what the report says
    local said
    if said=$("$folder/planted" "$1" 2>&1); then
        printf '%s\nerror: a planted fault was not reported: %s\n' "$said" "$1" >&2
        return 1
    fi
    if [[ $said != *"$2"* || $said != *"$3"* ]]; then
        printf '%s\nerror: %s failed, but not as it was to\n' "$said" "$1" >&2
        return 1
    fi
    echo "reported: $1"
}

for test in "$@"; do
    if [[ $test != planted ]]; then
        echo "$test under $sanitizer"
        "$folder/$test"
    elif [[ $sanitizer == address ]]; then
        planted freed_buffer heap-use-after-free look
        planted freed_disk heap-use-after-free lookbehind::disk_io::abort
    else
        planted race_in_the_adapter "data race" detail::core::
        planted race_with_the_library "data race" lb_player_read
    fi
done
