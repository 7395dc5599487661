"""Tests of the builder, which .ci/box runs: in image/, `python3 -m unittest discover -b -s tests -t .`. They
take seconds, need Debian and the tools of image/install-tools, and no network."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "lib"), str(Path(__file__).resolve().parent)]
