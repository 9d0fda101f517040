#!/usr/bin/env bash
# Runs the loom models: every interleaving, up to a bound on preemptions.
#
#   scripts/loom.sh                        all models
#   scripts/loom.sh --test NAME            one of them
#   LOOM_MAX_PREEMPTIONS=3 scripts/loom.sh a higher bound (much slower)
#
# The package loom-tests is built alone and into a target directory of its own,
# for these cfg flags change the meaning of `sync` in every crate that knows them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unset CARGO_ENCODED_RUSTFLAGS # it would win over RUSTFLAGS
export RUSTFLAGS="--cfg loom --cfg crossbeam_loom --cfg crossbeam_sanitize"

exec cargo test --locked --profile loom -p loom-tests --target-dir target/loom "$@"
