#!/usr/bin/env bash
# Builds the C interface and installs header, libraries and what pkg-config reads.
#
#   install.sh [--prefix DIR] [--destdir DIR] [--profile NAME]
#
# --prefix: where they will be found, /usr/local by default. --destdir: put in front of that to say
# where they are copied to, for packages. --profile: cargo's, release by default.
set -euo pipefail

prefix=/usr/local destdir='' profile=release
while (($# > 0)); do
    case $1 in
    --prefix | --destdir | --profile)
        (($# > 1)) || { echo "install.sh: $1 needs a value" >&2; exit 2; }
        declare "${1#--}=$2"
        shift 2
        ;;
    *)
        echo "usage: install.sh [--prefix DIR] [--destdir DIR] [--profile NAME]" >&2
        exit 2
        ;;
    esac
done
[[ $prefix == /* ]] || { echo "install.sh: the prefix is to be absolute: $prefix" >&2; exit 2; }
# Relative to where the script was called.
[[ -z $destdir || $destdir == /* ]] || destdir=$PWD/$destdir
cd "$(dirname "${BASH_SOURCE[0]}")"

# Without the rlib, which would rule out link-time optimisation, and therefore in a folder of its own:
# the libraries of an ordinary build have the same names.
built=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
built+=/capi
# What the static library needs beside itself only rustc knows; cargo repeats it if nothing is built.
# Where the libraries are cargo says: with a target set it is a folder of that name.
said=$(cargo rustc --color never --locked --profile "$profile" --target-dir "$built" -p lookbehind-capi --lib \
    --crate-type staticlib,cdylib --message-format json-render-diagnostics \
    -- --print native-static-libs 2>&1) || { echo "$said" >&2; exit 1; }
private=$(sed -n 's/^note: native-static-libs: //p' <<<"$said" | tail -1)
[[ -n $private ]] || { printf '%s\ninstall.sh: rustc does not name its libraries\n' "$said" >&2; exit 1; }

version=$(cargo pkgid -p lookbehind-capi)
version=${version##*[@#]}
built=$(sed -n 's/.*"\([^"]*\)\/liblookbehind_capi\.a".*/\1/p' <<<"$said" | tail -1)
[[ -n $built ]] || { printf '%s\ninstall.sh: cargo does not name what it built\n' "$said" >&2; exit 1; }

lib=$destdir$prefix/lib include=$destdir$prefix/include
install -d "$lib/pkgconfig" "$include"
install -m 644 include/lookbehind.h "$include"
install -m 644 "$built/liblookbehind_capi.a" "$lib/liblookbehind.a"
# Its name in the system, which the linker writes into programs, is that of build.rs.
install -m 755 "$built/liblookbehind_capi.so" "$lib/liblookbehind.so.$version"
ln -sf "liblookbehind.so.$version" "$lib/liblookbehind.so.0"
ln -sf liblookbehind.so.0 "$lib/liblookbehind.so"
cat >"$lib/pkgconfig/lookbehind.pc" <<END
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: Lookbehind
Description: A piece cache in RAM for streaming media
Version: $version
Libs: -L\${libdir} -llookbehind
Libs.private: $private
Cflags: -I\${includedir}
END
echo "installed lookbehind $version in $destdir$prefix"
