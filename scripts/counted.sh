#!/usr/bin/env bash
# Counts what a hit writes, by an instrumented build of src/sync.rs, and prints it.
#
#   scripts/counted.sh             all of it
#   scripts/counted.sh -- TEST     one test; other arguments are cargo test's as well
#
# Of its own target directory, for the cfg flag changes the meaning of `sync`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unset CARGO_ENCODED_RUSTFLAGS # it would win over RUSTFLAGS
export RUSTFLAGS="--cfg counted"

[[ " $* " == *" -- "* ]] || set -- "$@" --
exec cargo test --locked -p lookbehind --test counted --target-dir target/counted "$@" --nocapture --test-threads 1
