#!/usr/bin/env bash
# Breaks the code on purpose, one fault at a time, and requires that the loom
# models notice: a checker that has gone blind is worse than none.
#
#   scripts/loom-faults.sh                 all faults, each by its model
#   scripts/loom-faults.sh FAULT...        these
#   scripts/loom-faults.sh --find FAULT... which of all models catch it
#
# A fault is a switch in the source, `cfg!(fault = "NAME")`. The flag reaches the
# packages of the workspace only, by way of a wrapper around rustc, so that loom
# and the other dependencies are built once. For each fault the bound on
# preemptions is raised from 1 until the model fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unset CARGO_ENCODED_RUSTFLAGS # it would win over RUSTFLAGS
export RUSTFLAGS="--cfg loom --cfg crossbeam_loom --cfg crossbeam_sanitize"
limit=${LOOM_FAULT_SECONDS:-120} # for one model at one bound
target=$PWD/target/loom

# fault, model (test binary::test), highest bound to try. Those that no model
# catches are in docs/verification.md, with the reason.
faults() {
    cat <<'FAULTS'
relaxed_announce        publish_against_snapshot::one_reader 4
relaxed_idle            retire_against_snapshot::sent 3
relaxed_validate        publish_against_snapshot::one_reader 3
relaxed_leave           retire_against_snapshot::one_reader 3
relaxed_scan            retire_against_snapshot::one_reader 3
no_reader_fence         retire_against_snapshot::one_reader 3
no_pass_fence           retire_against_snapshot::one_reader 3
no_validation           publish_against_snapshot::one_reader 4
interval_off_by_one     retire_against_snapshot::one_reader 3
relaxed_publish         publish_against_snapshot::one_reader 3
relaxed_due             retire_against_snapshot::two_passes 3
relaxed_undue           retire_against_snapshot::two_passes 3
relaxed_pass            retire_against_snapshot::two_passes 3
relaxed_share           held_against_evict::one_handle 3
no_share_fence          held_against_evict::one_handle 3
relaxed_hand_back       held_against_evict::one_handle 3
relaxed_take_back       held_against_evict::one_handle 3
no_hand_back_fence      held_against_evict::close 3
no_recycle_fence        held_against_evict::recycle_against_close 3
no_close_fence          held_against_evict::close 3
relaxed_take            recycling_and_aba::two_things 2
relaxed_put             recycling_and_aba::two_things 2
torn_reserve            budget_reservation::two_reservers_and_a_release 3
no_register_fence       wait_against_publish::wakers 3
no_wake_fence           wait_against_publish::wakers 3
no_published_fence      wait_against_publish::publish 2
relaxed_span            retire_against_snapshot::another_window 4
no_recheck              writers_against_snapshot::no_record_is_lost 2
no_writer_announcement  writers_against_snapshot::two_writers 2
FAULTS
}

# Prints "test-binary::test path" for every model.
models() { # fault
    local wrapper=$target/faults/$1 binary name
    mkdir -p "$target/faults"
    printf '#!/bin/sh\nexec "$@" --cfg '\''fault="%s"'\''\n' "$1" >"$wrapper"
    chmod +x "$wrapper"
    RUSTC_WORKSPACE_WRAPPER=$wrapper cargo test --locked --profile loom -p loom-tests --tests \
        --target-dir "$target" --no-run 2>&1 >/dev/null |
        sed -n 's/^ *Executable tests\/\([a-z_]*\)\.rs (\(.*\))$/\1 \2/p' |
        while read -r name binary; do
            "$binary" --list | sed -n "s|^\(.*\): test\$|$name::\1 $binary|p"
        done
}

# Whether the model failed, and not by a limit of the checker.
caught() { # binary test bound
    local log=$target/faults/log
    if LOOM_MAX_PREEMPTIONS=$3 timeout "$limit" "$1" --exact "$2" >"$log" 2>&1; then
        return 1
    fi
    grep -q 'panicked at' "$log" && ! grep -q 'exceeded maximum number of branches' "$log"
}

find=
if [[ ${1:-} == --find ]]; then
    find=1
    shift
fi
missed=0
while read -r fault model bounds; do
    if (($#)) && [[ " $* " != *" $fault "* ]]; then continue; fi
    built=$(models "$fault")
    [[ -n $built ]] || { echo "error: the models do not build with the fault $fault"; exit 1; }
    found=
    while read -r name binary; do
        [[ -n $find || $name == "$model" ]] || continue
        for ((bound = 1; bound <= bounds; bound++)); do
            begin=${EPOCHREALTIME/./}
            if { caught "$binary" "${name#*::}" "$bound"; } 2>/dev/null; then
                took=$((${EPOCHREALTIME/./} - begin))
                why=$(sed -n '/panicked at/{n;p;q}' "$target/faults/log")
                printf '%-24s caught by %-48s bound %d  %3d.%d s  %s\n' "$fault" "$name" "$bound" \
                    $((took / 1000000)) $((took / 100000 % 10)) "${why:0:70}"
                found=1
                break
            fi
        done
    done <<<"$built"
    if [[ -z $found ]]; then
        printf '%-24s NOT CAUGHT (%s, up to bound %d)\n' "$fault" "$model" "$bounds"
        missed=1
    fi
done < <(faults)
exit $missed
