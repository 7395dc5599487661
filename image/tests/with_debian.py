"""A lock whose packages have all left Debian's mirrors, with the real mirrors. Run by .ci/box: the lists of
packages are fetched, and two small packages."""

import unittest
from unittest import mock

import packages
from common import Failure, listed

SMALL = ["netbase", "zlib1g"]
GONE = "0~gone"
NO_KERNEL = "0.0.1-arm64"


class WithDebian(unittest.TestCase):
    def lists(self, lines, entries):
        there = {"packages": lines, "packages.lock": [" ".join(map(str, entry)) for entry in entries]}
        patched = mock.patch.object(packages, "listed", lambda name: there[name])
        patched.start()
        self.addCleanup(patched.stop)

    def test_a_package_that_is_gone_does_not_stop_the_build(self):
        self.lists(SMALL, [packages.Package(name, GONE, "0" * 64, 1) for name in SMALL])
        taken, differences = packages.fetch()
        self.assertEqual([package.name for package in taken], SMALL)
        self.assertTrue(all(package.is_here() for package in taken))
        self.assertEqual([each.locked.version for each in differences], [GONE] * 2)
        with self.assertRaisesRegex(Failure, "netbase 0~gone\n  zlib1g 0~gone\n"):
            packages.fetch(insist=True)

    def test_for_every_package_of_the_lock_there_is_a_newest_one(self):
        lines = listed("packages")
        names = [line.split("/")[0].replace(packages.KERNEL, NO_KERNEL) for line in lines]
        entries = [packages.Package(name, GONE, "0" * 64, 1) for name in names]
        self.lists(lines, entries)
        apt = packages.Apt()
        apt.update()
        gone = apt.gone(entries)
        self.assertEqual(gone, entries)
        taken, differences = packages.replaced(entries, gone, apt)
        self.assertEqual([len(taken), len(differences)], [len(lines)] * 2)
        kernel = packages.kernel_of(taken)
        self.assertEqual({package.name for package in taken}, {name.replace(NO_KERNEL, kernel) for name in names})
