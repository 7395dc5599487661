"""The files of board/: what they ask of the boot partition and of the root."""

import tomllib

from common import REPOSITORY


def read_all():
    files = sorted((REPOSITORY / "board").glob("*.toml"))
    return [tomllib.loads(file.read_text()) for file in files]


def gathered(boards, *path):
    """The lists at `path` of all boards as one, each entry once, in the order of the files."""
    found = []
    for board in boards:
        for name in path:
            board = board[name]
        found += [entry for entry in board if entry not in found]
    return found
