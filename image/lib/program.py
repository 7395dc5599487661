"""The cross-compiled program, with the same bytes from every build of one commit."""

import os
import subprocess
import tomllib
from pathlib import Path

from common import REPOSITORY, Failure, reproducible, run, say

TARGET = "aarch64-unknown-linux-gnu"


def version():
    return tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]["version"]


def build():
    say("The program for 64-bit ARM")
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    cargo, environment = toolchain()
    command = [cargo, "--config", "cross.toml", "build", "--release", "--locked", "--no-default-features",
               "--target", TARGET, "--target-dir", target]
    # Its progress is worth seeing: it takes minutes the first time.
    if subprocess.run(command, cwd=REPOSITORY, env=environment).returncode != 0:
        raise Failure("The program does not build for 64-bit ARM. Say: image/install-tools")
    binary = target / TARGET / "release/soloist"
    forbid_paths(binary)
    return binary


def toolchain():
    """Debian's own Rust where it has the target's library, else rustup's."""
    environment = reproducible()
    home = Path(environment.get("CARGO_HOME", Path.home() / ".cargo"))
    # Neither the place of the sources nor of the crates may show in the program.
    moved = {str(home): "/cargo", str(REPOSITORY): "/soloist"}
    rust = [f"--remap-path-prefix={old}={new}" for old, new in moved.items()]
    # ZeroMQ is C++. The little that it uses of the standard library goes into the program: shared, that
    # library would be a megabyte more of memory, for one user.
    cpp = run("aarch64-linux-gnu-g++", "-print-file-name=libstdc++.a").decode().strip()
    rust.append(f"-Lnative={Path(cpp).parent}")
    c = " ".join(f"-ffile-prefix-map={old}={new}" for old, new in moved.items())
    environment |= {
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(rust),
        "CFLAGS_aarch64_unknown_linux_gnu": c,
        "CXXFLAGS_aarch64_unknown_linux_gnu": c,
        "CXXSTDLIB_aarch64_unknown_linux_gnu": "static=stdc++",
        "CARGO_INCREMENTAL": "0",
        # Told on the page.
        "SOLOIST_COMMIT": commit(),
    }
    if list(Path("/usr/lib").glob(f"rustlib/{TARGET}/lib/libstd-*.rlib")):
        return "/usr/bin/cargo", environment | {"RUSTC": "/usr/bin/rustc", "RUSTDOC": "/usr/bin/rustdoc"}
    return "cargo", environment


def commit():
    """The commit's short name; nothing where the sources come without their history."""
    try:
        return run("git", "-C", REPOSITORY, "rev-parse", "--short=7", "HEAD").decode().strip()
    except Failure:
        return ""


def forbid_paths(binary):
    if str(REPOSITORY).encode() in binary.read_bytes():
        raise Failure(f"{binary} contains the path of this directory, so it cannot be reproduced elsewhere.")
