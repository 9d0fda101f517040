#!/usr/bin/env bash
# Breaks the code on purpose, one fault at a time, and requires that the checker
# named for it notices: a checker that has gone blind is worse than none.
#
#   scripts/faults.sh                    all faults, each by all of its checkers
#   scripts/faults.sh FAULT...           these
#   scripts/faults.sh --by CHECKER ...   only by test, replay, counted, loom, shuttle, tsan or asan
#   scripts/faults.sh --find FAULT...    which of all loom models catch it
#
# A fault is a patch, faults/NAME.patch, whose first lines say what is broken and
# by what it is caught:
#
#   What: ...
#   Caught-by: loom FILE::TEST BOUND     a model, bounds 1 to BOUND
#   Caught-by: test ARGUMENTS            cargo test ARGUMENTS
#   Caught-by: replay TARGET             the corpus of a fuzz target, and some inputs more
#   Caught-by: counted ARGUMENTS         scripts/counted.sh ARGUMENTS
#   Caught-by: shuttle ARGUMENTS         scripts/shuttle.sh ARGUMENTS
#   Caught-by: tsan|asan ARGUMENTS       scripts/sanitize.sh thread|address ARGUMENTS
#
# It is applied to a copy of the tree, never to the tree itself, and has to apply
# cleanly: a patch that has grown old fails the run. A row of a table for each
# is printed: fault, checker, seconds of its run (not of the building), and what
# the checker said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unset CARGO_ENCODED_RUSTFLAGS RUSTFLAGS # each checker sets its own
limit=${FAULT_SECONDS:-300}              # for one run of a checker
scratch=$PWD/target/faults
tree=$scratch/tree
log=$scratch/log

find= by=
while [[ ${1:-} == --* ]]; do
    case $1 in
        --find) find=1 ;;
        --by) by=$2 && shift ;;
        *) echo "error: unknown option $1" >&2 && exit 2 ;;
    esac
    shift
done

# A copy of the project, with its times, so that only what changed since the last
# run is built again. It shares the target directory: dependencies are built once.
copy() {
    rm -rf "$tree"
    mkdir -p "$tree"
    ln -s "$PWD/target" "$tree/target"
    find . \( -name target -o -name .git \) -prune -o -type f -print0 | xargs -0 cp -p --parents -t "$tree"
}

# Whether a run that ended with `status` tells of a fault that was noticed, in a way
# that says so, and not of its time being up or of a limit of the checker.
noticed() { # status, what it must say
    (($1 != 0 && $1 != 124 && $1 != 137)) &&
        ! grep -q 'exceeded maximum number of branches' "$log" && grep -qE "$2" "$log"
}
panics='panicked at|memory allocation of|signal: '

reason() {
    {
        grep -m1 -oE 'SUMMARY: [A-Za-z]+Sanitizer: [a-zA-Z0-9() -]+' "$log" ||
            grep -m1 -A1 'panicked at' "$log" | tail -n 1 ||
            grep -m1 -oE 'memory allocation of .*|signal: [^)]*' "$log"
    } | head -c 90 | tr -d '|\n'
}

row() { # fault, what, checker, bound, seconds
    printf '| `%s` | %s | %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4" "$5" "$(reason)"
}

seconds() { # since, in microseconds
    local took=$((${EPOCHREALTIME/./} - $1))
    printf '%d.%d' $((took / 1000000)) $((took / 100000 % 10))
}

# Prints "file::test binary" for the models of some test binaries.
models() { # what to build
    RUSTFLAGS="--cfg loom --cfg crossbeam_loom --cfg crossbeam_sanitize" \
        cargo test --locked --profile loom -p loom-tests --target-dir target/loom "$@" --no-run 2>&1 >/dev/null |
        sed -n 's/^ *Executable tests\/\([a-z_]*\)\.rs (\(.*\))$/\1 \2/p' |
        while read -r name binary; do
            "$binary" --list | sed -n "s|^\(.*\): test\$|$name::\1 $binary|p"
        done
}

by_loom() { # fault, what, model, bounds
    local built name binary bound begin status found=
    if [[ -n $find ]]; then built=$(models --tests); else built=$(models --test "${3%%::*}"); fi
    [[ -n $built ]] || { echo "error: the models do not build with $1" && return 1; }
    while read -r name binary; do
        [[ -n $find || $name == "$3" ]] || continue
        for ((bound = 1; bound <= $4; bound++)); do
            begin=${EPOCHREALTIME/./}
            status=0
            LOOM_MAX_PREEMPTIONS=$bound timeout "$limit" bash -c '"$0" --exact "$1"; exit $?' \
                "$binary" "${name#*::}" >"$log" 2>&1 || status=$?
            if noticed "$status" "$panics"; then
                row "$1" "$2" "loom, \`$name\`" "$bound" "$(seconds "$begin")"
                found=1
                break
            fi
        done
    done <<<"$built"
    [[ -n $found ]]
}

# Runs a command that must fail, and show why. What it builds with is built before
# the clock starts.
by_command() { # fault, what, checker, build, run, what it must say
    if ! eval "$4" >"$log" 2>&1; then
        tail -n 20 "$log"
        echo "error: it does not build with $1"
        return 1
    fi
    local begin=${EPOCHREALTIME/./} status=0
    timeout "$limit" bash -c "$5" >"$log" 2>&1 || status=$?
    if ! grep -qE '^running [1-9]' "$log"; then
        echo "error: no such test: $5"
        return 1
    fi
    noticed "$status" "$6" || return 1
    row "$1" "$2" "$3" "" "$(seconds "$begin")"
}

check() { # fault, what, checker, arguments
    local fault=$1 what=$2 checker=$3 test
    shift 3
    local words=$*
    case $checker in
        loom) by_loom "$fault" "$what" "$1" "$2" ;;
        test)
            test="cargo test --locked -p lookbehind $*"
            by_command "$fault" "$what" "\`cargo test $*\`" "${test%% -- *} --no-run" "$test" \
                "$panics"
            ;;
        shuttle)
            by_command "$fault" "$what" "shuttle, \`$*\`" \
                "scripts/shuttle.sh ${words%% -- *} --no-run" "scripts/shuttle.sh $*" "$panics"
            ;;
        counted)
            by_command "$fault" "$what" "writes counted" \
                "scripts/counted.sh --no-run" "scripts/counted.sh $*" "$panics"
            ;;
        replay)
            by_command "$fault" "$what" "replay of \`$1\`" \
                "cargo test --locked -p lookbehind-fuzz --no-run" \
                "cargo test --locked -p lookbehind-fuzz $1" "$panics"
            ;;
        tsan | asan)
            local sanitizer=thread
            [[ $checker == tsan ]] || sanitizer=address
            by_command "$fault" "$what" "${checker^^}, \`$*\`" \
                "scripts/sanitize.sh $sanitizer $* --no-run" \
                "LOOKBEHIND_STRESS_OPS=80000 scripts/sanitize.sh $sanitizer $*" 'SUMMARY: .*Sanitizer'
            ;;
        *) echo "error: $fault names no checker that there is: $checker" && return 1 ;;
    esac
}

for name; do
    [[ -e faults/$name.patch ]] || { echo "error: no fault of the name $name" && exit 2; }
done
copy
missed=0 caught=0 names=
printf '| fault | what is broken | caught by | bound | s | what the checker said |\n|---|---|---|---|---|---|\n'
for patch in "$PWD"/faults/*.patch; do
    fault=$(basename "$patch" .patch)
    if (($#)) && [[ " $* " != *" $fault "* ]]; then continue; fi
    what=$(sed -n 's/^What: //p' "$patch")
    mapfile -t checkers < <(sed -n "s/^Caught-by: \(${by:-.*}\( \|\$\)\)/\1/p" "$patch")
    if ((${#checkers[@]} == 0)); then
        [[ -n $by ]] || { echo "error: $fault is caught by nothing" && missed=$((missed + 1)); }
        continue
    fi
    # All of it or nothing.
    if ! patch -d "$tree" -p1 -F 0 --dry-run -s <"$patch"; then
        echo "error: $patch does not apply any more"
        missed=$((missed + 1))
        continue
    fi
    patch -d "$tree" -p1 -F 0 --no-backup-if-mismatch -s <"$patch"
    for checker in "${checkers[@]}"; do
        # The words of the line are the checker and its arguments.
        if (cd "$tree" && check "$fault" "$what" $checker) </dev/null; then
            caught=$((caught + 1))
        else
            tail -n 20 "$log"
            echo "NOT CAUGHT: $fault, by $checker"
            missed=$((missed + 1)) names+=" $fault"
        fi
    done
    # Copied anew without their times: what was built of the fault is out of date.
    sed -n 's|^+++ b/||p' "$patch" | while read -r file; do cp "$file" "$tree/$file"; done
done
printf '%d caught, %d missed%s\n' "$caught" "$missed" "${names:+:$names}"
((missed == 0 && caught > 0))
