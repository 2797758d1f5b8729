"""Where is what is built, and what is run?"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
ARTIFACT = BUILD / "lambda" / "broker" / "bootstrap"
ROTATOR = BUILD / "lambda" / "rotator" / "bootstrap"
BIN = ROOT / ".venv" / "bin"
# The command line, as `make command` builds it.
COMMAND = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "hallpass"
