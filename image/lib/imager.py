"""The list for Raspberry Pi Imager ("Use custom URL" or "Use custom file" under "Content Repository"): one
system, by name, with the boards that it runs on.

The fields and their bounds are those of Imager's own schema and notes (doc/json-schema/os-list-schema.json
and doc/schema-notes.md in raspberrypi/rpi-imager)."""

import json
import re

from common import Failure

# By the name in board/: what Imager calls such a board, and its description there. The Zero 2 W has the
# Raspberry Pi 3's processor and its tag.
BOARDS = {
    "Raspberry Pi 5": ("pi5-64bit", "Raspberry Pi 5 and 500"),
    "Raspberry Pi 4": ("pi4-64bit", "Raspberry Pi 4 Model B and 400"),
    "Raspberry Pi 3": ("pi3-64bit", "Raspberry Pi 3 Model A+, B and B+"),
    "Raspberry Pi Zero 2 W": ("pi3-64bit", "Raspberry Pi Zero 2 W"),
}
# In which the schema has these.
INIT_FORMATS = ["", "systemd", "cloudinit", "cloudinit-rpi", "rpi-preseed", "none"]
ARCHITECTURES = ["armel", "armhf", "armv8"]
REQUIRED = {"name": str, "description": str, "icon": str, "url": str, "extract_size": int, "extract_sha256": str,
            "image_download_size": int, "release_date": str, "devices": list}
PACKED = (".zip", ".gz", ".xz", ".zst", ".zstd")


def document(boards, version, date, address, image, extracted):
    """`image` and `extracted` are the (bytes, SHA-256) of the packed image and of what is in it; `address` is
    that of the folder in which it is published."""
    known = [board["name"] for board in boards if board["name"] in BOARDS]
    left = [board["name"] for board in boards if board["name"].startswith("Raspberry Pi") and board["name"] not in BOARDS]
    if left:
        raise Failure(f"image/lib/imager.py does not know {', '.join(left)}.")
    devices = [{"name": name, "tags": [tag], "description": description, "matching_type": "exclusive", "architecture": "armv8"}
               for name, (tag, description) in BOARDS.items() if name in known]
    system = {
        "name": f"Soloist {version}",
        "description": "Solo Bitcoin mining with your own nodes and a few miners",
        "icon": f"{address}/soloist.svg",
        "url": f"{address}/soloist-{version}-arm64.img.zst",
        "extract_size": extracted[0],
        "extract_sha256": extracted[1],
        "image_download_size": image[0],
        "image_download_sha256": image[1],
        "release_date": date,
        # Its settings are in soloist.toml on the card, not in what Imager could write there.
        "init_format": "none",
        "architecture": "armv8",
        "devices": sorted({tag for device in devices for tag in device["tags"]}),
    }
    return {"imager": {"devices": devices}, "os_list": [system]}


def write(document, target):
    faults = check(document)
    if faults:
        raise Failure(f"Imager would not take the list: {', '.join(faults)}.")
    target.write_text(json.dumps(document, indent=2) + "\n")
    return target


def check(document):
    """What Imager's schema, and the notes about it, would object to."""
    faults = []
    if not document.keys() <= {"imager", "os_list"} or not isinstance(document.get("os_list"), list):
        return ["os_list"]
    tags = set()
    for device in document.get("imager", {}).get("devices", []):
        if not all(isinstance(device.get(key), str) and device[key] for key in ["name", "description"]):
            faults.append("devices")
        tags |= set(device.get("tags", []))
    for system in document["os_list"]:
        faults += [key for key, kind in REQUIRED.items() if type(system.get(key)) is not kind or not system[key]]
        faults += [key for key, holds in {
            "url": address(system.get("url")) and system["url"].endswith(PACKED),
            "icon": address(system.get("icon")),
            "extract_size": positive(system.get("extract_size")) and system["extract_size"] % 512 == 0,
            "extract_sha256": digest(system.get("extract_sha256")),
            "image_download_size": positive(system.get("image_download_size")),
            "image_download_sha256": digest(system.get("image_download_sha256")),
            "release_date": re.fullmatch(r"\d{4}-\d\d-\d\d", str(system.get("release_date"))),
            "init_format": system.get("init_format", "") in INIT_FORMATS,
            "architecture": system.get("architecture", "armv8") in ARCHITECTURES,
            # Else no choice of a board shows it.
            "devices": not tags or tags >= set(system.get("devices") or [None]),
        }.items() if not holds and key not in faults]
    return faults


def address(value):
    return isinstance(value, str) and re.fullmatch(r"https?://[!-~]+", value)


def positive(value):
    return type(value) is int and value > 0


def digest(value):
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
