"""A directed graph to be drawn: as graphviz's text, by graphviz, or as SVG without it."""

import os
import shutil
from dataclasses import dataclass, field

from caffepy.draw.svg import Edge, Node, render
from caffepy.errors import ArgumentError, visible
from caffepy.proto.files import replacing

_SOURCE = ("dot", "gv", "raw")


@dataclass
class Diagram:
    """Nodes by key, and edges; what is written after pydot's Dot."""

    name: str
    rankdir: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def to_string(self) -> str:
        """In graphviz's language."""
        lines = [f"digraph {_quoted(self.name)} {{", f"rankdir={self.rankdir};"]
        for key, node in self.nodes.items():
            look = f'shape={node.shape}, style=filled, fillcolor="{node.color}"'
            lines.append(f"{_quoted(key)} [label={_quoted(node.label)}, {look}];")
        for edge in self.edges:
            label = f" [label={_quoted(edge.label)}]" if edge.label else ""
            lines.append(f"{_quoted(edge.source)} -> {_quoted(edge.target)}{label};")
        return "\n".join([*lines, "}", ""])

    def create(self, format: str = "png", prog: str = "dot") -> bytes:
        """The contents of a file of that format; `prog` is graphviz's program. Without it: svg and dot only."""
        if format in _SOURCE:
            return self.to_string().encode()
        program = shutil.which(prog)
        if program is None and format == "svg":
            return render(self.name, self.rankdir, self.nodes, self.edges).encode()
        if program is None:
            raise ArgumentError(
                f"drawing as {format!r} takes graphviz, and its program {prog!r} is not on the PATH: install graphviz, "
                "or draw to .svg, which needs nothing"
            )
        import subprocess

        done = subprocess.run([program, f"-T{format}"], input=self.to_string().encode(), capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise ArgumentError(f"{program} cannot draw this as {format!r}: {said}")
        return done.stdout

    def write(self, path: str | os.PathLike[str], prog: str = "dot", format: str = "raw") -> bool:
        """Write what `create` gives into a file."""
        picture = self.create(format, prog)
        with replacing(path) as beside, open(beside, "wb") as file:
            file.write(picture)
        return True


def _quoted(text: str) -> str:
    lines = (visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'
