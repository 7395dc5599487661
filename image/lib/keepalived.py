"""keepalived, by which two boxes share an address: built from Debian's source, with VRRP alone. Debian's own package
brings SNMP, GLib and Perl along, 13 MB of libraries and 4 MB of an image, for a program of 0.4 MB."""

import hashlib
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from typing import NamedTuple

import snapshot
from common import CACHE, Failure, reproducible, run, say

from packages import MIRROR

COMPILER = "aarch64-linux-gnu-gcc"
LEFT_OUT = ["lvs", "nftables", "iptables", "vrrp-auth", "routes", "track-process", "systemd", "linkbeat"]


class Source(NamedTuple):
    """One archive of sources of exactly these bytes."""

    name: str
    version: str
    sha256: str
    # By which Debian's snapshot archive knows it.
    sha1: str
    size: int
    licence: str

    @property
    def file(self):
        return f"{self.name}_{self.version}.orig.tar.gz"

    @property
    def url(self):
        return f"{MIRROR}/debian/pool/main/{self.name[0]}/{self.name}/{self.file}"


SOURCE = Source("keepalived", "2.3.3", "2288c5c7609fa452782b7acefa19acce742d0204dc17f54d36da46b10f8b590c",
                "79924c465ae9f3455d32146033f1f0a6cf1d46ef", 1236713, "GPL-2+")


def build(work):
    """The program, stripped, in a directory below `work`."""
    say(f"{SOURCE.name} {SOURCE.version}")
    archive = fetch(SOURCE)
    place = work / "keepalived"
    shutil.rmtree(place, ignore_errors=True)
    with tarfile.open(archive) as opened:
        opened.extractall(place, filter="data")
    sources = place / f"{SOURCE.name}-{SOURCE.version}"
    # What the building machine has besides must not be found: neither libmagic nor anything of pkg-config's.
    environment = reproducible() | {
        "ac_cv_lib_magic_magic_open": "no", "PKG_CONFIG": "false", "CC": COMPILER,
        "CFLAGS": "-Os",
    }
    configure = ["./configure", "--host=aarch64-linux-gnu", "--prefix=/usr", "--sysconfdir=/etc",
                 *[f"--disable-{part}" for part in LEFT_OUT]]
    run(*configure, cwd=sources, env=environment)
    run("make", f"--jobs={os.cpu_count()}", cwd=sources, env=environment)
    program = place / "keepalived"
    run("aarch64-linux-gnu-strip", "-o", program, sources / "keepalived/keepalived", env=environment)
    if str(work).encode() in program.read_bytes():
        raise Failure("keepalived contains the path of a directory, so it cannot be reproduced elsewhere.")
    return program


def fetch(source):
    """The archive, from Debian's mirror, or from its archive of what was."""
    file = CACHE / "sources" / source.file
    if file.exists() and is_right(file.read_bytes(), source):
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    content = from_mirror(source)
    if content is None:
        say(f"{source.file} has left Debian's mirrors: asking {snapshot.ARCHIVE}")
        try:
            content = snapshot.ask(f"/file/{source.sha1}", source.size, source.file)
        except (snapshot.Unreachable, snapshot.Missing) as why:
            raise Failure(f"The source of {source.name} {source.version} cannot be fetched: {why}.") from None
    if not is_right(content, source):
        raise Failure(f"{source.file} is not the file that was reviewed: its SHA-256 differs.")
    file.write_bytes(content)
    return file


def from_mirror(source):
    """None where the mirror does not have it."""
    try:
        with urllib.request.urlopen(source.url, timeout=snapshot.PATIENCE) as answer:
            return answer.read(source.size + 1)
    except (urllib.error.URLError, OSError):
        return None


def is_right(content, source):
    return hashlib.sha256(content).hexdigest() == source.sha256
