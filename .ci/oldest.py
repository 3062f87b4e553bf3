"""Prints the oldest release that pyproject.toml allows of each dependency: numpy==1.26 protobuf==4.25 ...

With an extra's name, of the first that it brings: cupy-cuda12x==14.
"""

import platform
import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
oldest = []
extras = [project["optional-dependencies"][name][0] for name in sys.argv[1:]]
for requirement in extras or project["dependencies"]:
    where = re.search(r"platform_system == '(\w+)'", requirement)
    if where is not None and where[1] != platform.system():
        continue
    bounds = re.match(r"([\w-]+)>=([\d.]+)", requirement)
    if bounds is None:
        sys.exit(f"pyproject.toml: dependency '{requirement}' has no lower bound; write NAME>=VERSION")
    oldest.append("==".join(bounds.groups()))
print(*oldest)
