"""Prints pytest's short summary, if there is one, and its closing line from the given log."""

import sys
from pathlib import Path

lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
starts = [number for number, line in enumerate(lines) if "short test summary info" in line]
print("\n".join(lines[starts[-1] if starts else -1 :]))
