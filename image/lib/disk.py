"""The card: a partition table, the FAT partition, slot A, an empty slot B, and the data partition."""

import hashlib
import io
import shutil
import struct
import tarfile

from common import Failure, reproducible, run, say, source_date

MIB = 1 << 20
# Start and size in MiB, and the type of the partition table (0x0c: FAT32, 0x83: Linux).
BOOT, SLOT_A, SLOT_B, DATA = (2, 126, 0x0C), (128, 96, 0x83), (224, 96, 0x83), (320, 64, 0x83)
WHOLE = DATA[0] + DATA[1]
DISK_ID = 0x501057


def build(boot_files, squashfs, work):
    say("The card")
    if squashfs.stat().st_size > SLOT_A[1] * MIB:
        raise Failure("The root does not fit into its slot.")
    raw = work / "card.img"
    raw.unlink(missing_ok=True)
    with open(raw, "wb") as card:
        card.truncate(WHOLE * MIB)
        card.write(partition_table())
        place(card, SLOT_A, squashfs)
        place(card, BOOT, fat(boot_files, work / "boot.fat"))
        place(card, DATA, data(work))
    return raw


def partition_table():
    table = bytearray(512)
    struct.pack_into("<I", table, 440, DISK_ID)
    for number, (start, size, kind) in enumerate([BOOT, SLOT_A, SLOT_B, DATA]):
        # The addresses by cylinder, head and sector say "too large": all systems use the others.
        struct.pack_into("<B3sB3sII", table, 446 + 16 * number, 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff",
                         start * 2048, size * 2048)
    table[510:] = b"\x55\xaa"
    return table


def place(card, partition, file):
    card.seek(partition[0] * MIB)
    with open(file, "rb") as source:
        shutil.copyfileobj(source, card, MIB)
    if card.tell() > (partition[0] + partition[1]) * MIB:
        raise Failure(f"{file.name} is larger than its partition.")


def fat(files, target):
    target.unlink(missing_ok=True)
    with open(target, "wb") as empty:
        empty.truncate(BOOT[1] * MIB)
    environment = reproducible() | {"MTOOLS_SKIP_CHECK": "1"}
    run("mkfs.vfat", "--invariant", "-F", "32", "-n", "SOLOIST", "-i", "5010157A", target, env=environment)
    run("find", files, "-exec", "touch", "-d", f"@{source_date()}", "{}", "+")
    run("mcopy", "-s", "-m", "-i", target, *sorted(files.iterdir()), "::", env=environment)
    return target


def data(work):
    """Empty, with a journal of its own: grown to the card by the first program.

    It holds some hundred files. The tables of inodes for as many as ext4 expects, one for 16 kB, are a
    64th of the card, and the kernel writes them all after the first start: 500 MB on a card of 32 GB.
    """
    target = work / "data.ext4"
    slot = work / "slot"
    slot.write_text("A good\n")
    target.unlink(missing_ok=True)
    environment = reproducible() | {"E2FSPROGS_FAKE_TIME": str(source_date())}
    uuid = "50105700-0000-4000-8000-000000000001"
    run("mke2fs", "-q", "-t", "ext4", "-L", "soloist-data", "-U", uuid, "-m", "1", "-J", "size=4",
        "-i", str(256 << 10), "-E", f"hash_seed={uuid},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=0,nodiscard",
        target, f"{DATA[1]}M", env=environment)
    # mke2fs could take a whole directory, and would take over when this machine made it.
    steps = [f"write {slot} slot", "sif slot mode 0100644", "sif slot uid 0", "sif slot gid 0"]
    run("debugfs", "-w", "-f", "-", target, stdin="\n".join(steps).encode(), env=environment)
    # debugfs tells of what goes wrong, and ends with 0.
    if run("debugfs", "-R", "cat slot", target) != slot.read_bytes():
        raise Failure("The data partition lacks its first file.")
    run("e2fsck", "-f", "-n", target, env=environment)
    return target


def compress(raw, target):
    say("The card, compressed")
    run("zstd", "-19", "-T0", "-q", "-f", raw, "-o", target)
    return target


def update_file(squashfs, boot_files, kernel, version, target, boot_tar):
    """What soloist-update takes: the root, and the kernel for it, as one tar archive."""
    archive(boot_tar, [(path.name, path.read_bytes()) for path in sorted((boot_files / "a").iterdir())])
    root = squashfs.read_bytes()
    # Small things first: the box reads them before it writes anything.
    archive(target, [
        ("version", f"{version}\n".encode()),
        ("kernel", f"{kernel}\n".encode()),
        ("root.sha256", f"{hashlib.sha256(root).hexdigest()}  root.squashfs\n".encode()),
        ("root.squashfs", root),
        ("boot.tar", boot_tar.read_bytes()),
    ])
    return target


def archive(target, entries):

    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), source_date(), 0o644
            tar.addfile(entry, io.BytesIO(content))
