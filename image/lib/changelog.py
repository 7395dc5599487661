"""What CHANGELOG.md says about a version: whole for the release's notes, for owners and short for the box."""

import re

from common import REPOSITORY, Failure

# Bytes of what the box shows beside "0.3.0 is there"; docs/update-feed.md promises it.
MAX_CHANGES = 8000
OWNERS = "### For owners"


def section(version, text=None):
    """The lines below the version's heading, without it."""
    text = text if text is not None else (REPOSITORY / "CHANGELOG.md").read_text()
    parts = re.split(r"^## (.*)$", text, flags=re.M)
    for heading, content in zip(parts[1::2], parts[2::2]):
        if re.split(r"[\s,(]", heading, maxsplit=1)[0] == version:
            if not content.strip():
                raise Failure(f"CHANGELOG.md says nothing about {version}.")
            return content.strip() + "\n"
    raise Failure(f"CHANGELOG.md has no section {version}: rename \"Unreleased\", see RELEASING.md.")


def for_owners(section):
    """The points for owners, one a line, at most MAX_CHANGES bytes of them."""
    points = of_owners(section)
    taken, room = [], MAX_CHANGES - 100
    for number, point in enumerate(points):
        room -= len(point.encode()) + 1
        if room < 0:
            rest = len(points) - number
            return "\n".join([*taken, f"- and {rest} more {'point' if rest == 1 else 'points'} in the notes of the release"])
        taken.append(point)
    return "\n".join(taken)


def of_owners(section):
    """Each point, or paragraph, as one line without Markdown's signs for code."""
    if OWNERS in section:
        section = section.split(OWNERS, 1)[1].split("\n### ", 1)[0]
    points = []
    for line in section.splitlines():
        words = line.strip().replace("`", "")
        if not words or words.startswith("#"):
            points.append("")
        elif words.startswith("- ") or not points or not points[-1]:
            points.append(words)
        else:
            points[-1] += f" {words}"
    return [point for point in points if point]
