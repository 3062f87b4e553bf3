"""What importing costs, which names are public, and logging."""

import os
import re
import subprocess
import sys

import pytest

import caffepy

PUBLIC = [
    "NCCL",
    "Classifier",
    "Detector",
    "NetSpec",
    "params",
    "to_proto",
    "TEST",
    "TRAIN",
    "Layer",
    "Net",
    "NotComputedWarning",
    "Timer",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "RMSPropSolver",
    "RelPropOpts",
    "SGDSolver",
    "cpu_engine",
    "dnn",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "proto",
    "register",
    "set_cpu_engine",
    "set_device",
    "set_mode_cpu",
    "set_mode_dc_cpu",
    "set_mode_dc_gpu",
    "set_mode_eb_cpu",
    "set_mode_eb_gpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_param_diffs",
    "set_precision",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "set_threads",
    "solver_count",
    "solver_rank",
]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )


def test_importing_caffepy_imports_nothing_heavy() -> None:
    code = "import sys, numpy, google.protobuf.text_format, google.protobuf.json_format; known = set(sys.modules); "
    code += "import caffepy; print(' '.join(sys.modules.keys() - known))"
    loaded = set(python(code).stdout.split())
    assert "caffepy" in loaded
    roots = {name.split(".")[0] for name in loaded}
    assert not roots & {"cupy", "h5py", "PIL", "tqdm", "click", "lmdb", "matplotlib", "scipy", "skimage", "torch"}
    # of the standard library what takes more than a hundredth of the whole import, and own parts that few need
    late = {"statistics", "importlib.metadata", "tempfile", "subprocess", "email", "asyncio", "multiprocessing"}
    late |= {"hashlib", "secrets", "random", "numpy.random", "html"}
    own = {"dnn", "draw", "saliency", "interop", "cli", "solver", "parallel", "rules", "net.profile", "net.table"}
    own |= {"layers.loss", "layers.recurrent", "layers.detection"}
    assert not loaded & (late | {f"caffepy.{name}" for name in own} | {"caffepy.cpu.translations"})


def test_what_is_imported_late_is_there() -> None:
    code = "import caffepy; assert {'SGDSolver', 'dnn'} <= {*dir(caffepy)}; "
    code += "from caffepy import NCCL, get_solver; print(caffepy.solver.get_solver is get_solver, NCCL.__name__, "
    code += "caffepy.rules.GUIDED is not None, caffepy.dnn.__name__, hasattr(caffepy, 'nothing'))"
    assert python(code).stdout.split() == ["True", "NCCL", "True", "caffepy.dnn", "False"]


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("print(len(caffepy.layer_type_list()) == len({*TYPES}) > 120)", "True"),
        ("print('LSTM' in TYPES, 'lstm' in TYPES, TYPES['LSTM'].__name__)", "True False LSTM"),
        ("print(caffepy.layers.recurrent.__name__, caffepy.layers.LSTM.__name__)", "caffepy.layers.recurrent LSTM"),
        ("from caffepy.layers import recurrent, LSTM; print(recurrent.__name__)", "caffepy.layers.recurrent"),
        ("print('Silence' in dir(caffepy.layers), hasattr(caffepy.layers, 'Nothing'))", "True False"),
        ("from caffepy.net_spec import layers; print(layers.Silence.__name__, 'BNLL' in dir(layers))", "Silence True"),
        (
            "from caffepy.errors import LayerError\n"
            "try: caffepy.register('LSTM')(type('Mine', (Layer,), {}))\n"
            "except LayerError as error: print(str(error)[:42])",
            "layer type 'LSTM' is registered twice: by ",
        ),
        (
            "from threading import Thread\nfound = []\n"
            "threads = [Thread(target=lambda: found.append(len(TYPES))) for _ in range(8)]\n"
            "[t.start() for t in threads], [t.join() for t in threads]\nprint(len(set(found)), found[0] > 120)",
            "1 True",
        ),
    ],
)
def test_layers_are_imported_when_somebody_asks_for_one_by_name(code: str, printed: str) -> None:
    begin = "import caffepy\nfrom caffepy.layer import TYPES, Layer\nassert len(TYPES.entered) < 30\n"
    assert python(begin + code).stdout.strip() == printed.strip()


def test_the_public_names() -> None:
    assert sorted(caffepy.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert hasattr(caffepy, name)


LOGS = "import logging, caffepy; log = logging.getLogger('caffepy'); log.info('i'); log.warning('w'); log.error('e')"


def test_logging_is_silent_by_default_and_honours_glog() -> None:
    clean = {"GLOG_minloglevel": ""}
    assert python(LOGS, **clean).stderr == ""
    line = r"{}\d{{4}} \d\d:\d\d:\d\d\.\d{{6}} +\d+ <string>:1\] {}\n"
    assert re.fullmatch(line.format("E", "e"), python(LOGS, GLOG_minloglevel="2").stderr)
    expected = "".join(line.format(*letters) for letters in ("Ii", "Ww", "Ee"))
    assert re.fullmatch(expected, python(LOGS, GLOG_minloglevel="0").stderr)
