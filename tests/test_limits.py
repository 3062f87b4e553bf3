"""What a model may do to the process that loads it: every kind of file and module it can name, and every way in."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import caffepy as caffe
from caffepy import dnn, limits
from caffepy.cli import main
from caffepy.data.pictures import read_picture
from caffepy.data.threads import side_by_side
from caffepy.errors import ArgumentError, CaffeError, DataError, MissingFileError, NotAllowedError
from caffepy.limits import COMPUTES, Limits, applied, in_force
from caffepy.proto.caffe_pb2 import BlobProto, SolverState

PROBS = """
input: "x" input_shape { dim: 1 dim: 2 dim: 1 dim: 1 }
input: "y" input_shape { dim: 1 dim: 1 dim: 1 dim: 1 }
"""
PYTHON = """
input: "data" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
layer { name: "own" type: "Python" bottom: "data" top: "own" python_param { module: "imported_by_a_model" layer: "L" } }
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module that a Python layer may name, and that marks that it ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("imported_by_a_model.py").write_text(
        "import caffe\nclass L(caffe.Layer):\n"
        "    def reshape(self, bottom, top): top[0].reshape(1, 2)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 1\n"
    )
    Path("python.prototxt").write_text(PYTHON)
    yield tmp_path
    sys.modules.pop("imported_by_a_model", None)


def imported() -> bool:
    return "imported_by_a_model" in sys.modules


# ---- modules


@pytest.mark.parametrize(
    "load",
    [
        lambda: caffe.Net("python.prototxt", caffe.TEST, untrusted=True),
        lambda: caffe.Net("python.prototxt", caffe.TEST, limits=COMPUTES),
        lambda: caffe.Net("python.prototxt", caffe.TEST, untrusted=True, allowed=["another", "./imported_by_a_model"]),
        lambda: caffe.Classifier("python.prototxt", None, untrusted=True),
        lambda: caffe.Detector("python.prototxt", None, limits=COMPUTES),
        lambda: dnn.readNetFromCaffe("python.prototxt"),
        lambda: dnn.readNetFromCaffe(PYTHON.encode()),
    ],
)
def test_no_module_is_imported_that_is_not_allowed(here: Path, load: Callable[[], object]) -> None:
    with pytest.raises(NotAllowedError, match=r"layer 'own' \(Python\): would import the module 'imported_by_a_model'"):
        load()
    assert not imported()


@pytest.mark.parametrize(
    "load",
    [
        lambda: caffe.Net("python.prototxt", caffe.TEST),
        lambda: caffe.Net("python.prototxt", caffe.TEST, untrusted=True, allowed=["imported_by_a_model"]),
        lambda: caffe.Net("python.prototxt", caffe.TEST, limits=Limits(allowed=("imported_by_a_model",))),
        lambda: caffe.Classifier("python.prototxt", None),
        lambda: dnn.readNetFromCaffe("python.prototxt", limits=Limits(allowed=("all",))),
    ],
)
def test_pycaffes_own_calls_trust_and_what_is_allowed_runs(here: Path, load: Callable[[], object]) -> None:
    load()
    assert imported()


@pytest.mark.parametrize(
    "command",
    [
        "info python.prototxt",
        "time python.prototxt --iterations 1",
        "test python.prototxt none.caffemodel",
        "classify python.prototxt none.caffemodel none.png",
        "extract-features python.prototxt none.caffemodel none.png --blob own -o out.npy",
        "saliency python.prototxt picture.png --random-weights",
        "localize python.prototxt none.caffemodel picture.png",
        "deepdream python.prototxt none.caffemodel picture.png --layer own",
        "visualize-class python.prototxt none.caffemodel --target 1",
        "evaluate-saliency python.prototxt none.caffemodel .",
        "train solver.prototxt",
    ],
)
def test_no_command_imports_a_module_unasked(here: Path, command: str) -> None:
    Image.new("RGB", (4, 4)).save("picture.png")
    Path("solver.prototxt").write_text('net: "python.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1')
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 1
    assert "--allow imported_by_a_model" in result.output
    assert not imported()
    CliRunner().invoke(main, [*command.split(), "--allow", "imported_by_a_model"])
    assert imported()


# ---- files


def refused(model: str, **how: Any) -> str:
    """The file that is refused when this model is loaded, or nothing: what the file holds may be wrong."""
    try:
        caffe.Net(model, caffe.TEST, **how).close()
    except NotAllowedError as error:
        return str(error)
    except CaffeError:
        pass
    return ""


NAMING = {
    "infogain": PROBS
    + 'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "y" infogain_loss_param { source: "%s" } }',
    "mean": 'layer { name: "l" type: "MemoryData" top: "a" top: "b" transform_param { mean_file: "%s" } '
    "memory_data_param { batch_size: 1 channels: 1 height: 1 width: 1 } }",
    "list": 'layer { name: "l" type: "ImageData" top: "a" top: "b" image_data_param { source: "%s" } }',
    "windows": 'layer { name: "l" type: "WindowData" top: "a" top: "b" transform_param { crop_size: 4 } '
    'window_data_param { source: "%s" batch_size: 1 } }',
    "lmdb": 'layer { name: "l" type: "Data" top: "a" data_param { source: "%s" batch_size: 1 backend: LMDB } }',
    "leveldb": 'layer { name: "l" type: "Data" top: "a" data_param { source: "%s" batch_size: 1 } }',
    "hdf5": 'layer { name: "l" type: "HDF5Data" top: "a" hdf5_data_param { source: "%s" batch_size: 1 } }',
    "output": PROBS
    + 'layer { name: "l" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "%s" } }',
}


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize("path", ["secret", "../{}/secret", "{}/folder/../secret", "folder/link"])
def test_no_file_is_touched_that_is_not_allowed(here: Path, kind: str, path: str) -> None:
    Path("folder").mkdir()
    Path("secret").write_bytes(b"anything")
    Path("folder/link").symlink_to(here / "secret")
    Path("net.prototxt").write_text(NAMING[kind] % path.format(here.name if path.startswith("..") else here))
    for allowed in ([], ["folder/"], ["secret"], ["another", "./secret2", "./folder"]):
        with pytest.raises(NotAllowedError, match=r"layer 'l' .*would open the file .*--allow .*/"):
            caffe.Net("net.prototxt", caffe.TEST, untrusted=True, allowed=allowed)
    for trusted in ({}, {"untrusted": True, "allowed": ["./secret"]}, {"limits": Limits(("../",))}):
        assert "secret" not in refused("net.prototxt", **trusted)


def test_files_that_a_list_names_must_be_allowed_as_well(here: Path) -> None:
    Path("in").mkdir()
    Image.new("RGB", (4, 4)).save("in/a.png")
    Image.new("RGB", (4, 4)).save("b.png")
    Path("in/list").write_text(f"{here}/in/a.png 0\n{here}/b.png 1\n")
    Path("net.prototxt").write_text(
        'layer { name: "l" type: "ImageData" top: "a" top: "b" image_data_param { source: "in/list" batch_size: 2 } }'
    )
    net = caffe.Net("net.prototxt", caffe.TEST, untrusted=True, allowed=["in/"])
    with pytest.raises(NotAllowedError, match=r"b\.png"):  # on the thread that makes batches ahead
        net.forward()
    caffe.Net("net.prototxt", caffe.TEST, untrusted=True, allowed=["."]).forward()


def test_an_allowed_infogain_matrix_is_read(here: Path) -> None:
    Path("h").write_bytes(BlobProto(num=1, channels=1, height=2, width=2, data=[1, 0, 0, 1]).SerializeToString())
    Path("net.prototxt").write_text(NAMING["infogain"] % "h")
    net = caffe.Net("net.prototxt", caffe.TEST, untrusted=True, allowed=["./h"])
    net.forward()


def test_sizes_named_for_evaluation_are_read_when_allowed(here: Path) -> None:
    text = """
    input: "d" input_shape { dim: 1 dim: 1 dim: 1 dim: 7 } input: "o" input_shape { dim: 1 dim: 1 dim: 1 dim: 8 }
    layer { name: "l" type: "DetectionEvaluate" bottom: "d" bottom: "o" top: "e"
            detection_evaluate_param { num_classes: 3 name_size_file: "sizes" } }
    """
    Path("sizes").write_text("a 10 20\n")
    Path("net.prototxt").write_text(text)
    rows = np.array([0, 1, 0.9, 0, 0, 1, 1], np.float32), np.array([0, 1, 0, 0, 0, 1, 1, 0], np.float32)

    def run(allowed: list[str]) -> None:
        net = caffe.Net("net.prototxt", caffe.TEST, untrusted=True, allowed=allowed)
        net.blobs["d"].data[...], net.blobs["o"].data[...] = rows
        net.forward()

    with pytest.raises(NotAllowedError, match=r"layer 'l' .*'sizes'"):
        run([])
    run(["./sizes"])


def test_a_solver_reads_and_writes_only_what_is_allowed(here: Path) -> None:
    Path("in").mkdir()
    net = 'input: "x" input_shape { dim: 1 } layer { name: "i" type: "InnerProduct" bottom: "x" top: "i" ' + (
        "inner_product_param { num_output: 1 axis: 0 } } "
        'layer { name: "l" type: "EuclideanLoss" bottom: "i" bottom: "x" }'
    )
    Path("in/net.prototxt").write_text(net)
    Path("out.prototxt").write_text(net)
    caffe.Net("out.prototxt", caffe.TEST).save("out.caffemodel")
    base = 'base_lr: 0 lr_policy: "fixed" max_iter: 1 snapshot: 1 '
    for name, text in {
        "definition": 'net: "out.prototxt"',
        "test": 'train_net: "in/net.prototxt" test_net: "/etc/passwd" test_iter: 1 test_interval: 1',
        "weights": 'net: "in/net.prototxt" weights: "out.caffemodel"',
        "prefix": 'net: "in/net.prototxt" snapshot_prefix: "elsewhere"',
    }.items():
        Path(f"in/{name}.prototxt").write_text(base + text)
        with pytest.raises(NotAllowedError, match="would open the file"):
            caffe.get_solver(f"in/{name}.prototxt", limits=Limits(("in/",)))
        result = CliRunner().invoke(main, ["train", f"in/{name}.prototxt"])
        assert "would open the file" in result.output, name
    Path("in/good.prototxt").write_text(base + 'net: "in/net.prototxt"')
    assert CliRunner().invoke(main, ["train", "in/good.prototxt", "--weights", "out.caffemodel"]).exit_code == 0
    assert Path("in/good_iter_1.caffemodel").exists()
    state = SolverState.FromString(Path("in/good_iter_1.solverstate").read_bytes())
    state.learned_net = str(here / "out.caffemodel")
    Path("in/s.solverstate").write_bytes(state.SerializeToString())
    solver = caffe.get_solver("in/good.prototxt", limits=Limits(("in/",)))
    with pytest.raises(NotAllowedError, match=r"out\.caffemodel"):
        solver.restore("in/s.solverstate")


def test_a_path_with_a_nul_is_no_path() -> None:
    with pytest.raises(MissingFileError, match="is no path"):
        Limits(("./x",)).check_file("a\0b")


# ---- pictures


def test_pictures_are_limited_wherever_they_are_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with applied(Limits(pixels=599)):
        for read in (lambda: caffe.io.load_image(tmp_path / "a.png"), lambda: read_picture(tmp_path / "a.png", True)):
            with pytest.raises(CaffeError, match="30 x 20 pixels; at most 599 are read"):
                read()
    with applied(Limits(formats=("JPEG",))):
        for read in (lambda: caffe.io.load_image(tmp_path / "a.png"), lambda: read_picture(tmp_path / "a.png", True)):
            with pytest.raises(CaffeError):
                read()
    assert caffe.io.load_image(tmp_path / "a.png").shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "eps"])
def test_postscript_is_run_by_nobody(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n")
    with pytest.raises(CaffeError, match="PNG, JPEG"):
        caffe.io.load_image(tmp_path / f"a.{suffix}")
    with pytest.raises(DataError, match="PNG, JPEG"):
        read_picture(tmp_path / f"a.{suffix}", True)


# ---- the object


def test_limits_hold_within_a_net_and_nowhere_else(here: Path) -> None:
    Path("net.prototxt").write_text('input: "x" input_shape { dim: 1 }')
    policy = Limits((), memory=10**6)
    net = caffe.Net("net.prototxt", caffe.TEST, limits=policy)
    assert net.limits is policy
    seen: list[Limits] = []
    net.before_forward(lambda layer: seen.append(in_force()))
    net.forward()
    assert seen == [policy]
    assert in_force() == Limits()
    with pytest.raises(ArgumentError, match="not both"):
        caffe.Net("net.prototxt", caffe.TEST, limits=policy, untrusted=True)


def test_work_on_other_threads_has_them_too() -> None:
    policy = Limits((), pixels=7)
    with applied(policy):
        assert side_by_side(lambda item: in_force(), list(range(50))) == [policy] * 50
    found: list[Limits] = []
    thread = threading.Thread(target=lambda: found.append(in_force()))
    thread.start()
    thread.join()
    assert found == [Limits()]


def test_one_word_is_a_module_and_a_path_is_a_file() -> None:
    some = limits.limits_of(None, untrusted=True, allowed="data", memory=None)
    some.check_module("data")
    with pytest.raises(NotAllowedError):
        some.check_file("data/train")
    with pytest.raises(NotAllowedError):
        Limits(("data/",)).check_module("data")
    Limits(("data/",)).check_file("data/train")
    Limits(("/",)).check_file("/etc/passwd")
    with pytest.raises(NotAllowedError):
        Limits(("/",)).check_module("os")
