"""Libraries that are optional."""

import subprocess
import sys

import pytest

from caffepy.errors import StateError
from caffepy.interop import library


def test_a_library_that_is_not_there_is_named_with_what_to_install():
    with pytest.raises(StateError, match=r"to_nothing needs no_such_library .* pip install 'caffepy\[nothing\]'"):
        library("no_such_library", "to_nothing", "nothing")


def test_importing_caffepy_imports_none_of_them():
    code = "import sys, caffepy, caffepy.dnn, caffepy.interop.safetensors\n" + (
        "print(sorted({'torch', 'onnx', 'safetensors', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
