#!/usr/bin/env bash
# Makes the clip that `lookbehind serve` plays when it is given no file:
# 60 s of generated pictures and sound, H.264 + AAC, moov at the end (so that a
# player has to seek for it), a keyframe every 2 s. The clock is drawn as
# seven-segment digits out of boxes, for which no font is needed.
#
#   scripts/make-clip.sh [OUTPUT]
#
# Two runs with the same ffmpeg and x264 give the same bytes. Nothing is put in
# place unless all the checks at the end pass.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/crates/lookbehind-server/assets/clip.mp4}

seconds=60
fps=25
width=854
height=480
keyframe_every=2           # seconds
chapter=10                 # seconds: colour and tone change
video_kbit=175
audio_kbit=32
min_bytes=1048577          # with pieces of 1 MiB it must take two
max_bytes=1999999

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# ---- The picture ------------------------------------------------------------

filters=()
box() { # x y w h colour [enable]
    filters+=("drawbox=x=$1:y=$2:w=$3:h=$4:color=$5:t=fill${6:+:enable='$6'}")
}

# One digit out of seven segments. $4 is an expression over n, the frame number.
# A segment's mask has bit d set if the segment is lit in the digit d.
digit() { # x y unit expression
    local x=$1 y=$2 u=$3 value=$4 mask sx sy sw sh
    while read -r _ mask sx sy sw sh; do
        box $((x + sx * u)) $((y + sy * u)) $((sw * u)) $((sh * u)) white@0.92 \
            "mod(floor($mask/pow(2,$value)),2)"
    done <<'SEGMENTS'
a 1005  1  0 4 1
b  927  5  1 1 4
c 1019  5  6 1 4
d  877  1 10 4 1
e  325  0  6 1 4
f  881  0  1 1 4
g  892  1  5 4 1
SEGMENTS
}

# A darker plate, and on it the clock: 0:SS and, smaller, tenths.
u=16
x0=$(((width - 34 * u) / 2))
y0=$(((height - 11 * u) / 2 - 20))
box $((x0 - 2 * u)) $((y0 - 2 * u)) $((38 * u)) $((15 * u)) black@0.28
digit $x0 $y0 $u "0"
box $((x0 + 8 * u - 8)) $((y0 + 3 * u)) $u $u white@0.92
box $((x0 + 8 * u - 8)) $((y0 + 7 * u)) $u $u white@0.92
digit $((x0 + 10 * u)) $y0 $u "mod(floor(n/$((fps * 10))),6)"
digit $((x0 + 18 * u)) $y0 $u "mod(floor(n/$fps),10)"
box $((x0 + 26 * u)) $((y0 + 10 * u)) $u $u white@0.92
digit $((x0 + 28 * u + 8)) $((y0 + 11 * u - 11 * 9)) 9 "mod(floor(n*10/$fps),10)"

# A bar that fills, with a tick every ten seconds; 12 pixels a second.
bar_w=$((seconds * 12))
bar_x=$(((width - bar_w) / 2))
bar_y=$((height - 64))
box $bar_x $bar_y $bar_w 12 black@0.35
for ((s = 0; s <= seconds; s += chapter)); do
    box $((bar_x + s * 12 - 1)) $((bar_y + 20)) 2 10 white@0.75
done
for ((s = 0; s < seconds; s++)); do
    box $((bar_x + s * 12)) $bar_y 11 12 white@0.85 "gte(n,$((s * fps)))"
done

background="gradients=size=${width}x${height}:rate=$fps:duration=$seconds:nb_colors=4"
background+=":c0=0x0b1d51:c1=0x5b2a86:c2=0x0f7c8c:c3=0xb4507a:seed=7:speed=0.008"
hue="hue=h='$((360 / (seconds / chapter)))*floor(n/$((fps * chapter)))'"
picture="$background,format=yuv420p,$hue"
for f in "${filters[@]}"; do picture+=",$f"; done
picture+="[v]"

# ---- The sound --------------------------------------------------------------
# A note for each ten seconds and a soft tick for each second. The frequencies
# are whole numbers, so that the phase is zero at each change and nothing clicks.

note="between(c,0,0)*262+between(c,1,1)*294+between(c,2,2)*330"
note+="+between(c,3,3)*392+between(c,4,4)*440+between(c,5,5)*524"
note=${note//(c,/(floor(t/$chapter),}
sound="aevalsrc=exprs='0.10*sin(2*PI*t*($note))+0.04*sin(4*PI*t*($note))"
sound+="+0.12*sin(2*PI*t*1320)*exp(-45*mod(t,1))':s=44100:d=$seconds[a]"

printf '%s;\n%s\n' "$picture" "$sound" >"$tmp/graph"

# ---- Encoding ---------------------------------------------------------------
# Bitexact flags keep encoder names and times out of the file; filter_units
# takes out the SEI in which x264 writes its version.

encode() { # pass, then the rest of the arguments
    local pass=$1
    shift
    ffmpeg -nostdin -hide_banner -loglevel error -y -filter_complex_threads 1 \
        -filter_complex_script "$tmp/graph" -sws_flags bitexact+accurate_rnd \
        -map '[v]' -c:v libx264 -profile:v main -level:v 3.1 -pix_fmt yuv420p \
        -preset slow -bf 0 -threads:v 1 -b:v "${video_kbit}k" \
        -g $((fps * keyframe_every)) -keyint_min $((fps * keyframe_every)) -sc_threshold 0 \
        -pass "$pass" -passlogfile "$tmp/x264" -flags:v +bitexact "$@"
}

encode 1 -map '[a]' -c:a pcm_s16le -f null -
encode 2 -bsf:v filter_units=remove_types=6 \
    -map '[a]' -c:a aac -b:a "${audio_kbit}k" -ac 1 -threads:a 1 -flags:a +bitexact \
    -map_metadata -1 -map_chapters -1 -fflags +bitexact -f mp4 "$tmp/clip.mp4"

# ---- Checks -----------------------------------------------------------------

fail() {
    echo "make-clip: $*" >&2
    exit 1
}
probe() { ffprobe -v error -of csv=p=0 "$@" "$tmp/clip.mp4"; }

size=$(stat -c %s "$tmp/clip.mp4")
((size >= min_bytes && size <= max_bytes)) ||
    fail "size $size is not between $min_bytes and $max_bytes"

duration=$(probe -show_entries format=duration)
awk -v d="$duration" -v want=$seconds 'BEGIN { exit !(d > want - 0.1 && d < want + 0.1) }' ||
    fail "duration is $duration s, not $seconds s"

video=$(probe -select_streams v -show_entries stream=codec_name,profile,pix_fmt)
[[ $video == h264,Main,yuv420p ]] || fail "video is $video"
audio=$(probe -select_streams a -show_entries stream=codec_name)
[[ $audio == aac ]] || fail "audio is $audio"

keyframes=$(probe -select_streams v -show_entries packet=pts_time,flags |
    awk -F, '$2 ~ /K/ { printf "%g ", $1 }')
wanted=$(seq -s ' ' 0 $keyframe_every $((seconds - 1)))
[[ $keyframes == "$wanted " ]] || fail "keyframes are at: $keyframes"

# The order of the top-level atoms: each starts with its length and its name.
atoms=
offset=0
while ((offset < size)); do
    read -r a b c d < <(od -An -tu1 -j $offset -N 4 "$tmp/clip.mp4")
    name=$(tail -c +$((offset + 5)) "$tmp/clip.mp4" | head -c 4 || true)
    length=$((a << 24 | b << 16 | c << 8 | d))
    ((length >= 8)) || fail "atom $name at $offset has length $length"
    atoms+="$name "
    offset=$((offset + length))
done
[[ $atoms == *mdat*moov* && $atoms != *moov*mdat* ]] || fail "moov is not behind mdat: $atoms"

mkdir -p "$(dirname "$out")"
cp "$tmp/clip.mp4" "$out"
echo "$out: $size bytes, $duration s, atoms: $atoms"
sha256sum "$out" | cut -d ' ' -f 1
