"""The cross-compiled program, with the same bytes from every build of one commit."""

import os
import subprocess
import tomllib
from pathlib import Path

from common import REPOSITORY, Failure, reproducible, run, say

TARGET = "aarch64-unknown-linux-gnu"
# By Debian's name for the architecture: Rust's, and the compiler for ZeroMQ, which is C++.
TARGETS = {"arm64": (TARGET, "aarch64-linux-gnu-g++"), "amd64": ("x86_64-unknown-linux-gnu", "x86_64-linux-gnu-g++")}


def version():
    return tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]["version"]


def build(architecture="arm64", demo=False):
    """With `demo`, the sandbox of `soloist demo` is in it, which the box does without. It takes the place of the
    last program for that architecture."""
    say(f"The program for {architecture}{', with the demo' if demo else ''}")
    target, compiler = TARGETS[architecture]
    place = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    cargo, environment = toolchain(target, compiler)
    command = [cargo, "--config", "cross.toml", "build", "--profile", "dist", "--locked", "--no-default-features",
               "--features", features(demo), "--target", target, "--target-dir", place]
    # Its progress is worth seeing: it takes minutes the first time.
    if subprocess.run(command, cwd=REPOSITORY, env=environment).returncode != 0:
        raise Failure(f"The program does not build for {architecture}. Say: image/install-tools")
    binary = place / target / "dist/soloist"
    forbid_paths(binary)
    return binary


def features(demo):
    return "installed,demo" if demo else "installed"


def toolchain(target, compiler):
    """Debian's own Rust where it has the target's library, else rustup's."""
    environment = reproducible()
    home = Path(environment.get("CARGO_HOME", Path.home() / ".cargo"))
    # Neither the place of the sources nor of the crates may show in the program.
    moved = {str(home): "/cargo", str(REPOSITORY): "/soloist"}
    rust = [f"--remap-path-prefix={old}={new}" for old, new in moved.items()]
    # ZeroMQ is C++. The little that it uses of the standard library goes into the program: shared, that
    # library would be a megabyte more of memory, for one user.
    cpp = run(compiler, "-print-file-name=libstdc++.a").decode().strip()
    rust.append(f"-Lnative={Path(cpp).parent}")
    c = " ".join(f"-ffile-prefix-map={old}={new}" for old, new in moved.items())
    of_target = target.replace("-", "_")
    environment |= {
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(rust),
        f"CFLAGS_{of_target}": c,
        f"CXXFLAGS_{of_target}": c,
        f"CXXSTDLIB_{of_target}": "static=stdc++",
        "CARGO_INCREMENTAL": "0",
        # Told on the page.
        "SOLOIST_COMMIT": commit(),
    }
    if list(Path("/usr/lib").glob(f"rustlib/{target}/lib/libstd-*.rlib")):
        return "/usr/bin/cargo", environment | {"RUSTC": "/usr/bin/rustc", "RUSTDOC": "/usr/bin/rustdoc"}
    return "cargo", environment


def compiler(architecture="arm64"):
    """Which compiler that is; another one makes other bytes."""
    _, environment = toolchain(*TARGETS[architecture])
    return run(environment.get("RUSTC", "rustc"), "--version", cwd=REPOSITORY).decode().strip()


def plain_environment():
    """Without what somebody has set for building this project, for tools that come from elsewhere."""
    ours = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_INCREMENTAL", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC"]
    return {key: value for key, value in os.environ.items() if key not in ours}


def commit():
    """The commit's short name; nothing where the sources come without their history."""
    try:
        # Not git's own short name, which is longer in a clone where seven characters are not enough.
        return run("git", "-C", REPOSITORY, "rev-parse", "HEAD").decode()[:7]
    except Failure:
        return ""


def forbid_paths(binary):
    if str(REPOSITORY).encode() in binary.read_bytes():
        raise Failure(f"{binary} contains the path of this directory, so it cannot be reproduced elsewhere.")
