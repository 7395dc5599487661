"""The texts that a release publishes: changes, feed, Imager's list, bill of materials."""

import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import boards
import changelog
import debian
import feed
import imager
import keepalived
import packages
import program
import sbom
import tag
from common import Failure

DIGEST = "0" * 64


class Changes(unittest.TestCase):
    def test_a_version_is_found_by_its_whole_number(self):
        text = "## Unreleased\n\n- new\n\n## 0.1.10, 2026-12-01\n\n- ten\n\n## 0.1.1 (2026-11-01)\n\n- one\n"
        self.assertEqual(changelog.section("0.1.1", text), "- one\n")
        self.assertEqual(changelog.section("0.1.10", text), "- ten\n")
        for missing in ["0.1", "0.1.2"]:
            with self.assertRaisesRegex(Failure, "no section"):
                changelog.section(missing, text)
        with self.assertRaisesRegex(Failure, "says nothing"):
            changelog.section("0.1.2", "## 0.1.2\n\n## 0.1.1\n")

    def test_owners_read_their_part_alone_a_point_a_line(self):
        text = "### For owners\n\nA word first.\n\n- `one`\n  and more\n- two\n\n### For developers\n\n- three\n"
        self.assertEqual(changelog.for_owners(text), "A word first.\n- one and more\n- two")
        self.assertEqual(changelog.for_owners("- all\n"), "- all")

    def test_what_is_long_is_cut_between_points_and_told(self):
        point = "- " + "ä" * 100
        told = changelog.for_owners("\n".join([point] * 100))
        self.assertLessEqual(len(told.encode()), changelog.MAX_CHANGES)
        *kept, last = told.split("\n")
        self.assertEqual(set(kept), {point})
        self.assertEqual(last, f"- and {100 - len(kept)} more points in the notes of the release")

    def test_the_changes_of_now_can_be_published(self):
        text = (changelog.REPOSITORY / "CHANGELOG.md").read_text()
        # Right after a release nothing is unreleased.
        part = changelog.section(program.version() if "## Unreleased\n\n## " in text else "Unreleased", text)
        self.assertTrue(feed.plain(changelog.for_owners(part), changelog.MAX_CHANGES, lines=True))


class Feed(unittest.TestCase):
    def document(self, **of_release):
        release = {"version": "0.2.0", "date": "2026-12-01", "changes": "- tea", "url": "https://example.org/u", "size": 1,
                   "sha256": DIGEST, "minimum": "0.1.0"} | of_release
        return {"soloist_feed": 1, "serial": 7, "issued": "2026-12-01T10:00:00Z", "release": release, "withdrawn": []}

    def test_what_a_reader_would_refuse_is_not_written(self):
        feed.check(self.document())
        for name, value in {"version": "0.2", "date": "today", "changes": "a\tb", "url": "feed.json", "size": 0,
                            "sha256": "0", "minimum": "0.3.0"}.items():
            with self.assertRaisesRegex(Failure, f": {name}"):
                feed.check(self.document(**{name: value}))
        withdrawn = self.document() | {"withdrawn": [{"version": "0.2.0", "reason": "It eats blocks."}]}
        with self.assertRaisesRegex(Failure, "withdrawn"):
            feed.check(withdrawn)

    def test_the_settings_of_now_are_right_and_wrong_ones_are_told(self):
        feed.settings()
        for wrong in ['minimum = "0.1"\nwithdrawn = []', 'minimum = "0.1.0"', 'minimum = "0.1.0"\nwithdrawn = [{ version = "0.1.0" }]',
                      'minimum = "0.1.0"\nwithdrawn = [{ version = "0.1.0", reason = "" }]',
                      'minimum = "0.1.0"\nwithdrawn = [{ version = "one", reason = "x" }]']:
            with self.assertRaises(Failure):
                feed.settings(wrong)

    def test_versions_are_compared_as_numbers(self):
        self.assertLess(feed.version("0.9.0"), feed.version("0.10.0"))
        for wrong in ["1.0", "1.0.0-rc1", "01.0.0", "1.0.0\n", "1.0.10000000"]:
            with self.assertRaises(Failure):
                feed.version(wrong)

    def test_the_description_shows_a_feed_that_holds(self):
        page = (Path(feed.IMAGE).parent / "docs/update-feed.md").read_text()
        shown = json.loads(page.split("```json\n", 1)[1].split("```", 1)[0])
        feed.check(shown)
        for name in [*shown, *shown["release"], *shown["withdrawn"][0]]:
            self.assertIn(f"`{name}`", page)
        for bound in [feed.MAX_BYTES, feed.MAX_URL, feed.MAX_REASON, feed.MAX_WITHDRAWN, changelog.MAX_CHANGES]:
            self.assertIn(f"{bound:,}", page)


class Imager(unittest.TestCase):
    def document(self, **of_system):
        document = imager.document(boards.read_all(), "0.2.0", "2026-12-01", "https://example.org", (5, DIGEST), (1024, DIGEST))
        document["os_list"][0] |= of_system
        return document

    def test_every_raspberry_pi_of_the_image_can_be_chosen_and_shows_it(self):
        document = self.document()
        self.assertEqual(imager.check(document), [])
        names = [board["name"] for board in boards.read_all() if board["name"].startswith("Raspberry Pi")]
        devices = document["imager"]["devices"]
        self.assertEqual(sorted(device["name"] for device in devices), sorted(names))
        for device in devices:
            self.assertTrue(set(device["tags"]) & set(document["os_list"][0]["devices"]))
        with self.assertRaisesRegex(Failure, "Raspberry Pi 9"):
            imager.document([{"name": "Raspberry Pi 9"}], "0.2.0", "2026-12-01", "https://e.org", (5, DIGEST), (1024, DIGEST))

    def test_what_imager_would_not_take_is_not_written(self):
        for name, value in {"name": "", "url": "https://example.org/soloist.img.br", "icon": "icon.svg", "extract_size": 1000,
                            "extract_sha256": "A" * 64, "image_download_size": True, "image_download_sha256": None,
                            "release_date": "1 December", "init_format": "system-d", "devices": [], "architecture": "arm64"}.items():
            self.assertEqual(imager.check(self.document(**{name: value})), [name])
        self.assertEqual(imager.check(self.document(devices=["pi9-64bit"])), ["devices"])
        self.assertEqual(imager.check({"os_list": [], "more": 1}), ["os_list"])


class Bill(unittest.TestCase):
    # As cargo-cyclonedx writes it, in short.
    WRITTEN = json.dumps({
        "metadata": {"component": {"bom-ref": "path+file:///home/me/soloist#0.2.0", "name": "soloist", "version": "0.2.0",
                                   "purl": "pkg:cargo/soloist@0.2.0?download_url=file://.#src/main.rs"}},
        "components": [{"bom-ref": "registry+x#zeromq-src@0.3.0", "name": "zeromq-src", "scope": "excluded"},
                       {"bom-ref": "registry+x#cc@1.0.0", "name": "cc", "scope": "excluded"}],
        "dependencies": [{"ref": "path+file:///home/me/soloist#0.2.0", "dependsOn": ["registry+x#cc@1.0.0"]}]})

    def setUp(self):
        kept = tempfile.TemporaryDirectory()
        self.addCleanup(kept.cleanup)
        self.top = Path(kept.name)
        patched = mock.patch.object(packages, "CACHE", self.top)
        patched.start()
        self.addCleanup(patched.stop)

    def test_the_bill_has_crates_and_packages_and_no_place_of_this_machine(self):
        entry, file = debian.package(self.top, "libone1", "1:1.0+x-1")
        entry.file.parent.mkdir()
        file.rename(entry.file)
        with mock.patch.object(sbom, "of_program", lambda *_: sbom.without_places(self.WRITTEN)):
            bom = json.loads(sbom.write(self.top / "bom", "0.2.0", "arm64", packages=[entry]).read_text())
        self.assertNotIn("/home", json.dumps(bom))
        self.assertEqual(bom["metadata"]["component"]["purl"], "pkg:generic/soloist@0.2.0")
        of_debian, built, cc, zeromq = bom["components"]
        self.assertEqual(of_debian["purl"], "pkg:deb/debian/libone1@1%3A1.0%2Bx-1?arch=arm64&distro=trixie")
        self.assertEqual(of_debian["hashes"], [{"alg": "SHA-256", "content": entry.sha256}])
        self.assertTrue(built["purl"].startswith("pkg:generic/keepalived@"))
        self.assertEqual(built["hashes"], [{"alg": "SHA-256", "content": keepalived.SOURCE.sha256}])
        # Its sources become part of the program, though cargo knows it as a tool for building.
        self.assertEqual([zeromq["scope"], cc["scope"]], ["required", "excluded"])

    def test_a_bill_that_lacks_what_something_depends_on_is_refused(self):
        bom = json.loads(self.WRITTEN)
        bom["components"] = bom["components"][:1]
        with mock.patch.object(sbom, "of_program", lambda *_: bom), self.assertRaisesRegex(Failure, "has no registry"):
            sbom.write(self.top / "bom", "0.2.0", "arm64")


class History(unittest.TestCase):
    def test_a_clone_without_its_history_has_no_serial(self):
        with mock.patch.object(tag, "git", lambda *_: "true"), self.assertRaisesRegex(Failure, "unshallow"):
            tag.serial()
