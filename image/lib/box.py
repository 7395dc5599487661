"""The image of the card and the file for soloist-update, from the program to what is published."""

import time

import boards
import boot
import disk
import keepalived
import keys
import manifest
import packages
import root
from common import say, size, source_date


def build(binary, package, version, out, insist):
    """Writes the image, the update with its signature, and the manifest into `out`, and what they are made of
    into its folder `work`. `insist` is that of packages.fetch, which tells what is not as locked. Returns the
    packages that are in the image."""
    started = time.monotonic()
    work = out / "work"
    fetched, differences = packages.fetch(insist)
    packages.tell(differences)
    tree = work / "tree"
    packages.unpack(fetched, tree)
    everything = boards.read_all()
    public_key = keys.public()
    licences = manifest.licences(tree, fetched)
    kernel = boot.kernel_version(tree)
    boot_files = boot.prepare(tree, kernel, everything, version, work)
    root.prepare(tree, kernel, everything, binary, keepalived.build(work), public_key, version, as_locked=not differences)
    squashfs = root.pack(tree, work / "root.squashfs")
    name = f"soloist-{version}-arm64"
    raw = disk.build(boot_files, squashfs, work)
    results = [
        disk.compress(raw, out / f"{name}.img.zst"),
        keys.sign(disk.update_file(squashfs, boot_files, kernel, version, out / f"{name}.update", work / "boot.tar")),
    ]
    manifest.write(out / f"{name}.manifest.json", version, fetched, differences, licences,
                   [binary, squashfs, *results, package])
    say(f"Program {size(binary)}, root {size(squashfs)}, image {size(results[0])}, "
        f"update {size(results[1])}; {time.monotonic() - started:.0f} s; source date {source_date()}")
    # Last as well, so that it is what one reads.
    packages.tell(differences)
    return fetched
