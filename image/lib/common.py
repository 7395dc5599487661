"""What all steps of the build share: places, messages, running programs."""

import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = REPOSITORY / "image"
CACHE = Path(os.environ.get("SOLOIST_IMAGE_CACHE", Path.home() / ".cache/soloist-image"))
STARTED = time.monotonic()

# Whatever the builder's own habit is: some of what is made here keeps its rights in the image.
os.umask(0o022)


class Failure(Exception):
    """Something that the builder cannot mend; the text says what to do."""


def say(text):
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", file=sys.stderr, flush=True)


def run(*command, stdin=None, **options):
    """Runs a program to its end. Its output is shown only when it fails."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not installed. Say: image/install-tools") from None
    if done.returncode != 0:
        told = (done.stdout + done.stderr).decode(errors="replace")[-3000:]
        raise Failure(f"{' '.join(command)[:300]} ended with {done.returncode}:\n{told}")
    return done.stdout


def size(path):
    return f"{path.stat().st_size / 1e6:.1f} MB"


def source_date():
    """The time that every file of the image carries: that of the last commit, Unix seconds."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    return int(run("git", "-C", REPOSITORY, "log", "-1", "--format=%ct"))


def reproducible():
    """The environment in which two builds of one commit give the same bytes."""
    return os.environ | {"SOURCE_DATE_EPOCH": str(source_date()), "LC_ALL": "C", "TZ": "UTC"}


def owners_file():
    """The file on the boot partition: Wi-Fi, which only the box knows, and the daemon's settings."""
    head = (IMAGE / "wifi.toml").read_text()
    settings = (IMAGE / "soloist.toml").read_text()
    # Its own first lines are about a file that the owner edits in place.
    return head + settings[settings.index("# ---- Who is paid"):]


def listed(name):
    """The lines of a list in image/, without comments."""
    lines = (IMAGE / name).read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
