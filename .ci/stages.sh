# Stages with a heading, a duration and a summary; sourced by the scripts beside it.

current="" # the stage that runs
summary=""
started=0

finish() {
    local status=$?
    printf '\n==== summary\n%s' "$summary"
    if ((status != 0)); then
        printf 'FAILED %5ds  %s (exit %d)\n' "$((SECONDS - started))" "${current:-setup}" "$status"
    else
        printf 'all passed in %d s\n' "$SECONDS"
    fi
}
trap finish EXIT

# Runs a command as a stage. It is not called in a condition, so that `set -e`
# holds inside of functions as well.
stage() { # heading, command...
    current=$1
    shift
    started=$SECONDS
    printf '\n==== %s\n' "$current"
    "$@"
    local took=$((SECONDS - started))
    printf -- '---- %s: %d s\n' "$current" "$took"
    summary+=$(printf 'ok     %5ds  %s' "$took" "$current")$'\n'
}

# Installs Debian packages, if a command that they bring is missing.
need() { # command, package...
    command -v "$1" >/dev/null && return
    shift
    local sudo=()
    if ((EUID != 0)); then sudo=(sudo); fi
    "${sudo[@]}" apt-get update
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"
}

# Installs Debian packages for a part that not every machine can test. Where it may not it says so
# as loudly as it can, and fails.
want() { # what goes untested without, check, package...
    local part=$1 check=$2
    shift 2
    eval "$check" >/dev/null 2>&1 && return
    local sudo=()
    if ((EUID != 0)); then sudo=(sudo -n); fi
    if "${sudo[@]}" apt-get update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@" && eval "$check" >/dev/null 2>&1; then
        return
    fi
    printf '\n%s\n' "########## NOT TESTED: $part. Missing, and not to be had: $*"
    summary+="NOT TESTED      $part (no $*)"$'\n'
    return 1
}

# Installs a program by cargo, unless this version is there. How fast it is matters less than how
# soon it is built.
need_cargo() { # crate, version
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    local known=("$1")
    if [[ $1 == cargo-* ]]; then known=(cargo "${1#cargo-}"); fi
    [[ $("${known[@]}" --version 2>/dev/null) == "$1 $2" ]] ||
        CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug "$1@$2"
}
