#!/usr/bin/env bash
# Changes the code in small ways (cargo-mutants), and runs the library's tests on
# each: what survives is code that no test looks at.
#
#   scripts/mutants.sh 3/16        the third of sixteen parts (from 0 on), unless it was run to
#                                  its end on this code before
#   scripts/mutants.sh some        a part of three or so, another one for each code
#   scripts/mutants.sh report 16   all sixteen parts together, and who survived
#
# A survivor that docs/mutants.md does not explain is an error: kill it by a test, or say there why
# no test can. Which files: .cargo/mutants.toml. Models, schedules and sanitizers are not run here:
# a weakened ordering is for scripts/faults.sh. To be run when the machine is quiet, for
# a test that is starved looks like a test that failed: a file of tests takes three seconds at most,
# and is given twenty. Needs cargo-mutants 27.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Of this code, dealt like this: what was seen of another says nothing.
code=$(find src tests scripts/mutants.sh Cargo.toml Cargo.lock .cargo/mutants.toml -type f -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | head -c 12)
parts=$PWD/target/mutants-parts/$code

report() { # parts
    local caught=0 missed=0 timeout=0 unviable=0 done=0 part
    for ((part = 0; part < $1; part++)); do
        local out=$parts/$part-of-$1/mutants.out
        [[ -e $out/../done ]] || continue
        done=$((done + 1))
        caught=$((caught + $(wc -l <"$out/caught.txt")))
        timeout=$((timeout + $(wc -l <"$out/timeout.txt")))
        missed=$((missed + $(wc -l <"$out/missed.txt")))
        unviable=$((unviable + $(wc -l <"$out/unviable.txt")))
    done
    local viable=$((caught + timeout + missed))
    echo "$done of $1 parts: $viable viable mutants, $caught caught, $timeout without an end, $missed missed; $unviable do not build"
    ((viable == 0)) || echo "score: $(((caught + timeout) * 1000 / viable)) per mille"
    unexplained "$parts"/*-of-"$1"/mutants.out && ((done == $1))
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
    report) report "${2:?of how many parts}" ;;
    some) exec "$0" "$((16#$code % 300))/300" ;;
    */*)
        part=$parts/${1//\//-of-}
        if [[ ! -e $part/done ]]; then
            rm -rf "$part"
            mkdir -p "$part"
            # 2 and 3 say that mutants were missed, or ran without an end.
            # Dealt in turn: slices are of one length, and leave the last parts without any.
            cargo mutants --no-shuffle --shard "$1" --sharding round-robin --output "$part" \
                --profile mutants --timeout 60 --build-timeout 300 --colors never \
                --cargo-arg=--lib --cargo-arg=--tests \
                --cargo-arg=--config "--cargo-arg=target.'cfg(all())'.runner=['timeout', '20']" ||
                (($? == 2 || $? == 3))
            touch "$part/done"
        fi
        out=$part/mutants.out
        if [[ -z $(cat "$out"/{caught,missed,timeout,unviable}.txt) ]]; then
            echo "error: no mutant was made"
            exit 1
        fi
        unexplained "$out"
        ;;
    *) echo "error: no part $1" >&2 && exit 2 ;;
esac
