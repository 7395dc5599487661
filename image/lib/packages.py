"""Debian's packages: chosen by image/packages, pinned by image/packages.lock, fetched by apt, and
unpacked without running anything of theirs."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import snapshot
from common import CACHE, IMAGE, Failure, listed, run, say

LOCK = IMAGE / "packages.lock"
MIRROR = os.environ.get("SOLOIST_DEBIAN", "http://deb.debian.org")
# How apt is to know that the lists are Debian's.
SIGNED = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = [("debian", "trixie"), ("debian", "trixie-updates"), ("debian-security", "trixie-security"),
          ("debian", "trixie-backports")]
KERNEL_OF = "linux-image-arm64/trixie-backports"
# In a name of image/packages, the kernel's version.
KERNEL = "%KERNEL%"


class Package(NamedTuple):
    """One package of exactly these bytes."""

    name: str
    version: str
    sha256: str
    size: int

    @property
    def file(self):
        """Where it lies once it is fetched."""
        return CACHE / "packages" / f"{self.name}_{self.version.replace(':', '%3a')}_{self.sha256[:16]}.deb"

    def is_here(self):
        return self.file.exists() and hash_of(self.file) == self.sha256

    def __str__(self):
        return f"{self.name} {self.version}"


class Difference(NamedTuple):
    """What was taken for a locked package that Debian no longer has."""

    locked: Package
    taken: Package

    def __str__(self):
        same = self.locked.name == self.taken.name
        return f"{self.locked} -> {self.taken.version if same else self.taken}"


def write_lock():
    apt = Apt()
    apt.update()
    packages = sorted(apt.candidates(listed("packages"), apt.kernel()))
    head = "# Written by `image/build --lock`: name, version, SHA-256 and bytes of each package.\n"
    LOCK.write_text(head + "".join(" ".join(map(str, package)) + "\n" for package in packages))
    say(f"{len(packages)} packages in {LOCK}")


def fetch(insist=False):
    """The locked packages, and a list of the differences: the newest of the same Debian release is taken
    where the locked one has left the mirrors, or with `insist` the locked one from Debian's archive of
    what was. A package that is here already needs neither."""
    packages, differences = locked(), []
    missing = [package for package in packages if not package.is_here()]
    if missing:
        say(f"Fetching {len(missing)} packages")
        (CACHE / "packages").mkdir(parents=True, exist_ok=True)
        apt = Apt()
        apt.update()
        gone = apt.gone(missing)
        if gone and insist:
            from_the_past(gone)
        elif gone:
            packages, differences = replaced(packages, gone, apt)
        apt.download([package for package in packages if not package.is_here()])
    return sorted(packages), differences


def locked():
    lines = [line.split() for line in listed("packages.lock")]
    packages = [Package(name, version, sha256, int(size)) for name, version, sha256, size in lines]
    check_names(packages)
    return packages


def check_names(packages):
    """The list and its lock must be about the same packages."""
    names, kernel = {package.name for package in packages}, kernel_of(packages)
    asked = {line.split("/")[0].replace(KERNEL, kernel) for line in listed("packages")}
    if names != asked:
        raise Failure(f"image/packages.lock is not up to date ({', '.join(sorted(names ^ asked))}). "
                      "Say: image/build --lock")


def kernel_of(packages):
    """The kernel's version, which is part of its packages' names; a word that is in no name if there is none."""
    names = [name for name, *_ in packages if name.startswith("linux-binary-")]
    return names[0].removeprefix("linux-binary-") if names else KERNEL


def from_the_past(gone):
    """Fetches exactly these from Debian's snapshot archive, all of them or it fails."""
    say(f"{len(gone)} locked packages have left Debian's mirrors: asking {snapshot.ARCHIVE}")
    lacking = [f"  {package}" for package in gone]
    try:
        for package in gone:
            content = snapshot.fetch(package.name, package.version, package.size)
            if hashlib.sha256(content).hexdigest() != package.sha256:
                raise snapshot.Missing(f"its {package} is not the file that the lock names")
            package.file.write_bytes(content)
            lacking.pop(0)
    except (snapshot.Unreachable, snapshot.Missing) as why:
        raise Failure("\n".join([
            "Debian's mirrors no longer have these locked packages:", *lacking,
            f"Its snapshot archive does not help: {why}.",
            "Without --locked, the newest of the same release are taken; image/build --lock locks those."])) from None


def replaced(packages, gone, apt):
    """The packages with Debian's present ones for those that are gone, and what differs.

    What Debian builds from one source belongs together, and is replaced together: a mirror that has one
    of its packages no more may still have another, and so may the cache."""
    kernel = kernel_of(packages)
    part_of = lambda package: KERNEL if kernel in package.name else package.name
    source = apt.sources([package.name for package in packages if part_of(package) != KERNEL]) | {KERNEL: KERNEL}
    of = lambda package: source.get(part_of(package), package.name)
    sources = {of(package) for package in gone}
    stale = {package.name.replace(kernel, KERNEL): package for package in packages if of(package) in sources}
    lines = [line for line in listed("packages") if line.split("/")[0] in stale]
    now = apt.kernel() if any(KERNEL in line for line in lines) else kernel
    taken = list(apt.candidates(lines, now))
    differences = [Difference(stale[package.name.replace(now, KERNEL)], package) for package in sorted(taken)]
    kept = [package for package in packages if package not in stale.values()]
    return kept + taken, [each for each in differences if each.locked != each.taken]


def tell(differences):
    """Says once more, where nobody overlooks it, what is not as locked."""
    if differences:
        say("NOT the locked versions, which have left Debian's mirrors (the manifest lists them, too):\n" +
            "\n".join(f"         {each}" for each in differences))


def unpack(fetched, tree):
    say(f"Unpacking {len(fetched)} packages")
    shutil.rmtree(tree, ignore_errors=True)
    # Debian's merged /usr: the links must be there before the first package.
    for name in ["bin", "sbin", "lib"]:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for package in fetched:
        archive = run("dpkg-deb", "--fsys-tarfile", package.file)
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
        (home / "sources.list").write_text("".join(
            f"deb [arch=arm64 {SIGNED}] {MIRROR}/{archive} {suite} main non-free-firmware\n" for archive, suite in SUITES))
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
        """The version of the present kernel, as it is part of its packages' names."""
        image = KERNEL_OF.split("/")[0]
        shown = self.run("apt-get", "-q", "--print-uris", "download", KERNEL_OF).split("'")[1]
        version = unquote(shown.rsplit("/", 1)[1]).split("_")[1]
        # The file's name lacks the epoch, and this package has none.
        depends = self.run("apt-cache", "show", f"{image}={version}")
        for word in depends.replace(",", " ").split():
            if word.startswith("linux-image-") and word.removeprefix("linux-image-")[:1].isdigit():
                return word.removeprefix("linux-image-")
        raise Failure(f"{image} {version} names no kernel.")

    def candidates(self, lines, kernel):
        """What apt would download now for lines of image/packages."""
        names = [line.replace(KERNEL, kernel) for line in lines]
        for line in self.run("apt-get", "-q", "--print-uris", "download", *names).splitlines():
            if line.startswith("'"):
                _, file, size, digest = line.split()
                name, version, _ = unquote(file).split("_")
                yield Package(name, version, digest.removeprefix("SHA256:"), int(size))

    def gone(self, packages):
        """Which of these the mirrors no longer have in this version."""
        told = self.run("apt-cache", "madison", *[package.name for package in packages])
        lines = [[field.strip() for field in line.split("|")] for line in told.splitlines()]
        there = {(line[0], line[1]) for line in lines if len(line) >= 2}
        return [package for package in packages if (package.name, package.version) not in there]

    def sources(self, names):
        """By package, the name of the source that Debian builds it from."""
        found, name = {}, ""
        for line in self.run("apt-cache", "show", "--no-all-versions", *names).splitlines():
            key, _, value = line.partition(": ")
            if key == "Package":
                name = value
                found[name] = name
            elif key == "Source":
                found[name] = value.split()[0]
        return found

    def download(self, packages):
        """Fetches exactly these."""
        if not packages:
            return
        work = Path(CACHE / "download")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        self.run("apt-get", "-q", "download", *[f"{package.name}={package.version}" for package in packages], cwd=work)
        by_hash = {hash_of(file): file for file in work.glob("*.deb")}
        for package in packages:
            if package.sha256 not in by_hash:
                raise Failure(f"{package} is not the file that the lock names: its SHA-256 differs.")
            by_hash[package.sha256].rename(package.file)
