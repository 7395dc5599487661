"""A small Debian for the tests: packages made here, a mirror of them on the disk, and a snapshot archive on
loopback that has what the mirror has no more."""

import hashlib
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import packages


def package(folder, name, version, source=None, depends=None):
    """Makes the package, and returns the lock's entry of it and its file."""
    tree = folder / f"{name}_{version}"
    documents = tree / "usr/share/doc" / name
    documents.mkdir(parents=True)
    (documents / "copyright").write_text(f"License: of {version}\n")
    (tree / "DEBIAN").mkdir()
    fields = {"Package": name, "Version": version, "Architecture": "arm64", "Maintainer": "A <a@localhost>",
              "Source": source, "Depends": depends, "Description": "made for a test"}
    (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items() if value))
    file = folder / f"{name}_{version.replace(':', '%3a')}_arm64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, file], check=True, stdout=subprocess.DEVNULL)
    content = file.read_bytes()
    return packages.Package(name, version, hashlib.sha256(content).hexdigest(), len(content)), file


class Mirror:
    """The suites of `packages.SUITES` below `top`, each empty until it is given packages."""

    def __init__(self, top):
        self.top = top
        for _, suite in packages.SUITES:
            self.offer(suite, [])

    @property
    def url(self):
        return f"file://{self.top}"

    def offer(self, suite, made):
        [archive] = [archive for archive, name in packages.SUITES if name == suite]
        top = self.top / archive
        stanzas = []
        for entry, file in made:
            pool = top / "pool" / file.name
            pool.parent.mkdir(parents=True, exist_ok=True)
            pool.write_bytes(file.read_bytes())
            control = subprocess.run(["dpkg-deb", "--field", file], check=True, capture_output=True, text=True).stdout
            stanzas.append(f"{control}Filename: pool/{file.name}\nSize: {entry.size}\nSHA256: {entry.sha256}\n")
        sums = []
        for component, text in {"main": "\n".join(stanzas), "non-free-firmware": ""}.items():
            listed = top / "dists" / suite / component / "binary-arm64/Packages"
            listed.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text(text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            sums.append(f" {digest} {len(text)} {component}/binary-arm64/Packages")
        # As Debian marks what is taken only when it is asked for.
        asked_for = "NotAutomatic: yes\nButAutomaticUpgrades: yes\n" if "backports" in suite else ""
        (top / "dists" / suite / "Release").write_text(
            f"Suite: {suite}\nCodename: {suite}\nComponents: main non-free-firmware\nArchitectures: arm64\n{asked_for}"
            "Date: Mon, 30 Nov 2026 12:00:00 UTC\nSHA256:\n" + "\n".join(sums) + "\n")


class Snapshot:
    """Answers as snapshot.debian.org does for the files that it is given."""

    def __init__(self, made):
        files = {(entry.name, entry.version): Path(file).read_bytes() for entry, file in made}
        by_hash = {hashlib.sha1(content).hexdigest(): content for content in files.values()}
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                parts = [unquote(part) for part in self.path.split("/")[1:]]
                answer = None
                if parts[:2] == ["mr", "binary"] and tuple(parts[2:4]) in files and parts[4] == "binfiles":
                    digest = hashlib.sha1(files[tuple(parts[2:4])]).hexdigest()
                    others = [{"architecture": "amd64", "hash": "0" * 40}]
                    answer = json.dumps({"result": [*others, {"architecture": "arm64", "hash": digest}]}).encode()
                elif parts[0] == "file":
                    answer = by_hash.get(parts[1])
                self.send_response(200 if answer is not None else 404)
                self.send_header("Content-Length", str(len(answer or b"")))
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
