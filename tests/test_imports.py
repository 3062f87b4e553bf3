"""Imports go one way."""

from graphlib import TopologicalSorter

import pytest

grimp = pytest.importorskip("grimp", reason="needs import-linter")


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions and for types alone count too."""
    graph = grimp.build_graph("caffepy", cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert ("caffepy.interop.torch", "caffepy.net") in {(m, i) for m in imported for i in imported[m]}
    TopologicalSorter(imported).prepare()
