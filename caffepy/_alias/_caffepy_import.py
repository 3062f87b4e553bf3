"""Run when Python starts, by caffepy-import.pth: what `import caffe` means where others' folders of that name are."""

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

_OWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "caffe")


class _Caffe:
    """Looks at what the path has as `caffe`, before it is imported."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """caffepy's if CAFFEPY_PREFER is set; else nothing, but an ImportError for Caffe's sources that are unbuilt."""
        if name != "caffe":
            return None
        if os.environ.get("CAFFEPY_PREFER", "0") != "0":
            return importlib.machinery.PathFinder.find_spec(name, [os.path.dirname(_OWN)])
        found = importlib.machinery.PathFinder.find_spec(name, sys.path)
        for folder in (found and found.submodule_search_locations) or ():
            sources = os.path.isfile(os.path.join(folder, "pycaffe.py"))
            if sources and not importlib.machinery.PathFinder.find_spec("caffe._caffe", [folder]):
                raise ModuleNotFoundError(
                    f"{folder} comes first on the path and is Caffe's source code, not built: it has no _caffe. For "
                    "caffepy's caffe run the script by `caffepy run SCRIPT.py`, set CAFFEPY_PREFER=1, or take that "
                    "folder off the path",
                    name="caffe._caffe",
                )
        return None


sys.meta_path.insert(0, _Caffe)
