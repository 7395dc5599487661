"""The boot partition's files: firmware, kernel, device trees, and the first program (initramfs)."""

import gzip
import lzma
import shutil

from boards import gathered
from common import IMAGE, Failure, listed, owners_file, reproducible, run, say, source_date
from root import copy, needed


def kernel_version(tree):
    versions = [path.name for path in (tree / "usr/lib/modules").iterdir()]
    if len(versions) != 1:
        raise Failure(f"There must be one kernel, not {len(versions)}.")
    return versions[0]


def prepare(tree, kernel, boards, version, work):
    """Writes the folder that becomes the FAT partition, and returns it."""
    say("Kernel and first program")
    folder = work / "boot"
    shutil.rmtree(folder, ignore_errors=True)
    slot = folder / "a"
    slot.mkdir(parents=True)
    modules = tree / "usr/lib/modules" / kernel
    (slot / "kernel8.img").write_bytes(gzip.compress((modules / "vmlinuz").read_bytes(), 9, mtime=0))
    for dtb in gathered(boards, "boot", "device_trees"):
        source = modules / "dtb/broadcom" / dtb["file"]
        if not source.exists():
            raise Failure(f"The kernel has no device tree {dtb['file']}.")
        for name in [dtb["file"], *dtb["also"]]:
            shutil.copy(source, slot / name)
    shutil.copy(IMAGE / "boot/cmdline.txt", slot)
    initramfs(tree, kernel, boards, work, slot / "initramfs.zst")
    for name in gathered(boards, "boot", "firmware"):
        shutil.copy(tree / "usr/lib/raspi-firmware" / name, folder)
    shutil.copy(IMAGE / "boot/config.txt", folder)
    (folder / "soloist.toml").write_text(owners_file())
    (folder / "version.txt").write_text(f"Soloist {version}\r\n")
    return folder


def initramfs(tree, kernel, boards, work, target):
    top = work / "initramfs"
    shutil.rmtree(top, ignore_errors=True)
    for name in ["bin", "sbin", "modules", "lib"]:
        (top / name).mkdir(parents=True)
    copy(IMAGE / "initramfs/init", top)
    shutil.copy(tree / "usr/bin/busybox", top / "bin")
    for name in listed("initramfs/busybox"):
        (top / "bin" / name).symlink_to("busybox")
    shutil.copy(tree / "usr/sbin/e2fsck", top / "sbin")
    libraries(tree, top)
    order = needed(tree, kernel, gathered(boards, "boot", "early_modules") + listed("initramfs/modules"))
    for file in order:
        packed = (tree / "usr/lib/modules" / kernel / file).read_bytes()
        (top / "modules" / file.rsplit("/", 1)[1].removesuffix(".xz")).write_bytes(lzma.decompress(packed))
    (top / "modules/order").write_text("".join(f"{file.rsplit('/', 1)[1].removesuffix('.xz')}\n" for file in order))
    names = sorted(str(path.relative_to(top)) for path in top.glob("**/*"))
    run("find", top, "-exec", "touch", "-h", "-d", f"@{source_date()}", "{}", "+")
    archive = run("cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "--reproducible", stdin="\n".join(names).encode(), cwd=top,
                  env=reproducible())
    target.write_bytes(run("zstd", "-19", "-T0", "-c", stdin=archive))


def libraries(tree, top):
    """The C library and what else the programs in sbin name, with what those name."""
    waiting = list((top / "sbin").iterdir())
    while waiting:
        dynamic = run("aarch64-linux-gnu-readelf", "-ld", waiting.pop()).decode()
        for line in dynamic.splitlines():
            name = line.split("[")[1].rstrip("]") if "(NEEDED)" in line else None
            if name and not (top / "lib" / name).exists():
                found = [path for path in tree.glob(f"usr/lib/**/{name}")]
                if not found:
                    raise Failure(f"The first program needs {name}, which no package brings.")
                shutil.copy(found[0], top / "lib" / name)
                waiting.append(top / "lib" / name)
