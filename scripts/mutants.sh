#!/usr/bin/env bash
# Changes the code in small ways (cargo-mutants), and runs the library's tests on
# each: what survives is code that no test looks at.
#
#   scripts/mutants.sh 3/16 [ARGUMENTS]   the third of sixteen parts (from 0 on); what an
#                                         earlier run of it has seen caught is left out
#   scripts/mutants.sh report             all parts together, and who survived
#
# A survivor that docs/mutants.md does not explain is an error: kill it by a test, or say there why
# no test can. Which files: .cargo/mutants.toml. Models, schedules and sanitizers are not run here:
# a weakened ordering is for scripts/faults.sh. To be run when the machine is quiet, for
# a test that is starved looks like a test that failed: a file of tests takes three seconds at most,
# and is given twenty. Needs cargo-mutants 27.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parts=$PWD/target/mutants-parts

report() {
    local caught=0 missed=0 timeout=0 unviable=0 part
    count() { if [[ -e $1 ]]; then grep -c . "$1" || true; else echo 0; fi; }
    for part in "$parts"/*/mutants.out; do
        # A part that was resumed keeps what it saw caught before in a list of its own.
        caught=$((caught + $(count "$part/caught.txt") + $(count "$part/previously_caught.txt")))
        timeout=$((timeout + $(count "$part/timeout.txt")))
        missed=$((missed + $(count "$part/missed.txt")))
        unviable=$((unviable + $(count "$part/unviable.txt")))
    done
    local viable=$((caught + timeout + missed))
    echo "$viable viable mutants: $caught caught, $timeout without an end, $missed missed; $unviable do not build"
    ((viable == 0)) || echo "score: $(((caught + timeout) * 1000 / viable)) per mille"
    unexplained "$parts"/*/mutants.out
}

# Lists the survivors that docs/mutants.md does not explain. It names them without line and
# column, which move: "src/memory/budget.rs: replace > with >= in Budget::over".
unexplained() { # mutants.out...
    local folder line name found=0
    for folder; do
        [[ -e $folder/missed.txt ]] || continue
        while read -r line; do
            name=$(sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' <<<"$line")
            if ! grep -qF -- "\`$name\`" docs/mutants.md; then
                echo "survived: $line"
                found=1
            fi
        done <"$folder/missed.txt"
    done
    return $found
}

case ${1:?which part, as 0/16, or report} in
    report) report ;;
    */*)
        part=$1
        shift
        mkdir -p "$parts/${part//\//-of-}"
        # 2 and 3 say that mutants were missed, or ran without an end.
        cargo mutants --no-shuffle --iterate --shard "$part" --output "$parts/${part//\//-of-}" \
            --profile mutants --timeout 60 --build-timeout 300 --colors never \
            --cargo-arg=--lib --cargo-arg=--tests \
            --cargo-arg=--config "--cargo-arg=target.'cfg(all())'.runner=['timeout', '20']" "$@" || (($? == 2 || $? == 3))
        out=$parts/${part//\//-of-}/mutants.out
        if [[ ! -s $out/outcomes.json || -z $(cat "$out"/{caught,previously_caught,missed,timeout,unviable}.txt 2>/dev/null) ]]; then
            echo "error: no mutant was made"
            exit 1
        fi
        unexplained "$out"
        ;;
esac
