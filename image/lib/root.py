"""The root file system: Debian's files without what the box does not need, and our own files over
them. Nothing of it is ever run on the machine that builds, and nothing in it is written in use."""

import os
import shutil
import stat

from boards import gathered
from common import IMAGE, REPOSITORY, Failure, listed, owners_file, reproducible, run, say, source_date

UNITS = "usr/lib/systemd/system"
ENABLED = {
    "multi-user.target": ["soloist.service", "soloist-import.service", "soloist-ssh.service",
                          "soloist-console.service", "soloist-clock.service", "soloist-request.path",
                          "soloist-devices.service", "soloist-grow.service",
                          "soloist-pair.service", "soloist-pair.path",
                          "systemd-networkd.service", "avahi-daemon.service"],
    "sysinit.target": ["systemd-resolved.service", "systemd-timesyncd.service", "soloist-drivers.service"],
    "sockets.target": ["systemd-networkd.socket"],
    "soloist.service": ["soloist-good.service"],
    "sys-subsystem-net-devices-wlan0.device": ["soloist-wifi.service"],
}


def prepare(tree, kernel, boards, binary, keepalived, public_key, version, as_locked=True):
    """`as_locked`: whether the packages in the tree are those that image/not-in-root was written for."""
    say("The root")
    keep_modules(tree, kernel, boards)
    remove_listed(tree, as_locked)
    busybox_links(tree)
    certificates(tree)
    # Debian's postinst would copy these.
    our_files(tree, binary, keepalived, public_key, version)
    units(tree)
    check_libraries(tree)


def pack(tree, file):
    say("The root as squashfs")
    file.unlink(missing_ok=True)
    date = str(source_date())
    # The times are the options' work: mksquashfs takes either them or SOURCE_DATE_EPOCH.
    environment = {key: value for key, value in reproducible().items() if key != "SOURCE_DATE_EPOCH"}
    run("mksquashfs", tree, file, "-comp", "zstd", "-Xcompression-level", "19", "-b", "256K", "-all-root", "-noappend",
        "-no-progress", "-no-exports", "-no-xattrs", "-mkfs-time", date, "-all-time", date, env=environment)
    return file


def keep_modules(tree, kernel, boards):
    """Removes every kernel module that no board asks for. A name that does not exist is a mistake."""
    names = gathered(boards, "boot", "modules") + gathered(boards, "boot", "early_modules") + listed("modules")
    modules = tree / "usr/lib/modules" / kernel
    keep = set(needed(tree, kernel, names))
    for file in modules.glob("kernel/**/*.ko*"):
        if str(file.relative_to(modules)) not in keep:
            file.unlink()
    for name in ["dtb", "config", "vmlinuz", "System.map", "modules.builtin.modinfo"]:
        path = modules / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    remove_empty(modules)
    (modules / "modules.order").write_text("")
    run("depmod", "-b", tree, kernel)


def needed(tree, kernel, names):
    """The files of these modules and of what they need, each after what it needs; none for what is
    part of the kernel."""
    modules = tree / "usr/lib/modules" / kernel
    if not (modules / "modules.dep").exists():
        run("depmod", "-b", tree, kernel)
    stem = lambda path: path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")
    built_in = {stem(line) for line in (modules / "modules.builtin").read_text().split()}
    depends, file_of = {}, {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, others = line.split(":")
        depends[file] = others.split()
        file_of[stem(file)] = file
    found = []

    def add(file):
        for other in reversed(depends[file]):
            add(other)
        if file not in found:
            found.append(file)

    for name in names:
        plain = name.replace("-", "_")
        if plain in file_of:
            add(file_of[plain])
        elif plain not in built_in:
            raise Failure(f"There is no kernel module {name} in {kernel}.")
    return found


def remove_listed(tree, as_locked):
    for pattern in listed("not-in-root"):
        found = list(tree.glob(pattern))
        if not found and as_locked:
            raise Failure(f"image/not-in-root names {pattern}, and nothing is there.")
        if not found:
            # Another version of a package may do without it: no reason not to build.
            say(f"image/not-in-root names {pattern}, which the newer packages do not have")
        for path in found:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    firmware = tree / "usr/lib/firmware"
    keep = listed("firmware")
    for file in [file for file in firmware.glob("**/*") if not file.is_dir() or file.is_symlink()]:
        if not any(file.match(pattern) for pattern in keep):
            file.unlink()
    remove_empty(firmware)
    broken = [file for file in firmware.glob("**/*") if file.is_symlink() and not file.exists()]
    if broken:
        raise Failure(f"Firmware is missing behind {broken[0]}.")


def remove_empty(top):
    for folder, _, _ in os.walk(top, topdown=False):
        if not os.listdir(folder) and folder != str(top):
            os.rmdir(folder)


def busybox_links(tree):
    """Everyday commands by busybox, wherever no package brought its own."""
    for name in listed("busybox"):
        path = tree / "usr/bin" / name
        if not path.exists() and not path.is_symlink() and not (tree / "usr/sbin" / name).exists():
            path.symlink_to("busybox")


def certificates(tree):
    """What update-ca-certificates would have made."""
    certificates = sorted((tree / "usr/share/ca-certificates").glob("**/*.crt"))
    folder = tree / "etc/ssl/certs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca-certificates.crt").write_bytes(b"".join(file.read_bytes() for file in certificates))
    shutil.rmtree(tree / "usr/share/ca-certificates")


def our_files(tree, binary, keepalived, public_key, version):
    copy_ours(IMAGE / "root", tree)
    share = tree / "usr/share/soloist"
    share.mkdir(parents=True)
    (share / "soloist.toml").write_text(owners_file())
    copy(public_key, share / "update.pub")
    (share / "version").write_text(f"VERSION={version}\n")
    copy(binary, tree / "usr/bin/soloist")
    copy(keepalived, tree / "usr/sbin/keepalived")
    for file, place in [("soloist.service", UNITS), ("soloist-pair.service", UNITS), ("soloist-pair.path", UNITS),
                        ("soloist-pair-settings.service", UNITS), ("journald.conf", "usr/lib/systemd/journald.conf.d"),
                        ("soloist.tmpfiles", "usr/lib/tmpfiles.d")]:
        target = tree / place / {"journald.conf": "soloist.conf", "soloist.tmpfiles": "soloist.conf"}.get(file, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(REPOSITORY / "systemd" / file, target)
    services = tree / "etc/avahi/services"
    services.mkdir(parents=True, exist_ok=True)
    for file in (REPOSITORY / "systemd/avahi").glob("*.service"):
        copy(file, services)
    for folder in ["boot", "data", "dev", "home", "proc", "root", "run", "sys", "tmp", "var", "new"]:
        (tree / folder).mkdir(exist_ok=True)
    for link, target in {"etc/soloist": "/data/config", "etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf",
                         "root/.ssh": "/run/ssh", "usr/bin/sh": "busybox", "etc/mtab": "../proc/self/mounts",
                         "usr/sbin/init": "../lib/systemd/systemd"}.items():
        path = tree / link
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    # The first program puts the box's own over it.
    (tree / "etc/machine-id").write_text("uninitialized\n")
    (tree / "etc/shadow").chmod(0o640)
    (tree / "new").rmdir()
    for path in tree.glob("**/*"):
        if not path.is_symlink() and path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
            path.chmod(0o755)  # nobody needs another's rights here


def copy_ours(top, tree):
    """A folder of ours over what is there."""
    for source in sorted(top.rglob("*")):
        target = tree / source.relative_to(top)
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.unlink(missing_ok=True)
            copy(source, target)


def copy(source, target):
    """A file of ours. Of its rights only whether it is a program counts: git keeps no others, and a checkout
    has those of who made it."""
    if target.is_dir():
        target /= source.name
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)


def units(tree):
    for target, names in ENABLED.items():
        wants = tree / "etc/systemd/system" / f"{target}.wants"
        wants.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not (tree / UNITS / name).exists():
                raise Failure(f"There is no unit {name} to enable.")
            (wants / name).symlink_to(f"/{UNITS}/{name}")
    default = tree / "etc/systemd/system/default.target"
    default.symlink_to(f"/{UNITS}/multi-user.target")
    for name in listed("masked"):
        found = list((tree / UNITS).glob(name))
        if not found:
            raise Failure(f"There is no unit {name} to mask.")
        for unit in found:
            mask = tree / "etc/systemd/system" / unit.name
            mask.unlink(missing_ok=True)
            mask.symlink_to("/dev/null")


def check_libraries(tree):
    """Every library that a program names must be there: no package was left out by mistake."""
    there = {file.name for file in tree.glob("usr/lib/**/*.so*")}
    for file in tree.glob("usr/**/*"):
        if file.is_symlink() or not file.is_file() or file.suffix == ".ko":
            continue
        with open(file, "rb") as opened:
            if opened.read(4) != b"\x7fELF":
                continue
        dynamic = run("aarch64-linux-gnu-readelf", "-d", file).decode()
        for line in dynamic.splitlines():
            if "(NEEDED)" in line:
                library = line.split("[")[1].rstrip("]")
                if library not in there:
                    raise Failure(f"/{file.relative_to(tree)} needs {library}, which no package brings.")
