"""The source of keepalived: exactly the reviewed bytes, from the mirror or from Debian's archive of what was."""

import hashlib
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import keepalived
import snapshot
from common import Failure

CONTENT = b"sources"
SOURCE = keepalived.SOURCE._replace(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))


class Source(unittest.TestCase):
    def setUp(self):
        kept = tempfile.TemporaryDirectory()
        self.addCleanup(kept.cleanup)
        self.patch(keepalived, CACHE=Path(kept.name))
        self.asked = []

    def patch(self, module, **values):
        for name, value in values.items():
            patched = mock.patch.object(module, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def mirror(self, content):
        self.patch(keepalived, from_mirror=lambda source: self.asked.append("mirror") or content)

    def archive(self, content):
        def ask(path, at_most, what):
            self.asked.append(path)
            if content is None:
                raise snapshot.Unreachable("nobody answers")
            return content

        self.patch(snapshot, ask=ask)

    def test_it_is_fetched_once(self):
        self.mirror(CONTENT)
        self.archive(None)
        for _ in range(2):
            self.assertEqual(keepalived.fetch(SOURCE).read_bytes(), CONTENT)
        self.assertEqual(self.asked, ["mirror"])

    def test_what_has_left_the_mirror_is_in_the_archive(self):
        self.mirror(None)
        self.archive(CONTENT)
        self.assertEqual(keepalived.fetch(SOURCE).read_bytes(), CONTENT)
        self.assertEqual(self.asked, ["mirror", f"/file/{SOURCE.sha1}"])

    def test_other_bytes_are_refused_and_not_kept(self):
        self.mirror(b"another")
        self.archive(CONTENT)
        with self.assertRaisesRegex(Failure, "SHA-256 differs"):
            keepalived.fetch(SOURCE)
        self.mirror(CONTENT)
        self.assertEqual(keepalived.fetch(SOURCE).read_bytes(), CONTENT)

    def test_nobody_has_it(self):
        self.mirror(None)
        self.archive(None)
        with self.assertRaisesRegex(Failure, "nobody answers"):
            keepalived.fetch(SOURCE)


if __name__ == "__main__":
    unittest.main()
