"""The list beside the image: every package with version, hash and licences, and every result's hash."""

import json
import re
from pathlib import Path

import keepalived
import program
from common import say, source_date
from packages import hash_of


def licences(tree, fetched):
    """By package: the words behind `License:` in its copyright file, else that file's first line
    that names one."""
    found = {}
    for package in fetched:
        file = tree / "usr/share/doc" / package.name / "copyright"
        text = file.read_text(errors="replace") if file.is_file() else ""
        named = sorted(set(re.findall(r"^License:[ \t]*(\S.*)$", text, re.M)))
        common = sorted(set(re.findall(r"/usr/share/common-licenses/([\w.-]*\w)", text)))
        found[package.name] = named or common or ["see the package of the same source"]
    return found


def write(target, version, fetched, differences, licences, files):
    """`differs_from_lock` is empty in what image/packages.lock alone describes, as every release is. `built_with`
    is what somebody needs who wants the same bytes."""
    say("The manifest")
    packages = [
        {"name": package.name, "version": package.version, "sha256": package.sha256, "licences": licences[package.name]}
        for package in fetched
    ]
    differ = [{"locked": str(each.locked), "taken": str(each.taken)} for each in differences]
    results = [{"name": file.name, "bytes": file.stat().st_size, "sha256": hash_of(file)} for file in files]
    told = {"version": version, "source_date": source_date(), "built_with": built_with(), "results": results,
            "built_from_source": [source_of(keepalived.SOURCE)],
            "differs_from_lock": differ, "packages": packages}
    target.write_text(json.dumps(told, indent=1) + "\n")


def source_of(source):
    return {"name": source.name, "version": source.version, "source": source.url, "sha256": source.sha256,
            "licences": [source.licence]}


def built_with():
    debian = Path("/etc/debian_version")
    return {"rustc": program.compiler(), "debian": debian.read_text().strip() if debian.exists() else "none"}
