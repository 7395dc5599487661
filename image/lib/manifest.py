"""The list beside the image: every package with version, hash and licences, and every result's hash."""

import json
import re

from common import say, source_date
from packages import hash_of


def licences(tree, fetched):
    """By package: the words behind `License:` in its copyright file, else that file's first line
    that names one."""
    found = {}
    for name, *_ in fetched:
        file = tree / "usr/share/doc" / name / "copyright"
        text = file.read_text(errors="replace") if file.is_file() else ""
        named = sorted(set(re.findall(r"^License:[ \t]*(\S.*)$", text, re.M)))
        common = sorted(set(re.findall(r"/usr/share/common-licenses/([\w.-]*\w)", text)))
        found[name] = named or common or ["see the package of the same source"]
    return found


def write(target, version, fetched, licences, files):
    say("The manifest")
    packages = [
        {"name": name, "version": number, "sha256": sha256, "licences": licences[name]}
        for name, number, sha256, _ in fetched
    ]
    results = [{"name": file.name, "bytes": file.stat().st_size, "sha256": hash_of(file)} for file in files]
    told = {"version": version, "source_date": source_date(), "results": results, "packages": packages}
    target.write_text(json.dumps(told, indent=1) + "\n")
