"""Prints the one shell command in README.md that has the given word, so that CI runs what users are told to run."""

import re
import sys
from pathlib import Path

word = sys.argv[1]
readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
commands = [
    line for block in blocks for line in block.splitlines() if line.startswith("python3 -m venv") and word in line
]
if len(commands) != 1:
    sys.exit(f"README.md has {len(commands)} commands 'python3 -m venv ... {word} ...' in its sh blocks, expected 1")
print(commands[0])
