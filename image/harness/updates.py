"""Update files for the tests: the root that image/build left, with another version, or broken."""

import shutil
import subprocess

import disk
import keys


def make(out, target, version, broken=None):
    work = out / "work"
    tree = work / "update-tree"
    shutil.rmtree(tree, ignore_errors=True)
    # Links instead of copies: what is changed is removed first.
    subprocess.run(["cp", "-al", work / "tree", tree], check=True)
    file = tree / "usr/share/soloist/version"
    file.unlink()
    file.write_text(f"VERSION={version}\n")
    kernel = next((tree / "usr/lib/modules").iterdir()).name
    squashfs = work / "update.squashfs"
    if broken == "daemon":
        # Everything starts, and nobody mines.
        program = tree / "usr/bin/soloist"
        program.unlink()
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    if broken == "init":
        # Looks like a system, and its first program is none: the kernel panics.
        program = tree / "usr/lib/systemd/systemd"
        program.unlink()
        program.write_text("#!/nowhere\n")
        program.chmod(0o755)
    squashfs.unlink(missing_ok=True)
    subprocess.run(["mksquashfs", tree, squashfs, "-comp", "zstd", "-Xcompression-level", "3", "-all-root", "-noappend",
                    "-no-progress", "-quiet"], check=True, stdout=subprocess.DEVNULL)
    if broken == "garbage":
        squashfs.write_bytes(bytes(1 << 20))
    shutil.rmtree(tree)
    return keys.sign(disk.update_file(squashfs, work / "boot", kernel, version, target, work / "update-boot.tar"))
