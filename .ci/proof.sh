# The checkers, as stages; sourced by the scripts beside it.

FUZZ=0.13.2    # cargo-fuzz
MUTANTS=27.1.0 # cargo-mutants

models() { bash scripts/loom.sh; }

schedules() { LOOKBEHIND_SCHEDULES=${LOOKBEHIND_SCHEDULES:-500} bash scripts/shuttle.sh; }

writes() { bash scripts/counted.sh; }

instructions() {
    need valgrind valgrind libc6-dbg
    # The runner has to be of the crate's version.
    need_cargo gungraun-runner "$(sed -n '/^name = "gungraun"$/{n;s/.*"\(.*\)"/\1/p}' Cargo.lock)"
    # Where a sandbox does not let it turn off the randomisation of addresses.
    GUNGRAUN_ALLOW_ASLR=yes cargo bench --locked -p lookbehind-benches --bench instructions
    # That contenders find what they look for; built for the above already.
    cargo test --locked --release -p lookbehind-benches
}

fuzzing() { # seconds a target
    need_cargo cargo-fuzz "$FUZZ"
    bash scripts/fuzz.sh all "$1"
}

races() { LOOKBEHIND_STRESS_OPS=20000 bash scripts/sanitize.sh thread; }

interface() { bash crates/lookbehind-capi/asan.sh; }

LIBTORRENT="pkg-config --exists 'libtorrent-rasterbar >= 2.0.8' 'libtorrent-rasterbar < 2.1'"

has_adapter=0 # whether what it needs is here
adapter() {
    local check="$LIBTORRENT && command -v cmake &&
        echo '#include <doctest/doctest.h>' | c++ -E -x c++ -"
    if want "the libtorrent adapter" "$check" \
        libtorrent-rasterbar-dev doctest-dev cmake pkg-config g++; then
        has_adapter=1
        bash crates/libtorrent/test.sh
    fi
}

# What is quickest to show a use after free; the rest of its tests, and TSan, take minutes.
adapter_addresses() {
    if ((has_adapter)); then
        bash scripts/sanitize.sh address libtorrent contract faults planted
    fi
}

from_go() {
    local check="command -v go && command -v pkg-config"
    if want "the Go package" "$check" golang-go pkg-config; then
        LOOKBEHIND_REQUIRE=1 bash crates/lookbehind-capi/go/test.sh
    fi
}

torrent() {
    if want "lookbehind-torrent" "$LIBTORRENT" libtorrent-rasterbar-dev pkg-config g++; then
        cargo clippy --locked -p lookbehind-torrent --all-targets -- -D warnings
        cargo test --locked -p lookbehind-torrent
    fi
}

addresses() { LOOKBEHIND_STRESS_OPS=80000 bash scripts/sanitize.sh address; }

faults_all() {
    need patch patch
    bash scripts/faults.sh "$@"
}

# One for each kind of mechanism, and those that the ordinary tests catch.
faults_some() {
    need patch patch
    bash scripts/faults.sh --by test
    bash scripts/faults.sh --by counted
    bash scripts/faults.sh --by loom no_reader_fence relaxed_publish torn_reserve no_share_fence
    bash scripts/faults.sh --by replay half_not_given_back seek_keeps_the_wait
    bash scripts/faults.sh --by shuttle two_flights
}

mutants_all() {
    need_cargo cargo-mutants "$MUTANTS"
    local part failed=0
    for part in {0..15}; do bash scripts/mutants.sh "$part/16" || failed=1; done
    bash scripts/mutants.sh report 16 && ((failed == 0))
}

mutants_some() {
    need_cargo cargo-mutants "$MUTANTS"
    bash scripts/mutants.sh some
}
