"""Who caffepy is compared with: which of them can be imported, by which interpreter, and in which version."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

MODULES = {
    "torch": "torch",
    "torch-compile": "torch",
    "onnxruntime": "onnxruntime",
    "opencv": "cv2",
    "caffe": "caffe",
    "captum": "captum",
    "grad-cam": "pytorch_grad_cam",
}
"""Of each peer, the module that it needs."""

TITLES = {
    "caffepy": "caffepy",
    "torch": "PyTorch eager",
    "torch-compile": "PyTorch compiled",
    "onnxruntime": "ONNX Runtime",
    "opencv": "OpenCV",
    "caffe": "Caffe",
}

_ASK = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
    except Exception:
        continue
    if name != "caffe" or "caffepy" not in sys.modules:  # what caffepy itself installs under that name is no peer
        found[name] = str(getattr(module, "__version__", "unknown"))
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Peer:
    """One that is there."""

    python: str
    version: str


def found(wanted: Sequence[str], pythons: Sequence[str]) -> dict[str, Peer]:
    """Those of the wanted that an interpreter has; the first that has one runs it."""
    modules = sorted({MODULES[name] for name in wanted})
    there: dict[str, Peer] = {}
    for python in pythons:
        run = subprocess.run(
            [python, "-W", "ignore", "-c", _ASK, *modules], stdout=subprocess.PIPE, check=True, text=True
        )
        for module, version in json.loads(run.stdout.splitlines()[-1]).items():
            there.setdefault(module, Peer(python, version))
    return {name: there[MODULES[name]] for name in wanted if MODULES[name] in there}
