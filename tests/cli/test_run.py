"""`caffepy run`: what `python SCRIPT.py` would do, with caffe there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`caffepy run` in a process of its own, from a checkout that is not installed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "caffepy", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def script(folder: Path, text: str, name: str = "script.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_it_is_main_with_its_arguments_and_caffe_is_caffepy(tmp_path: Path) -> None:
    other = tmp_path / "caffe"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('another Caffe')")
    path = script(
        tmp_path,
        f"import sys, os\nsys.path.insert(0, {str(tmp_path)!r})\nimport caffe, caffepy\n"
        "from caffe import layers as L\nimport caffe.io\nimport beside\n"
        "print(__name__, sys.argv[1:], os.path.basename(__file__), beside.x)\n"
        "print(caffe.Net is caffepy.Net, sys.path[1] == os.path.dirname(__file__))\n"
        "print(__import__('__main__').__file__ == __file__)\n",
    )
    script(tmp_path, "x = 'found'", "beside.py")
    done = run(path, "--cpu", "-x", "--help")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "__main__ ['--cpu', '-x', '--help'] script.py found",
        "True True",
        "True",
    ]


@pytest.mark.parametrize(
    ("text", "code", "stderr"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("raise SystemExit", 0, ""),
        ("import sys; sys.exit('bye')", 1, "bye\n"),
        ("import atexit, sys; atexit.register(print, 'last', file=sys.stderr)", 0, "last\n"),
    ],
)
def test_exit_codes(tmp_path: Path, text: str, code: int, stderr: str) -> None:
    done = run(script(tmp_path, text))
    assert (done.returncode, done.stderr) == (code, stderr)


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    raise ValueError('mine')\nf()\n",
        "import caffe\ncaffe.io.load_image('none.png')\n",
        "x = (\n",
        "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('second') from e\n",
    ],
)
def test_an_exception_shows_what_python_would_show(tmp_path: Path, text: str) -> None:
    path = script(tmp_path, text)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'caffepy' / '_alias'}"}
    plain = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, env=env)
    done = run(path)
    assert (done.returncode, done.stderr) == (1, plain.stderr)
    assert "Traceback" in done.stderr or "SyntaxError" in done.stderr


MODE = "import caffe\ncaffe.set_device(0)\nfor _ in range(2):\n    caffe.set_mode_gpu()\nprint('ran')\n"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_gpu_mode_can_mean_the_cpu_and_says_so_once(tmp_path: Path, how: str) -> None:
    path = script(tmp_path, MODE)
    done = run("--cpu", path) if how == "option" else run(path, CAFFEPY_MODE="cpu")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr == "CAFFEPY_MODE=cpu: set_mode_gpu() means the CPU here\n"


OLD = (
    "import sys\na = 3\nprint 'a', a / 2, 3 / 2\ntry:\n    raise ValueError, 'b'\nexcept ValueError, e:\n    print e\n"
)


def test_python_2_is_recognised_and_converted(tmp_path: Path) -> None:
    path = script(tmp_path, OLD)
    refused = run(path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{path} is written in Python 2:" in refused.stderr
    assert "line 3: print statement" in refused.stderr
    assert f"caffepy run --convert {path}" in refused.stderr
    converted = run("--convert", path)
    assert (converted.returncode, converted.stderr) == (0, "")
    assert "`/` in line 3" in converted.stdout
    done = run(tmp_path / "script_py3.py")
    assert (done.returncode, done.stdout) == (0, "a 1.5 1\nb\n")
    assert path.read_text() == OLD
    again = run("--convert", path)
    assert again.returncode == 1
    assert "script_py3.py is there already" in again.stderr


def test_a_name_of_python_2_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    done = run(script(tmp_path, "print('before')\nfor i in xrange(3): pass\n"))
    assert (done.returncode, done.stdout) == (1, "before\n")
    assert "NameError: name 'xrange' is not defined" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("'xrange' is of Python 2. Write it in Python 3")
    module = run(script(tmp_path, "import cPickle\n"))
    assert "'cPickle' is of Python 2" in module.stderr
    named = run(script(tmp_path, "from itertools import izip\n"))
    assert "'izip' is of Python 2. Write it" in named.stderr
    of_numpy = run(script(tmp_path, "import numpy as np\nnp.zeros(3, np.int)\n"))
    assert "'numpy.int' is of NumPy before 1.24. Write it" in of_numpy.stderr
    own = run(script(tmp_path, "xranges(3)\n"))
    assert "Python 2" not in own.stderr


def test_an_encoding_line_stays_true(tmp_path: Path) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes("# -*- coding: latin-1 -*-\nprint 'Stra\u00dfe'\n".encode("latin-1"))
    assert run("--convert", path).returncode == 0
    done = run(tmp_path / "latin_py3.py", PYTHONIOENCODING="utf-8")
    assert "Stra" in done.stdout
    assert "\u00df".encode() in (tmp_path / "latin_py3.py").read_bytes()


def test_files_that_are_not_there_or_not_old(tmp_path: Path) -> None:
    assert "cannot read 'none.py'" in run("none.py").stderr
    assert "nothing of Python 2 to convert" in run("--convert", script(tmp_path, "print('a')\n")).stderr


def test_views_that_were_lists_are_told(tmp_path: Path) -> None:
    done = run(script(tmp_path, "{1: 2}.keys()[0]\n"))
    assert "object is not subscriptable" in done.stderr
    assert "Write it in Python 3, beside it: caffepy run --convert" in done.stderr
    converted = run("--convert", "--in-place", script(tmp_path, "print({1: 2}.keys()[0])\n"))
    assert converted.returncode == 0
    assert run(tmp_path / "script.py").stdout == "1\n"
    assert "--in-place goes with --convert" in run("--in-place", tmp_path / "script.py").stderr


def notebook(*texts: str, version: int = 4) -> str:
    made: list[dict[str, object]] = [{"cell_type": "markdown", "source": ["print 'no code'"]}]
    for text in texts:
        lines = text.splitlines(keepends=True)
        made.append({"cell_type": "code", ("source" if version == 4 else "input"): lines, "outputs": []})
    whole = {"cells": made} if version == 4 else {"worksheets": [{"cells": made}]}
    return json.dumps({**whole, "metadata": {}, "nbformat": version})


@pytest.mark.parametrize("version", [3, 4])
def test_notebooks_are_run_and_converted(tmp_path: Path, version: int) -> None:
    cells = (
        "%matplotlib inline\nimport caffe\n!ls\n",
        "%%bash\nls -l\nrm $x",
        "%%time\n%time name = caffe.Net.__module__\nif name:\n    %timeit x\nprint('ran', name)\n",
        "caffe.Net?\n1 // 0\n",
    )
    path = tmp_path / "new.ipynb"
    path.write_text(notebook(*cells, version=version))
    done = run(path)
    assert (done.returncode, done.stdout) == (1, "ran caffepy.pycaffe.net\n")
    assert 'new.ipynb, cell 4", line 2, in <module>' in done.stderr
    old = tmp_path / "old.ipynb"
    old.write_text(notebook("%timeit f\nprint 'a',\n", "print {1: 2}.keys()[0]", version=version))
    refused = run(old)
    assert "is written in Python 2" in refused.stderr
    converted = run("--convert", old)
    assert converted.returncode == 0, converted.stderr
    assert "cell 1, line 2: print statement" in converted.stdout
    assert run(tmp_path / "old_py3.ipynb").stdout == "a 1\n"
    assert "%timeit f" in (tmp_path / "old_py3.ipynb").read_text()
    (tmp_path / "none.ipynb").write_text("no JSON")
    assert "expected a notebook" in run(tmp_path / "none.ipynb").stderr


FOLDER = {
    "main.py": "from lib.tools import twice\nimport helper\nprint twice(helper.x), open('data.txt').read()\n",
    "helper.py": "x = [1, 2].__len__()\nprint 'helper'\n",
    "data.txt": "data",
    "lib/__init__.py": "",
    "lib/tools.py": "import numbers_, os\nfrom numbers_ import two\ndef twice(x):\n    print 2\n    return x * two\n",
    "lib/numbers_.py": "two = 2L\n",
    ".hidden/old.py": "print 'left alone'\n",
}


@pytest.mark.parametrize("how", ["beside", "in place"])
def test_a_folder_is_converted_in_one_call(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "project"
    for name, text in FOLDER.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    done = run("--convert", *(["--in-place"] if how == "in place" else []), folder)
    assert done.returncode == 0, done.stderr
    target = folder if how == "in place" else tmp_path / "project_py3"
    assert (
        (target / "lib" / "tools.py").read_text().startswith("from . import numbers_; import os\nfrom .numbers_ import")
    )
    ran = subprocess.run(
        [sys.executable, "-m", "caffepy", "run", "main.py"],
        cwd=target,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "helper\n2\n4 data\n", ran.stderr
    assert (folder / ".hidden" / "old.py").read_text() == FOLDER[".hidden/old.py"]
    if how == "beside":
        assert (folder / "helper.py").read_text() == FOLDER["helper.py"]
        assert "is there already" in run("--convert", folder).stderr
