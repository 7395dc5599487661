"""Debian's snapshot archive, which keeps every package that the mirrors ever had: by name, version and the
SHA-1 of the file (https://snapshot.debian.org, "machine-readable interface"). Who fetches from it checks
what comes by a better hash."""

import json
import os
import urllib.error
import urllib.request
from urllib.parse import quote

ARCHIVE = os.environ.get("SOLOIST_SNAPSHOT", "https://snapshot.debian.org").rstrip("/")
ARCHITECTURES = ["arm64", "all"]
# Seconds without a byte, after which nobody is there.
PATIENCE = 30
MAX_ANSWER = 1 << 20


class Unreachable(Exception):
    """Nothing answers there, or nothing that makes sense."""


class Missing(Exception):
    """It answers, and does not have the package."""


def fetch(name, version, size):
    """The package's file, whose bytes are `size`."""
    return ask(f"/file/{file_of(name, version)}", size, f"{name} {version}")


def file_of(name, version):
    what = f"{name} {version}"
    answer = ask(f"/mr/binary/{quote(name)}/{quote(version, safe='')}/binfiles", MAX_ANSWER, what)
    try:
        found = {each["architecture"]: each["hash"] for each in json.loads(answer)["result"]}
    except (ValueError, KeyError, TypeError):
        raise Unreachable(f"{ARCHIVE} answers something else than a list of files") from None
    for architecture in ARCHITECTURES:
        if architecture in found:
            return quote(str(found[architecture]), safe="")
    raise Missing(f"it has no {what} for {ARCHITECTURES[0]}")


def ask(path, at_most, what):
    try:
        with urllib.request.urlopen(ARCHIVE + path, timeout=PATIENCE) as answer:
            content = answer.read(at_most + 1)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            raise Missing(f"it has no {what}") from None
        raise Unreachable(f"{ARCHIVE} answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise Unreachable(f"{ARCHIVE} cannot be reached ({getattr(error, 'reason', error)})") from None
    if len(content) > at_most:
        raise Missing(f"its {what} is larger than the lock says")
    return content
