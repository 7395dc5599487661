"""The key that signs updates. The image carries its public half and installs nothing else."""

import os
from pathlib import Path

from common import CACHE, Failure, run, say


def require(test_key):
    """Fails unless it is clear which key signs what others will get."""
    given = os.environ.get("SOLOIST_SIGNING_KEY")
    if test_key and given:
        raise Failure("SOLOIST_SIGNING_KEY and --test-key: which of the two?")
    if not test_key and not given:
        raise Failure("SOLOIST_SIGNING_KEY names no key: a release is signed by the one that the boxes know. "
                      "For a trial: --test-key")
    if given and not Path(given).is_file():
        raise Failure(f"SOLOIST_SIGNING_KEY names {given}, and no file is there.")
    public()


def secret():
    given = os.environ.get("SOLOIST_SIGNING_KEY")
    if given:
        return Path(given)
    key = CACHE / "test-key/minisign.key"
    if not key.exists():
        say("Making a key for tests: SOLOIST_SIGNING_KEY names no other")
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        run("minisign", "-G", "-W", "-p", key.with_suffix(".pub"), "-s", key)
    return key


def public():
    key = secret().with_suffix(".pub")
    if not key.exists():
        raise Failure(f"The public half of the signing key is not at {key}.")
    return key


def sign(file, comment="signature of a Soloist update"):
    signature = file.with_name(file.name + ".minisig")
    signature.unlink(missing_ok=True)
    # No comment of the day: two builds give the same signature.
    run("minisign", "-S", "-s", secret(), "-m", file, "-t", file.name, "-c", comment, stdin=b"\n")
    return file


def verify(file):
    """Fails unless its signature beside it is by this key."""
    run("minisign", "-V", "-q", "-p", public(), "-m", file)
