"""Locked packages that Debian still has, and those that it has no more."""

import hashlib
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import debian
import packages
import snapshot
from common import Failure

LIST = ["base", "libone1", "one", "linux-binary-%KERNEL%/trixie-backports", "linux-modules-%KERNEL%/trixie-backports"]
OLD, NEW = "6.1.0-arm64", "6.2.0-arm64"


class Packages(unittest.TestCase):
    def setUp(self):
        kept = tempfile.TemporaryDirectory()
        self.addCleanup(kept.cleanup)
        self.top = Path(kept.name)
        self.mirror = debian.Mirror(self.top / "mirror")
        self.old = self.make("1:1.0-1", OLD)
        self.new = self.make("1:1.0-2", NEW)
        self.set(CACHE=self.top / "cache", MIRROR=self.mirror.url, SIGNED="trusted=yes")
        self.lock([entry for entry, _ in self.old])
        self.archive(None)

    def make(self, version, kernel):
        """All packages in a version; the last of each list is the name of the newest kernel."""
        folder = self.top / version
        folder.mkdir()
        make = lambda name, **fields: debian.package(folder, name, version, **fields)
        return [make("base"), make("libone1", source="one (1.0)"), make("one"),
                *[make(f"linux-{part}-{kernel}", source="linux") for part in ["binary", "modules"]]]

    def offer(self, made, kernel, backports=()):
        """The mirrors have these, and `kernel` is the newest."""
        image = debian.package(Path(tempfile.mkdtemp(dir=self.top)), "linux-image-arm64", "9", depends=f"linux-image-{kernel}")
        linux = [each for each in made if "linux-" in each[0].name]
        self.mirror.offer("trixie", [each for each in made if each not in linux])
        self.mirror.offer("trixie-backports", [image, *linux, *backports])

    def lock(self, entries):
        lists = {"packages": LIST, "packages.lock": [" ".join(map(str, entry)) for entry in entries]}
        self.set(listed=lists.__getitem__)

    def archive(self, made):
        """The snapshot archive has these; with None nobody answers."""
        there = debian.Snapshot(made or [])
        self.addCleanup(there.stop)
        if made is None:
            # Nothing listens at this port of loopback.
            self.patch(snapshot, ARCHIVE="http://127.0.0.1:9")
        else:
            self.patch(snapshot, ARCHIVE=there.url)
        return there

    def set(self, **values):
        self.patch(packages, **values)

    def patch(self, module, **values):
        for name, value in values.items():
            patched = mock.patch.object(module, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def fetched(self, **options):
        taken, differences = packages.fetch(**options)
        for entry in taken:
            self.assertEqual(hashlib.sha256(entry.file.read_bytes()).hexdigest(), entry.sha256, entry)
        return taken, [str(each) for each in differences]

    def entries(self, made):
        return sorted(entry for entry, _ in made)

    def test_what_the_mirrors_have_is_taken_as_locked_though_they_have_newer(self):
        self.offer(self.old + self.new, NEW)
        for insist in [False, True]:
            self.assertEqual(self.fetched(insist=insist), (self.entries(self.old), []))

    def test_what_is_here_needs_no_mirror(self):
        self.offer(self.old, OLD)
        self.fetched()
        self.set(MIRROR="file:///nowhere")
        self.assertEqual(self.fetched(insist=True), (self.entries(self.old), []))

    def test_one_that_is_gone_is_replaced_by_the_newest_and_told(self):
        self.offer([self.new[0], *self.old[1:]], OLD)
        taken, differences = self.fetched()
        self.assertEqual(taken, self.entries([self.new[0], *self.old[1:]]))
        self.assertEqual(differences, ["base 1:1.0-1 -> 1:1.0-2"])

    def test_a_backport_is_not_taken_for_what_is_gone(self):
        far = debian.package(self.top, "base", "1:9.0-1")
        self.offer([self.new[0], *self.old[1:]], OLD, backports=[far])
        self.assertEqual(self.fetched()[1], ["base 1:1.0-1 -> 1:1.0-2"])

    def test_what_is_built_from_one_source_is_replaced_together(self):
        # The cache still has one of the two.
        self.offer(self.old, OLD)
        self.fetched()
        self.old[1][0].file.unlink()
        self.offer([self.old[0], *self.new[1:3], *self.old[3:]], OLD)
        taken, differences = self.fetched()
        self.assertEqual(taken, self.entries([self.old[0], *self.new[1:3], *self.old[3:]]))
        self.assertEqual(differences, ["libone1 1:1.0-1 -> 1:1.0-2", "one 1:1.0-1 -> 1:1.0-2"])

    def test_a_kernel_that_is_gone_is_replaced_with_its_name(self):
        # The new one is there beside what is left of the old one.
        self.offer([*self.old[:4], *self.new[3:]], NEW)
        taken, differences = self.fetched()
        self.assertEqual(taken, self.entries([*self.old[:3], *self.new[3:]]))
        self.assertEqual(differences, [f"linux-binary-{OLD} 1:1.0-1 -> linux-binary-{NEW} 1:1.0-2",
                                       f"linux-modules-{OLD} 1:1.0-1 -> linux-modules-{NEW} 1:1.0-2"])

    def test_a_whole_lock_that_is_gone_is_replaced(self):
        self.offer(self.new, NEW)
        taken, differences = self.fetched()
        self.assertEqual(taken, self.entries(self.new))
        self.assertEqual(len(differences), len(LIST))

    def test_who_insists_gets_it_from_the_snapshot_archive(self):
        self.offer([self.new[0], *self.old[1:4], *self.new[3:]], NEW)
        there = self.archive(self.old)
        self.assertEqual(self.fetched(insist=True), (self.entries(self.old), []))
        self.assertEqual([path.split("/")[3] for path in there.asked if path.startswith("/mr")], ["base", f"linux-modules-{OLD}"])
        self.assertIn("/mr/binary/base/1%3A1.0-1/binfiles", there.asked)

    def refused(self):
        with self.assertRaises(Failure) as refused:
            packages.fetch(insist=True)
        return str(refused.exception)

    def test_who_insists_in_vain_is_told_the_list(self):
        self.offer([self.new[0], *self.old[1:3], *self.new[3:]], NEW)
        told = self.refused()
        for entry in [self.old[0][0], self.old[3][0], self.old[4][0]]:
            self.assertIn(f"  {entry}\n", told)
        self.assertIn("http://127.0.0.1:9 cannot be reached", told)
        self.assertIn("Without --locked", told)

    def test_what_the_snapshot_archive_lacks_as_well_is_told(self):
        self.offer([self.new[0], *self.old[1:4], *self.new[3:]], NEW)
        self.archive(self.old[:1])
        told = self.refused()
        self.assertNotIn("  base", told)
        self.assertIn(f"  {self.old[4][0]}\n", told)
        self.assertIn("it has no linux-modules", told)

    def test_what_is_not_the_locked_file_is_not_taken(self):
        other = self.old[0][0]._replace(sha256="0" * 64)
        self.lock([other, *[entry for entry, _ in self.old[1:]]])
        self.offer(self.old, OLD)
        self.assertIn("SHA-256", self.refused())
        # Neither from the archive, where it is longer than it should be.
        self.offer([self.new[0], *self.old[1:]], OLD)
        self.archive(self.old)
        self.assertIn("not the file that the lock names", self.refused())
        self.lock([other._replace(size=10), *[entry for entry, _ in self.old[1:]]])
        self.assertIn("larger than the lock says", self.refused())

    def test_a_list_without_its_lock_is_refused(self):
        self.lock([entry for entry, _ in self.old[1:]])
        with self.assertRaisesRegex(Failure, r"not up to date \(base\)"):
            packages.fetch()

    def test_a_lock_is_what_the_mirrors_have_now(self):
        self.offer(self.old + self.new, NEW)
        self.set(LOCK=self.top / "lock")
        packages.write_lock()
        lines = [line.split() for line in (self.top / "lock").read_text().splitlines()[1:]]
        self.assertEqual(lines, [[entry.name, entry.version, entry.sha256, str(entry.size)] for entry in self.entries(self.new)])
