#!/bin/sh
# Prints how many cycles a hash takes on the processors of the boards, as LLVM models them, from the
# assembly that the compiler makes of src/hash. A model knows no caches, and the one of the A57 stands
# for the A72, the one of the Neoverse N1 for the A76: figures to compare code by, not to promise.
#
#   tests/tools/modelled-cycles.sh [--check] [-- FLAGS FOR RUSTC]
#
# With --check it fails if a figure is above its target. Needs llvm-mca (Debian: llvm-22 or newer) and
# a compiler for aarch64-unknown-linux-gnu as described in cross.toml; CARGO, RUSTC and LLVM_MCA choose
# other programs than those on the path.
set -eu
cd "$(dirname "$0")/../hash-alone"

check=no
if [ "${1:-}" = --check ]; then check=yes; shift; fi
if [ "${1:-}" = -- ]; then shift; fi

mca=${LLVM_MCA:-$(ls /usr/bin/llvm-mca-* 2>/dev/null | sort -t- -k3 -n | tail -n 1)}
mca=${mca:-llvm-mca}
target=aarch64-unknown-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${CARGO:-cargo}" --config ../../cross.toml rustc --quiet --locked --release --lib --target $target \
    -- --emit "asm=$work/soloist.s" "$@"

# body MODULE FUNCTION: the instructions of a function. The model reads them from top to bottom, so
# that a branch or a call before the end would make its figure meaningless.
body() {
    awk -v module="$1" -v name="$2" '
        /^[A-Za-z_]/ && index($0, module) && index($0, name) { inside = 1; found = 1; next }
        inside && /^\.Lfunc_end/ { exit }
        inside && $1 ~ /^(b|bl|br|blr|b\..*|cbn?z|tbn?z)$/ { found = 0; exit }
        inside && /^[ \t]+[a-z]/
        END { if (!found) exit 1 }
    ' "$work"/soloist*.s || { echo "no function $2 in $1 without branches" >&2; exit 1; }
}

# cycles CPU FILE HASHES CALLS: cycles per hash, where CALLS calls of the function make HASHES hashes.
cycles() {
    "$mca" -mtriple=aarch64 -mattr=+sha2 -mcpu="$1" -iterations=100 "$2" 2>"$work/err" |
        awk -v hashes="$3" -v calls="$4" '
            /^Total Cycles:/ { printf "%.0f", $3 / 100 * calls / hashes; found = 1 }
            END { if (!found) exit 1 }
        ' || { cat "$work/err" >&2; exit 1; }
}

failed=no

# row TITLE MODULE FUNCTION HASHES CALLS TARGETS...: a dash where there is no target.
row() {
    title=$1 file=$work/$2-$3.s hashes=$4 calls=$5
    body "$2" "$3" >"$file"
    shift 5
    printf '%-30s %12s' "$title" "$(awk -v n="$(wc -l <"$file")" -v h="$hashes" -v c="$calls" \
        'BEGIN { printf "%.0f", n * c / h }')"
    for cpu in cortex-a53 cortex-a57 neoverse-n1; do
        value=$(cycles $cpu "$file" "$hashes" "$calls")
        mark=
        if [ "$1" != - ] && [ "$value" -gt "$1" ]; then mark=' > '$1; failed=yes; fi
        printf ' %18s' "$value$mark"
        shift
    done
    echo
}

printf '%-30s %12s %18s %18s %18s\n' "modelled, per hash" instructions \
    "cycles: A53" "A57 (for A72)" "N1 (for A76)"
row "header, scalar"              soft  compress_block 1 2 - - -
row "header, NEON, 4 lanes"       neon  four_pass      4 1 1497 665 -
row "header, NEON, 4 + 1 lanes"   neon  five_pass      5 1 - 665 -
row "header, SHA2, 2 ways"        armv8 any_passes     2 1 - - 118
row "merkle pair, scalar"         soft  compress_block 1 3 - - -
row "merkle pair, NEON, 4 lanes"  neon  hash_four_pairs 4 1 2287 1090 -
row "merkle pair, NEON, 4 + 1"    neon  hash_five_pairs 5 1 - 1090 -
row "merkle pair, SHA2, 2 ways"   armv8 hash_two_pairs 2 1 - - -
row "header, SHA2, 1 way"         armv8 one_passes     1 1 - - -
row "merkle pair, SHA2, 1 way"    armv8 hash_one_pair  1 1 - - -

if [ $check = yes ] && [ $failed = yes ]; then
    echo "a figure is above its target" >&2
    exit 1
fi
