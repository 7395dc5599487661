# Read by the scripts that run tests: what they say, how they end, and Debian's packages.
# shellcheck shell=bash

cache="$HOME/.cache/soloist-tests"

# What is built here is built once: the states that cargo keeps for the next change would only fill
# the disk.
export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"

# Tests as they are run here, by cargo's names for them. With this level they are built in two minutes more
# of one core, and the models, which walk through years of virtual time, need a quarter of the time: `cargo
# test` alone is for whoever waits for one test. A test that hangs fails here, after three times what the
# longest of these calls needs, and not when the patience of whoever called has ended.
test_soloist() {
    # At a terminal, who presses Ctrl-C means the tests as well.
    local here=()
    [ ! -t 0 ] || here=(--foreground)
    timeout "${here[@]}" "${limit:-2400}" cargo test --locked --config 'profile.dev.package.soloist.opt-level=1' "$@"
}

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\n** %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages PACKAGE...: with $install = no, only says what is missing.
install_packages() {
    [ $# -gt 0 ] || return 0
    [ "$install" = yes ] || fail "missing packages: $*"
    command -v apt-get >/dev/null || fail "please install what Debian calls: $*"
    say "Installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@"
}

# room GIGABYTES: a full disk fails a build half an hour in, with words that nobody understands.
room() {
    local free
    free=$(df --output=avail -BG . | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge "$1" ] || fail "too little room on the disk: $free GB are free, $1 GB are needed"
}
