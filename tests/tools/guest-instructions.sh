#!/bin/sh
# Counts the instructions that the hash backends take on 64-bit ARM: a program is run under qemu, which
# logs each instruction that it executes, once for 100 hashes and once for 200. The difference is the
# price of 100 hashes; what the program does besides falls out of it.
#
#   tests/tools/guest-instructions.sh
#
# Needs qemu-aarch64-static and a compiler as described in cross.toml; CARGO, RUSTC and QEMU choose
# other programs than those on the path.
set -eu
cd "$(dirname "$0")/../hash-alone"

qemu=${QEMU:-qemu-aarch64-static}
target=aarch64-unknown-linux-gnu
"${CARGO:-cargo}" --config ../../cross.toml build --quiet --locked --release --example hash \
    --target $target
program=target/$target/release/examples/hash

# One instruction at a time, each of them logged: qemu 8.1 has renamed the option.
one=-one-insn-per-tb
"$qemu" -h | grep -q -e "$one" || one=-singlestep

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# count BACKEND WHAT NUMBER
count() {
    "$qemu" $one -d exec,nochain -D "$log" "$program" "$@"
    wc -l <"$log"
}

printf '%-10s %22s %22s\n' "counted" "instructions: header" "merkle pair"
for backend in soft neon neon+1 armv8; do
    printf '%-10s' $backend
    for what in headers pairs; do
        printf ' %22s' $((($(count $backend $what 200) - $(count $backend $what 100)) / 100))
    done
    echo
done
