"""`import caffe` is caffepy: the same modules, loaded once, unless a real Caffe comes earlier on the path."""

import importlib
import os
import pickle
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import caffe
import numpy as np
import pytest

import caffepy

ROOT = Path(caffepy.__file__).parents[1]
ALIAS = ROOT / "caffepy" / "_alias"
MODULES = sorted(
    module.name.removeprefix("caffepy.")
    for module in pkgutil.walk_packages(caffepy.__path__, "caffepy.")
    if "._" not in module.name
)
NEEDS = {
    "interop.torch": "torch",
    "explore.app": "uvicorn",
    "explore.guard": "starlette",
    "explore.worker": "starlette",
}
"""Modules that cannot be imported without a library of their own."""


def python(code: str, *path: Path) -> str:
    """What a fresh interpreter prints, with these folders on its PYTHONPATH."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-P", "-W", "error", "-c", code]  # -P: not the working directory
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_is_its_own_and_thin() -> None:
    assert Path(caffe.__file__).parent.name == "caffe"
    assert caffe is not caffepy
    assert caffe.__all__ == caffepy.__all__
    assert set(caffepy.__all__) <= set(dir(caffe))


@pytest.mark.parametrize("name", caffepy.__all__)
def test_public_names_are_caffepys(name: str) -> None:
    assert getattr(caffe, name) is getattr(caffepy, name)


@pytest.mark.parametrize("name", MODULES)
def test_submodules_are_caffepys(name: str) -> None:
    pytest.importorskip(NEEDS.get(name, "caffepy"))
    module = importlib.import_module(f"caffe.{name}")
    assert module is importlib.import_module(f"caffepy.{name}")
    assert module.__name__ == f"caffepy.{name}"
    assert module.__spec__ is not None
    assert module.__spec__.name == f"caffepy.{name}"


@pytest.mark.parametrize("order", [("caffe", "caffepy"), ("caffepy", "caffe")])
def test_no_file_is_loaded_twice(order: tuple[str, str]) -> None:
    code = f"""
import importlib, sys
for name in {[name for name in MODULES if find_spec(NEEDS.get(name, "caffepy"))]}:
    first, second = (importlib.import_module(package + "." + name) for package in {order})
    assert first is second, name
loaded = {{}}
for module in list(sys.modules.values()):
    if getattr(module, "__file__", None):
        assert loaded.setdefault(module.__file__, module) is module, module
print("once")
"""
    assert python(code, ROOT, ALIAS) == "once\n"


@pytest.mark.parametrize(
    "statement",
    [
        "import caffe.io; found = caffe.io.Transformer",
        "from caffe import io; found = io.Transformer",
        "from caffe.io import Transformer as found",
        "import caffe.proto.caffe_pb2; found = caffe.proto.caffe_pb2.NetParameter",
        "from caffe.proto import caffe_pb2; found = caffe_pb2.NetParameter",
        "from caffe.proto.caffe_pb2 import NetParameter as found",
        "import caffe; found = caffe.proto.caffe_pb2.NetParameter",
        "import caffe; found = caffe.io.caffe_pb2.NetParameter",
        "from caffe import *; found = Net",
        "import importlib, caffe.io; found = importlib.reload(caffe.io).Transformer",
    ],
)
def test_spellings_of_scripts(statement: str) -> None:
    printed = python(statement + "; print(found.__module__)", ROOT, ALIAS)
    assert printed.startswith("caffepy.")


def test_instances_and_pickles_cross_over() -> None:
    transformer = caffe.io.Transformer({"data": (1, 3, 4, 4)})
    assert isinstance(transformer, caffepy.io.Transformer)
    pickled = pickle.dumps(transformer)
    assert b"caffepy.io" in pickled
    assert pickle.loads(pickled).inputs == transformer.inputs
    assert pickle.loads(b"ccaffe.io\nTransformer\n.") is caffepy.io.Transformer  # as pycaffe would have written it


def test_what_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'caffe' \(of caffepy\) has no attribute 'nonsense'"):
        _ = caffe.nonsense
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        importlib.import_module("caffe.nonsense")
    with pytest.raises(ModuleNotFoundError, match="is not a package"):
        importlib.import_module("caffe.classifier.nonsense")


def test_a_real_caffe_earlier_on_the_path_wins(tmp_path: Path) -> None:
    (tmp_path / "caffe").mkdir()
    (tmp_path / "caffe" / "__init__.py").write_text("from caffe import io\n")
    (tmp_path / "caffe" / "io.py").write_text("maker = 'Berkeley'\n")
    code = "import caffepy, caffe, caffe.io; print(caffe.io.maker, hasattr(caffepy.io, 'maker'), caffe.__file__)"
    assert python(code, tmp_path, ROOT, ALIAS).split() == ["Berkeley", "False", str(tmp_path / "caffe" / "__init__.py")]


def test_the_mean_image_of_imagenet_is_where_scripts_look_for_it() -> None:
    mean = np.load(Path(caffe.__file__).parent / "imagenet" / "ilsvrc_2012_mean.npy")
    assert mean.shape == (3, 256, 256)
    np.testing.assert_allclose(mean.mean(1).mean(1), [104.00698793, 116.66876762, 122.67891434], rtol=1e-5)


def test_folders_of_others_extend_the_package(tmp_path: Path) -> None:
    """SSD's scripts bring caffe/model_libs.py; one put on the path after the import is found, too."""
    for folder, name in ((tmp_path / "before", "model_libs"), (tmp_path / "after", "more_libs")):
        (folder / "caffe").mkdir(parents=True)
        (folder / "caffe" / f"{name}.py").write_text(
            "from caffe import layers as L\nimport caffe\nnet = caffe.NetSpec\n"
        )
        (folder / "caffe" / "io.py").write_text("raise SystemExit('not this one')\n")
    code = f"""
import sys, caffe, caffepy, caffe.model_libs
from caffe.model_libs import *
sys.path.append({str(tmp_path / "after")!r})
import caffe.more_libs
import caffe.io
assert caffe.more_libs.net is net is caffepy.NetSpec
assert caffe.io is caffepy.io
try:
    import caffe.nothing_of_that_name
except ModuleNotFoundError as error:
    print(error)
"""
    assert python(code, ALIAS, ROOT, tmp_path / "before") == "No module named 'caffe.nothing_of_that_name'\n"


def test_the_compiled_module_has_pycaffes_names() -> None:
    compiled = importlib.import_module("caffe._caffe")
    assert compiled.Net is caffepy.Net
    assert compiled.Layer is caffepy.Layer
    assert isinstance(caffepy.Layer().blobs, compiled.BlobVec)
    for name in ("set_mode_cpu", "set_device", "layer_type_list", "init_log", "Timer", "__version__"):
        assert getattr(compiled, name) is getattr(caffepy, name)
    assert issubclass(caffepy.SGDSolver, compiled.Solver)
    assert compiled.SolverParameter is caffepy.proto.caffe_pb2.SolverParameter
    with pytest.raises(AttributeError, match="nothing"):
        _ = compiled.nothing
    assert python("import caffe; print(caffe._caffe.BlobVec.__name__)", ROOT, ALIAS) == "BlobVec\n"


SOURCES = {
    "__init__.py": "from .pycaffe import Net\n",
    "pycaffe.py": "from itertools import izip_longest\nfrom ._caffe import Net\n",
    "io.py": "raise SystemExit('not this one')\n",
}
"""A clone's python/caffe, of Python 2's days."""


def at_start(code: str, *path: Path) -> str:
    """What a fresh interpreter prints where the folder of the alias is a site directory, as in an installed wheel."""
    return python(f"import site; site.addsitedir({str(ALIAS)!r})\n{code}", *path)


def clone(folder: Path, **more: str) -> Path:
    (folder / "caffe").mkdir(parents=True)
    for name, text in {**SOURCES, **more}.items():
        (folder / "caffe" / name).write_text(text)
    return folder


def test_caffes_unbuilt_sources_are_told_with_the_way_out(tmp_path: Path) -> None:
    code = "try:\n import caffe\nexcept ImportError as error:\n print(error)"
    said = at_start(code, clone(tmp_path), ROOT, ALIAS)
    for part in (str(tmp_path / "caffe"), "not built", "caffepy run SCRIPT.py", "CAFFEPY_PREFER=1"):
        assert part in said


def test_caffepys_can_be_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAFFEPY_PREFER", "1")
    code = "import caffe, caffe.io, caffepy; assert caffe.io is caffepy.io; print(caffe.__file__)"
    assert at_start(code, clone(tmp_path), ROOT) == f"{ALIAS / 'caffe' / '__init__.py'}\n"
    monkeypatch.setenv("CAFFEPY_PREFER", "0")
    assert at_start("import caffe; print(caffe.__file__)", ROOT, ALIAS) == f"{ALIAS / 'caffe' / '__init__.py'}\n"


def test_a_built_caffe_is_left_alone(tmp_path: Path) -> None:
    built = clone(tmp_path, **{"_caffe.py": "class Net: pass\n", "pycaffe.py": "from ._caffe import Net\n"})
    assert at_start("import caffe; print(caffe.__file__)", built, ROOT, ALIAS) == f"{built / 'caffe' / '__init__.py'}\n"


def test_the_path_has_nothing_of_the_name(tmp_path: Path) -> None:
    code = "import sys\nsys.path[:] = [p for p in sys.path if '_alias' not in p]\ntry:\n import caffe\n"
    assert "No module named 'caffe'" in at_start(code + "except ImportError as error:\n print(error)", tmp_path)
