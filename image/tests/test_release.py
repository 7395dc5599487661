"""`image/release` whole, with what takes minutes left out: the compiler, Debian's packages and the image."""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import changelog
import common
import feed
import keys
import program
import sbom
import tag
from common import Failure

COMMAND = Path(common.IMAGE / "release")
URL = "https://example.org/soloist/v1.2.3"
CHANGES = """# Changes

## Unreleased

## 1.2.3 (2026-12-01)

### For owners

- It finds `more`
  blocks.
- And tea.

### For developers

- Nothing.

## 1.2.2 (2026-11-01)

- The old one.
"""
NAMES = ["SHA256SUMS", "SHA256SUMS.minisig", "feed.json", "feed.json.minisig", "rpi-imager.json",
         "soloist-1.2.3-amd64.cdx.json", "soloist-1.2.3-arm64.cdx.json", "soloist-1.2.3-arm64.img.zst",
         "soloist-1.2.3-arm64.manifest.json", "soloist-1.2.3-arm64.update", "soloist-1.2.3-arm64.update.minisig",
         "soloist-1.2.3-demo-amd64.tar.gz", "soloist-1.2.3.notes.md", "soloist.pub", "soloist.svg",
         "soloist_1.2.3_amd64.deb", "soloist_1.2.3_arm64.deb"]


def command():
    """The script as a module."""
    loader = importlib.machinery.SourceFileLoader("release", str(COMMAND))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("release", loader))
    loader.exec_module(module)
    return module


class Release(unittest.TestCase):
    def setUp(self):
        kept = tempfile.TemporaryDirectory()
        self.addCleanup(kept.cleanup)
        self.top = Path(kept.name)
        self.tree = self.top / "tree"
        self.release = command()
        os.environ.pop("SOLOIST_SIGNING_KEY", None)
        self.patch(keys, CACHE=self.top / "cache")
        self.patch(program, version=lambda: "1.2.3", build=self.program)
        self.patch(self.release.deb, build=self.deb)
        self.patch(self.release.demo, oldest_libc=lambda binary: "2.34")
        self.patch(self.release.box, build=self.image)
        self.patch(sbom, tool=lambda: None, of_program=self.bill)
        self.checkout(self.tree)

    def patch(self, module, **values):
        for name, value in values.items():
            patched = mock.patch.object(module, name, value)
            patched.start()
            self.addCleanup(patched.stop)

    def checkout(self, tree):
        """A clone, or at first the repository itself, with everything that a release reads of it."""
        first = not self.tree.exists()
        if not first:
            subprocess.run(["git", "clone", "-q", "--no-local", self.tree, tree], check=True)
        else:
            (tree / "src/status/assets").mkdir(parents=True)
            for name, text in {"CHANGELOG.md": CHANGES, "LICENSE-MIT": "M", "LICENSE-APACHE": "A", ".gitignore": "/target\n/dist\n",
                               "src/status/assets/icon.svg": "<svg/>"}.items():
                (tree / name).write_text(text)
            self.git("init", "-q")
            self.commit("2026-12-01T10:00:00Z")
            self.git("tag", "v1.2.3")
        for module in [common, changelog, tag, sbom, self.release, self.release.demo]:
            self.patch(module, REPOSITORY=tree)
        self.patch(self.release, STAGING=tree / "target/dist")

    def commit(self, when):
        self.git("add", "-A")
        who = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        self.git("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false", "commit", "-qm", "t",
                 env=os.environ | who)

    def git(self, *words, **options):
        subprocess.run(["git", "-C", self.tree, *words], check=True, **options)

    def program(self, architecture="arm64", demo=False):
        binary = self.top / "soloist"
        binary.write_text(f"program for {architecture}{' with demo' if demo else ''}")
        return binary

    def deb(self, binary, architecture, version, out):
        package = out / f"soloist_{version}_{architecture}.deb"
        package.write_text(f"package of {binary.read_text()}")
        return package

    def image(self, binary, package, version, out, insist):
        self.insisted = insist
        (out / "work").mkdir()
        (out / "work/card.img").write_bytes(bytes(1024))
        for end in ["img.zst", "update", "manifest.json"]:
            (out / f"soloist-{version}-arm64.{end}").write_text(f"{end} of {binary.read_text()}")
        keys.sign(out / f"soloist-{version}-arm64.update")
        return []

    def bill(self, architecture, demo):
        return {"metadata": {"component": {"bom-ref": "a"}}, "components": [], "dependencies": []}

    def run_it(self, *words, out="dist"):
        out = self.top / out
        with mock.patch("sys.argv", ["release", "--out", str(out), *words]):
            self.release.main()
        return {file.name: file.read_bytes() for file in out.iterdir()}

    def refused(self, *words):
        with self.assertRaises(Failure) as refused:
            self.run_it(*words)
        self.assertFalse((self.top / "dist").exists() and any((self.top / "dist").iterdir()))
        return str(refused.exception)

    def test_a_release_is_whole_and_its_sums_and_signatures_hold(self):
        files = self.run_it("--url", f"{URL}/", "--test-key")
        self.assertEqual(sorted(files), NAMES)
        self.assertTrue(self.insisted, "a release is made of what is locked")
        for name in ["SHA256SUMS", "feed.json", "soloist-1.2.3-arm64.update"]:
            subprocess.run(["minisign", "-V", "-q", "-p", "soloist.pub", "-m", name], cwd=self.top / "dist", check=True)
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=self.top / "dist", check=True)
        summed = {line.split()[1] for line in files["SHA256SUMS"].decode().splitlines()}
        self.assertEqual(summed, set(NAMES) - {"SHA256SUMS", "SHA256SUMS.minisig"})

    def test_the_feed_and_the_list_say_what_is_there(self):
        files = self.run_it("--url", URL, "--test-key")
        told = json.loads(files["feed.json"])
        update = files["soloist-1.2.3-arm64.update"]
        self.assertEqual(told, {
            "soloist_feed": 1, "serial": 1, "issued": "2026-12-01T10:00:00Z", "withdrawn": [],
            "release": {"version": "1.2.3", "date": "2026-12-01", "changes": "- It finds more blocks.\n- And tea.",
                        "url": f"{URL}/soloist-1.2.3-arm64.update", "size": len(update),
                        "sha256": hashlib.sha256(update).hexdigest(), "minimum": feed.settings()["minimum"]}})
        [system] = json.loads(files["rpi-imager.json"])["os_list"]
        self.assertEqual(system["extract_sha256"], hashlib.sha256(bytes(1024)).hexdigest())
        self.assertEqual(system["url"], f"{URL}/soloist-1.2.3-arm64.img.zst")
        self.assertIn("Nothing.", files["soloist-1.2.3.notes.md"].decode())
        self.assertNotIn("old one", files["soloist-1.2.3.notes.md"].decode())

    def test_the_demo_is_the_program_with_the_demo(self):
        self.run_it("--url", URL, "--test-key")
        with tarfile.open(self.top / "dist/soloist-1.2.3-demo-amd64.tar.gz") as archive:
            entry = archive.getmember("soloist-1.2.3-demo-amd64/soloist")
            self.assertEqual(entry.mode, 0o755)
            self.assertEqual(archive.extractfile(entry).read(), b"program for amd64 with demo")

    def test_two_releases_have_the_same_bytes(self):
        first = self.run_it("--url", URL, "--test-key")
        self.checkout(self.top / "another/place")
        os.environ["SOURCE_DATE_EPOCH"] = "7"
        self.addCleanup(os.environ.pop, "SOURCE_DATE_EPOCH", None)
        with mock.patch("time.time", lambda: 4e9):
            self.assertEqual(self.run_it("--url", URL, "--test-key", out="again"), first)

    def test_what_is_in_no_commit_is_refused(self):
        (self.tree / "new").write_text("x")
        self.assertIn("?? new", self.refused("--url", URL, "--test-key"))
        (self.tree / "new").unlink()
        (self.tree / "CHANGELOG.md").write_text("x")
        self.assertIn("CHANGELOG.md", self.refused("--url", URL, "--test-key"))

    def test_another_commit_than_the_tags_is_refused(self):
        (self.tree / "CHANGELOG.md").write_text(CHANGES + "\n")
        self.commit("2026-12-02T10:00:00Z")
        self.assertIn("v1.2.3 is not on this commit", self.refused("--url", URL, "--test-key"))
        self.git("tag", "v1.2.4")
        self.assertIn("(v1.2.4 is)", self.refused("--url", URL, "--test-key"))

    def test_a_release_without_its_key_is_refused(self):
        self.assertIn("names no key", self.refused("--url", URL))
        with mock.patch.dict(os.environ, SOLOIST_SIGNING_KEY="/nowhere/minisign.key"):
            self.assertIn("no file is there", self.refused("--url", URL))
            self.assertIn("which of the two", self.refused("--url", URL, "--test-key"))
        alone = self.top / "alone.key"
        alone.write_text("secret")
        with mock.patch.dict(os.environ, SOLOIST_SIGNING_KEY=str(alone)):
            self.assertIn("public half", self.refused("--url", URL))

    def test_the_owners_key_signs(self):
        key = self.top / "mine.key"
        subprocess.run(["minisign", "-G", "-W", "-p", key.with_suffix(".pub"), "-s", key], check=True, stdout=subprocess.DEVNULL)
        with mock.patch.dict(os.environ, SOLOIST_SIGNING_KEY=str(key)):
            self.assertEqual(self.run_it("--url", URL)["soloist.pub"], key.with_suffix(".pub").read_bytes())

    def test_a_version_without_its_changes_and_an_address_of_nothing_are_refused(self):
        self.assertIn("no address", self.refused("--url", "example.org", "--test-key"))
        (self.tree / "CHANGELOG.md").write_text(CHANGES.replace("## 1.2.3", "## 1.2.30"))
        self.commit("2026-12-02T10:00:00Z")
        self.git("tag", "-f", "v1.2.3", stdout=subprocess.DEVNULL)
        self.assertIn("no section 1.2.3", self.refused("--url", URL, "--test-key"))

    def test_a_folder_with_something_in_it_is_left_alone(self):
        (self.top / "dist").mkdir()
        (self.top / "dist/mine").write_text("x")
        with self.assertRaisesRegex(Failure, "not empty"):
            self.run_it("--url", URL, "--test-key")
        self.assertEqual(os.listdir(self.top / "dist"), ["mine"])

    def test_a_release_that_fails_half_way_leaves_no_folder(self):
        def fails(*_, **__):
            raise Failure("no bill today")
        self.patch(sbom, write=fails)
        self.assertIn("no bill", self.refused("--url", URL, "--test-key"))

    def withdraw(self, *versions):
        told = [{"version": version, "reason": "It eats blocks."} for version in versions]
        self.patch(feed, settings=lambda: {"minimum": "1.0.0", "withdrawn": told})

    def test_a_later_feed_withdraws_and_offers_what_it_offered(self):
        self.run_it("--url", URL, "--test-key")
        old = str(self.top / "dist/feed.json")
        self.withdraw("1.2.2")
        (self.tree / "withdrawn").write_text("1.2.2")
        self.commit("2026-12-05T10:00:00Z")
        files = self.run_it("--feed", old, "--test-key", out="feed")
        self.assertEqual(sorted(files), ["feed.json", "feed.json.minisig"])
        before, after = json.loads(Path(old).read_text()), json.loads(files["feed.json"])
        self.assertEqual(after["release"], before["release"])
        self.assertEqual([after["serial"], after["issued"]], [2, "2026-12-05T10:00:00Z"])
        self.assertEqual(after["withdrawn"], [{"version": "1.2.2", "reason": "It eats blocks."}])

    def test_a_later_feed_is_refused_that_is_not_later_not_ours_or_offers_what_it_withdraws(self):
        self.run_it("--url", URL, "--test-key")
        old = self.top / "old"
        (self.top / "dist").rename(old)
        self.assertIn("this commit or a later one", self.refused("--feed", str(old / "feed.json"), "--test-key"))
        self.withdraw("1.2.3")
        (self.tree / "withdrawn").write_text("1.2.3")
        self.commit("2026-12-05T10:00:00Z")
        self.assertIn("which is withdrawn", self.refused("--feed", str(old / "feed.json"), "--test-key"))
        (old / "feed.json").write_text((old / "feed.json").read_text().replace("tea", "tee"))
        self.assertIn("minisign", self.refused("--feed", str(old / "feed.json"), "--test-key"))
