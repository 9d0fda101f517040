#!/usr/bin/env bash
# Builds the adapter and its tests, and runs them: crates/libtorrent/test.sh [ctest's arguments]
#
# Needs libtorrent-rasterbar-dev (2.0.8 or later, below 2.1), doctest-dev, cmake, pkg-config, a C++
# compiler and the Rust toolchain. TEST_FULL=1 plays films of 512 MiB, TEST_SEED=n repeats what
# was random, TEST_PATIENCE=3 waits longer for everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --release --locked -p lookbehind-capi
cmake -S crates/libtorrent -B target/libtorrent \
    -DLOOKBEHIND_LIBRARY="$PWD/target/release/liblookbehind_capi.a"
cmake --build target/libtorrent --parallel "$(nproc)"
ctest --test-dir target/libtorrent --output-on-failure "$@"
