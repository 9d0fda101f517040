#!/usr/bin/env bash
# The C interface under AddressSanitizer, on both sides of it: the library by a nightly compiler,
# programs in C by $CC (gcc 12 or later, or clang). Needs a nightly toolchain.
#
# - The tests of pins, reads, players and lifetimes in Rust, which race.
# - The example, which must be clean.
# - A program that reads what it has released, which must be reported: otherwise nothing is looked
#   for at all. What is released and evicted is reported only once its memory was given back: as long
#   as the cache lives it may be reused for the next piece, and then is good memory again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# As scripts/sanitize.sh does, into the same folder.
unset CARGO_ENCODED_RUSTFLAGS
export RUSTFLAGS="-Zsanitizer=address --cfg asan"
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export ASAN_OPTIONS="detect_leaks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

target=x86_64-unknown-linux-gnu
folder=target/address/$target/release/deps
here=crates/lookbehind-capi

cargo +nightly test --locked --release -p lookbehind-capi --target "$target" --target-dir target/address \
    --test pins --test reads --test players --test lifetimes

build() { # source, program
    "${CC:-cc}" -std=c11 -g -O1 -fno-omit-frame-pointer -fsanitize=address -Wall -Wextra -Werror \
        -pedantic -I "$here/include" "$1" "$folder/liblookbehind_capi.a" -lpthread -ldl -lm -o "$2"
}

build "$here/examples/example.c" "$folder/example-asan"
"$folder/example-asan"

build "$here/tests/after_release.c" "$folder/after-release-asan"
if said=$("$folder/after-release-asan" 2>&1); then
    printf '%s\nerror: a read after the release of a pin was not reported\n' "$said" >&2
    exit 1
fi
if [[ $said != *"good until it is released"*"heap-use-after-free"*"after_release.c"* ]]; then
    printf '%s\nerror: it failed, but not by a read after the release of a pin\n' "$said" >&2
    exit 1
fi
echo "a read after the release of a pin is reported"
