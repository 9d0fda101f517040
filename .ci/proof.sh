# The checkers, as stages; sourced by the scripts beside it.

models() { bash scripts/loom.sh; }

schedules() { LOOKBEHIND_SCHEDULES=${LOOKBEHIND_SCHEDULES:-500} bash scripts/shuttle.sh; }

fuzzing() { # seconds a target
    need_cargo cargo-fuzz 0.13.2
    bash scripts/fuzz.sh all "$1"
}

races() { LOOKBEHIND_STRESS_OPS=80000 bash scripts/sanitize.sh thread; }

addresses() { LOOKBEHIND_STRESS_OPS=400000 bash scripts/sanitize.sh address; }

faults_all() {
    need patch patch
    need_cargo cargo-fuzz 0.13.2
    bash scripts/faults.sh "$@"
}

# One for each kind of mechanism, and those that the ordinary tests catch.
faults_some() {
    need patch patch
    bash scripts/faults.sh --by test
    bash scripts/faults.sh --by loom no_reader_fence relaxed_publish torn_reserve no_share_fence
}

mutants_some() {
    need_cargo cargo-mutants 27.1.0
    bash scripts/mutants.sh 0/120
}

mutants_all() {
    need_cargo cargo-mutants 27.1.0
    local part
    for part in {0..15}; do bash scripts/mutants.sh "$part/16"; done
    bash scripts/mutants.sh report
}
