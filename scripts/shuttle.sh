#!/usr/bin/env bash
# Runs the public interface under random schedules of four threads, and parks a
# thread at each of its steps.
#
#   scripts/shuttle.sh                              all tests
#   scripts/shuttle.sh --test NAME [-- TEST]        one file of them, one test
#   LOOKBEHIND_SCHEDULES=2000 scripts/shuttle.sh    schedules a test (20,000 by default)
#   LOOKBEHIND_SEED=1 scripts/shuttle.sh            other schedules; the seed is printed
#
# A schedule that fails is kept in target/shuttle/failed. To run that one again:
#
#   LOOKBEHIND_REPLAY=FILE scripts/shuttle.sh --test NAME -- --exact TEST
#
# The package shuttle-tests is built alone and into a target directory of its
# own, for the cfg flag changes the meaning of `sync`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unset CARGO_ENCODED_RUSTFLAGS # it would win over RUSTFLAGS
export RUSTFLAGS="--cfg shuttle"
export LOOKBEHIND_FAILED=$PWD/target/shuttle/failed
mkdir -p "$LOOKBEHIND_FAILED"

exec cargo test --locked --profile shuttle -p shuttle-tests --target-dir target/shuttle "$@"
