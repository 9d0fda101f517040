#!/usr/bin/env bash
# Runs the loom models: every interleaving, up to a bound on preemptions.
#
#   scripts/loom.sh                        all models, at the bounds for every day
#   scripts/loom.sh --test NAME            one file of them
#   scripts/loom.sh --table ...            and prints the table of docs/verification.md at the end
#   LOOKBEHIND_LOOM=full scripts/loom.sh   the long ones at rising bounds: hours
#   LOOM_MAX_PREEMPTIONS=3 scripts/loom.sh all at this bound
#
# A model is stopped after 300 seconds on its processor (LOOM_MAX_DURATION), and says so: what it
# has explored whole before is the bound that it reached.
#
# The package loom-tests is built alone and into a target directory of its own,
# for these cfg flags change the meaning of `sync` in every crate that knows them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

unset CARGO_ENCODED_RUSTFLAGS # it would win over RUSTFLAGS
export RUSTFLAGS="--cfg loom --cfg crossbeam_loom --cfg crossbeam_sanitize"

table=
if [[ ${1:-} == --table ]]; then
    table=1
    shift
fi
run=(cargo test --locked --profile loom -p loom-tests --target-dir target/loom "$@")
[[ -n $table ]] || exec "${run[@]}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${run[@]}" 2>&1 | tee "$log"
echo
echo '| model | bound | executions | s | the next bound, in part |'
echo '|---|---|---|---|---|'
sed -n 's/.*loom: \(.*\): \([0-9]*\) executions at bound \([0-9]*\) in \([0-9.]*\) s, \(.*\)/\1|\3|\2|\4|\5/p' "$log" |
    sort -t'|' -k1,1 -k2,2n | awk -F'|' '
        function thousands(n) {
            while (match(n, /[0-9][0-9][0-9][0-9]($|,)/))
                n = substr(n, 1, RSTART) "," substr(n, RSTART + 1)
            return n
        }
        function row() {
            if (model != "") printf "| %s | %s | %s | %s | %s |\n", model, bound, count, took, beyond
        }
        # Of each model the highest bound that it explored whole, and what it did of the next one.
        $1 != model { row(); model = $1; bound = "none"; count = took = beyond = "" }
        $5 == "all clean" { bound = $2; count = thousands($3); took = $4 }
        $5 != "all clean" { beyond = thousands($3) " at " $2 }
        END { row() }'
