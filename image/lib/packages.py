"""Debian's packages: chosen by image/packages, pinned by image/packages.lock, fetched by apt, and
unpacked without running anything of theirs."""

import hashlib
import os
import shutil
from urllib.parse import unquote

from common import CACHE, IMAGE, Failure, listed, run, say

LOCK = IMAGE / "packages.lock"
MIRROR = os.environ.get("SOLOIST_DEBIAN", "http://deb.debian.org")
SUITES = [("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security"),
          ("debian", "trixie-backports")]
KERNEL_OF = "linux-image-arm64/trixie-backports"


def write_lock():
    apt = Apt()
    apt.update()
    lines = []
    for name, version, sha256, size in apt.candidates(wanted(apt)):
        lines.append(f"{name} {version} {sha256} {size}\n")
    head = "# Written by `image/build --lock`: name, version, SHA-256 and bytes of each package.\n"
    LOCK.write_text(head + "".join(sorted(lines)))
    say(f"{len(lines)} packages in {LOCK}")


def wanted(apt):
    kernel = apt.kernel()
    return [name.replace("%KERNEL%", kernel) for name in listed("packages")]


def fetch(newer):
    """The packages of the lock as [(name, version, sha256, file)], from the cache or Debian."""
    store = CACHE / "packages"
    store.mkdir(parents=True, exist_ok=True)
    locked = [line.split() for line in listed("packages.lock")]
    check_names(locked)
    have, missing = [], []
    for name, version, sha256, _ in locked:
        file = store / f"{name}_{version.replace(':', '%3a')}_{sha256[:16]}.deb"
        (have if file.exists() and hash_of(file) == sha256 else missing).append((name, version, sha256, file))
    if missing:
        say(f"Fetching {len(missing)} packages")
        have += Apt().download(missing, store, newer)
    return sorted(have)


def check_names(locked):
    """The list and its lock must be about the same packages."""
    names = {name for name, *_ in locked}
    kernel = next((name.removeprefix("linux-binary-") for name in names if name.startswith("linux-binary-")), "")
    asked = {line.split("/")[0].replace("%KERNEL%", kernel) for line in listed("packages")}
    if names != asked:
        raise Failure(f"image/packages.lock is not up to date ({', '.join(sorted(names ^ asked))}). "
                      "Say: image/build --lock")


def unpack(fetched, tree):
    say(f"Unpacking {len(fetched)} packages")
    shutil.rmtree(tree, ignore_errors=True)
    # Debian's merged /usr: the links must be there before the first package.
    for name in ["bin", "sbin", "lib"]:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for *_, file in fetched:
        archive = run("dpkg-deb", "--fsys-tarfile", file)
        run("tar", "-x", "-C", tree, "--keep-directory-symlink", "--no-same-owner", stdin=archive)


def hash_of(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Apt:
    """apt with directories of its own, so that the host's settings and packages play no part."""

    def __init__(self):
        home = CACHE / "apt"
        for name in ["lists/partial", "archives/partial"]:
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / "status").touch()
        signed = "[arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        (home / "sources.list").write_text("".join(
            f"deb {signed} {MIRROR}/{archive} {suite} main non-free-firmware\n" for archive, suite in SUITES))
        settings = {
            "APT::Architecture": "arm64", "APT::Architectures": "arm64", "Acquire::Languages": "none",
            "APT::Sandbox::User": "root" if os.getuid() == 0 else "",
            "Dir::State": home, "Dir::State::status": home / "status", "Dir::Cache": home,
            "Dir::Etc::sourcelist": home / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
        }
        (home / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
        self.environment = os.environ | {"APT_CONFIG": str(home / "apt.conf"), "LC_ALL": "C"}

    def run(self, *command, **options):
        return run(*command, env=self.environment, **options).decode()

    def update(self):
        say("Reading Debian's lists of packages")
        self.run("apt-get", "-q", "update")

    def kernel(self):
        image = KERNEL_OF.split("/")[0]
        shown = self.run("apt-get", "-q", "--print-uris", "download", KERNEL_OF).split("'")[1]
        version = unquote(shown.rsplit("/", 1)[1]).split("_")[1]
        # The file's name lacks the epoch, and this package has none.
        depends = self.run("apt-cache", "show", f"{image}={version}")
        for word in depends.replace(",", " ").split():
            if word.startswith("linux-image-") and word.removeprefix("linux-image-")[:1].isdigit():
                return word.removeprefix("linux-image-")
        raise Failure(f"{image} {version} names no kernel.")

    def candidates(self, names):
        """(name, version, sha256, size) of what would be downloaded."""
        for line in self.run("apt-get", "-q", "--print-uris", "download", *names).splitlines():
            if line.startswith("'"):
                _, file, size, digest = line.split()
                name, version, _ = unquote(file).split("_")
                yield name, version, digest.removeprefix("SHA256:"), size

    def download(self, missing, store, newer):
        """Fetches exactly these, or with `newer` the present version where one is gone."""
        self.update()
        fetched = []
        work = CACHE / "download"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        available = {f"{name}={version}" for name, version, *_ in missing} & self.known(missing)
        for name, version, sha256, file in missing:
            exact = f"{name}={version}" in available
            if not exact and not newer:
                raise Failure(f"Debian's mirrors no longer have {name} {version}. Say: image/build --lock, and "
                              "look at what it changes; or build with --newer.")
            if not exact:
                suite = "/trixie-backports" if name.startswith("linux-") else ""
                name_is, version, sha256, _ = next(iter(self.candidates([name + suite])))
                say(f"NOT the locked version: {name_is} {version}")
                file = store / f"{name}_{version.replace(':', '%3a')}_{sha256[:16]}.deb"
            fetched.append((name, version, sha256, file))
        self.run("apt-get", "-q", "download", *[f"{name}={version}" for name, version, *_ in fetched], cwd=work)
        by_hash = {hash_of(file): file for file in work.glob("*.deb")}
        for name, version, sha256, file in fetched:
            if sha256 not in by_hash:
                raise Failure(f"{name} {version} is not the file that the lock names: its SHA-256 differs.")
            by_hash[sha256].rename(file)
        return fetched

    def known(self, packages):
        listed = self.run("apt-cache", "madison", *[name for name, *_ in packages])
        lines = [[field.strip() for field in line.split("|")] for line in listed.splitlines()]
        return {f"{line[0]}={line[1]}" for line in lines if len(line) >= 2}
