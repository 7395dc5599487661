"""The update feed, which boxes read: docs/update-feed.md is its description, and says what a reader does
with it."""

import datetime
import json
import re
import tomllib

import keys
import tag
from changelog import MAX_CHANGES
from common import IMAGE, Failure, source_date
from packages import hash_of

FORMAT = 1
MAX_BYTES = 65_536
MAX_URL, MAX_REASON, MAX_WITHDRAWN = 500, 300, 100
VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")


def settings(text=None):
    """image/feed.toml, without mistakes."""
    settings = tomllib.loads(text if text is not None else (IMAGE / "feed.toml").read_text())
    if settings.keys() != {"minimum", "withdrawn"}:
        raise Failure("image/feed.toml must say `minimum` and `withdrawn`, and nothing else.")
    version(settings["minimum"])
    if len(settings["withdrawn"]) > MAX_WITHDRAWN:
        raise Failure(f"image/feed.toml withdraws more than {MAX_WITHDRAWN} versions.")
    for each in settings["withdrawn"]:
        if each.keys() != {"version", "reason"} or not plain(each["reason"], MAX_REASON):
            raise Failure(f"image/feed.toml: a withdrawn version has `version` and `reason`, a sentence of at most {MAX_REASON} bytes.")
        version(each["version"])
    return settings


def release(version_, date, changes, url, update, minimum):
    """What the feed says of a release whose update is the file `update`."""
    return {"version": version_, "date": date, "changes": changes, "url": url, "size": update.stat().st_size,
            "sha256": hash_of(update), "minimum": minimum}


def document(release, withdrawn):
    now = datetime.datetime.fromtimestamp(source_date(), datetime.UTC)
    return {"soloist_feed": FORMAT, "serial": tag.serial(), "issued": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "release": release, "withdrawn": withdrawn}


def write(document, target):
    """Writes it with its signature, unless a reader would refuse it."""
    check(document)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise Failure(f"The feed would have {len(text.encode())} bytes, and no box reads more than {MAX_BYTES}.")
    target.write_text(text)
    return keys.sign(target, "signature of a Soloist update feed")


def read(file):
    """A feed that was published once, if it is ours."""
    keys.verify(file)
    document = json.loads(file.read_text())
    check(document)
    return document


def check(document):
    """Holds the document to its description."""
    release = document["release"]
    faults = [name for name, holds in {
        "soloist_feed": document["soloist_feed"] == FORMAT,
        "serial": isinstance(document["serial"], int) and 0 < document["serial"] < 2**53,
        "issued": re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["issued"]),
        "version": VERSION.fullmatch(release["version"]),
        "date": re.fullmatch(r"\d{4}-\d\d-\d\d", release["date"]),
        "changes": plain(release["changes"], MAX_CHANGES, lines=True),
        "url": re.fullmatch(r"https?://[!-~]+", release["url"]) and len(release["url"]) <= MAX_URL,
        "size": isinstance(release["size"], int) and release["size"] > 0,
        "sha256": re.fullmatch(r"[0-9a-f]{64}", release["sha256"]),
        "minimum": VERSION.fullmatch(release["minimum"]) and not later(release["minimum"], release["version"]),
        "withdrawn": release["version"] not in [each["version"] for each in document["withdrawn"]],
    }.items() if not holds]
    if faults:
        raise Failure(f"The feed is not as docs/update-feed.md has it: {', '.join(faults)}.")


def later(one, other):
    """Whether both are versions, and the first is the later one."""
    return bool(VERSION.fullmatch(one) and VERSION.fullmatch(other)) and version(one) > version(other)


def version(text):
    """As three numbers, which can be compared."""
    if not isinstance(text, str) or not VERSION.fullmatch(text):
        raise Failure(f"{text} is no version: three numbers with points are needed.")
    return tuple(map(int, text.split(".")))


def plain(text, at_most, lines=False):
    """Whether it can be shown to an owner as it is."""
    return (isinstance(text, str) and text.strip() and len(text.encode()) <= at_most
            and all(character.isprintable() or (lines and character == "\n") for character in text))
