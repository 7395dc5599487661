"""The demo without a compiler: one program for a PC, in an archive with a word about it."""

import gzip
import io
import tarfile

from common import IMAGE, REPOSITORY, say, source_date
from deb import oldest_libc


def build(binary, version, out):
    say("The demo")
    name = f"soloist-{version}-demo-amd64"
    readme = (IMAGE / "demo/README.txt").read_text().replace("@VERSION@", version).replace("@GLIBC@", oldest_libc(binary))
    files = {
        "soloist": (binary.read_bytes(), 0o755),
        "README.txt": (readme.encode(), 0o644),
        "copyright": ((IMAGE / "deb/copyright").read_bytes(), 0o644),
        "LICENSE-MIT": ((REPOSITORY / "LICENSE-MIT").read_bytes(), 0o644),
        "LICENSE-APACHE": ((REPOSITORY / "LICENSE-APACHE").read_bytes(), 0o644),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode, entry.mtime = len(content), mode, source_date()
            archive.addfile(entry, io.BytesIO(content))
    target = out / f"{name}.tar.gz"
    target.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))
    return target
