#!/usr/bin/env bash
# Tests the Go package against the library as it is installed: layout, vet, and tests with the race
# detector.
#
#   test.sh [--profile NAME]
#
# --profile: cargo's, dev by default. Needs Go (1.19 or later), pkg-config and a C compiler; without
# them it says so and succeeds, unless LOOKBEHIND_REQUIRE=1. Nothing is downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

profile=dev
if (($# > 0)); then
    [[ $# == 2 && $1 == --profile ]] || { echo "usage: test.sh [--profile NAME]" >&2; exit 2; }
    profile=$2
fi

missing() {
    echo "$1 is not installed: the Go package was NOT tested" >&2
    [[ ${LOOKBEHIND_REQUIRE:-} != 1 ]] || exit 1
    exit 0
}
command -v go >/dev/null || missing go
command -v gofmt >/dev/null || missing gofmt
command -v pkg-config >/dev/null || missing pkg-config

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bash ../install.sh --prefix "$folder" --profile "$profile"
export PKG_CONFIG_PATH=$folder/lib/pkgconfig
export LD_LIBRARY_PATH=$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export GOPROXY=off GOWORK=off

unformatted=$(gofmt -l .)
[[ -z $unformatted ]] || { printf 'gofmt would change:\n%s\n' "$unformatted" >&2; exit 1; }
# Go remembers what it has built by the sources and their folder, and looks neither at the header nor
# at what pkg-config says. In a new folder it builds anew.
cp go.mod ./*.go "$folder"
cd "$folder"
go vet ./...
go test -race ./...
