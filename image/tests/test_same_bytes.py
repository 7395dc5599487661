"""What differs between two checkouts of one commit, and must not show."""

import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import common
import program
import root


class SameBytes(unittest.TestCase):
    def test_files_of_ours_have_the_same_rights_whatever_the_checkout_has(self):
        with tempfile.TemporaryDirectory() as top:
            ours, tree = Path(top) / "ours", Path(top) / "tree"
            tree.mkdir()
            # As a umask of 077, or of 002, leaves them.
            for mode, bits in {0o700: 0o600, 0o775: 0o664}.items():
                (ours / f"etc/{mode}").mkdir(parents=True)
                (ours / f"etc/{mode}").chmod(mode)
                for name, rights in {"program": mode, "file": bits}.items():
                    (ours / f"etc/{mode}" / name).write_text(name)
                    (ours / f"etc/{mode}" / name).chmod(rights)
            root.copy_ours(ours, tree)
            rights = {stat.S_IMODE(path.stat().st_mode) for path in tree.rglob("*") if path.name != "file"}
            self.assertEqual(rights, {0o755})
            self.assertEqual({stat.S_IMODE(path.stat().st_mode) for path in tree.rglob("file")}, {0o644})

    def test_the_builders_own_umask_does_not_count(self):
        self.assertEqual(os.umask(0o022), 0o022, f"{common.__name__} sets it")

    def test_the_commits_name_is_as_long_in_every_clone(self):
        with mock.patch.object(program, "run", lambda *command: b"0123456789" * 4 + b"\n"):
            self.assertEqual(program.commit(), "0123456")
