"""The software bill of materials, in CycloneDX's JSON: the program's crates, and for the box Debian's packages.

The crates are cargo-cyclonedx's work: CycloneDX's own plugin for cargo, which knows features, targets and what
is only for building, and writes the same for the same commit. Debian's packages join them, from the files that
went into the image."""

import json
import os
import subprocess
from urllib.parse import quote

import keepalived
import program
from common import CACHE, REPOSITORY, Failure, run, say, source_date

TOOL, TOOL_VERSION = "cargo-cyclonedx", "0.5.9"
SPECIFICATION = "1.5"
# What is named as needed for building alone, and yet becomes part of the program: the sources of ZeroMQ.
PART_OF_THE_PROGRAM = ["zeromq-src"]


def tool():
    """Builds the tool once, in this version and with its own lock file."""
    root = CACHE / f"{TOOL}-{TOOL_VERSION}"
    if not (root / "bin" / TOOL).exists():
        say(f"Building {TOOL} {TOOL_VERSION}, once")
        command = ["cargo", "install", "--quiet", "--locked", f"{TOOL}@{TOOL_VERSION}", "--root", root,
                   "--config", "profile.release.lto=false", "--config", "profile.release.opt-level=1"]
        # From a directory where no settings of this project's hold.
        if subprocess.run(command, cwd="/", env=program.plain_environment()).returncode != 0:
            raise Failure(f"{TOOL} {TOOL_VERSION} does not build.")
    return root / "bin" / TOOL


def write(target, version, architecture, demo=False, packages=()):
    """Writes that of the program for `architecture` and of Debian's `packages` into the file `target`."""
    say(f"The bill of materials for {architecture}")
    bom = of_program(architecture, demo)
    bom["metadata"]["component"]["version"] = version
    of_the_box = [*[of_package(package) for package in packages], of_source(keepalived.SOURCE)] if packages else []
    bom["components"] = sorted(bom["components"] + of_the_box, key=lambda each: each["bom-ref"])
    bom["dependencies"] = sorted(bom.get("dependencies", []), key=lambda each: each["ref"])
    known = {each["bom-ref"] for each in [*bom["components"], bom["metadata"]["component"]]}
    if dangling := {ref for each in bom["dependencies"] for ref in [each["ref"], *each.get("dependsOn", [])]} - known:
        raise Failure(f"The bill of materials has no {sorted(dangling)[0]}, which something depends on.")
    text = json.dumps(bom, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if str(REPOSITORY) in text:
        raise Failure("The bill of materials contains the path of this directory.")
    target.write_text(text)
    return target


def of_program(architecture, demo):
    triple, _ = program.TARGETS[architecture]
    cargo, _ = program.toolchain(*program.TARGETS[architecture])
    # The tool writes beside Cargo.toml, and nowhere else.
    written = REPOSITORY / "soloist_bin.cdx.json"
    environment = program.plain_environment() | {"CARGO": cargo, "SOURCE_DATE_EPOCH": str(source_date())}
    try:
        run(tool(), "cyclonedx", "--quiet", "--format", "json", "--spec-version", SPECIFICATION, "--describe", "binaries",
            "--no-default-features", "--features", program.features(demo), "--target", triple,
            cwd=REPOSITORY, env=environment)
        return without_places(written.read_text())
    finally:
        written.unlink(missing_ok=True)


def without_places(text):
    """The bill without the directory that it was made in."""
    bom = json.loads(text)
    itself = bom["metadata"]["component"]
    place, name = itself["bom-ref"], f"pkg:generic/{itself['name']}@{itself['version']}"
    bom = json.loads(json.dumps(bom).replace(json.dumps(place)[1:-1], name))
    bom["metadata"]["component"] |= {"purl": name}
    for each in bom["components"]:
        if each["name"] in PART_OF_THE_PROGRAM:
            each["scope"] = "required"
    return bom


def of_package(package):
    """One of Debian's; its copyright file has its licences, and the manifest beside the image lists them."""
    architecture = run("dpkg-deb", "--field", package.file, "Architecture").decode().strip()
    quoted = package.version.replace("+", "%2B").replace(":", "%3A").replace("~", "~")
    purl = f"pkg:deb/debian/{package.name.replace('+', '%2B')}@{quoted}?arch={architecture}&distro=trixie"
    return {"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl,
            "scope": "required", "hashes": [{"alg": "SHA-256", "content": package.sha256}]}


def of_source(source):
    """What is built for the box from sources of others."""
    purl = f"pkg:generic/{source.name}@{source.version}?download_url={quote(source.url, safe='')}"
    return {"type": "application", "bom-ref": purl, "name": source.name, "version": source.version, "purl": purl,
            "scope": "required", "licenses": [{"license": {"name": source.licence}}],
            "hashes": [{"alg": "SHA-256", "content": source.sha256}]}
