#!/usr/bin/env bash
# This machine's GPU in MINUTES (8): first whether results are right, then how fast they are.
#     bash benchmarks/gpu.sh [--dry[=cupy]] [options of `python -m benchmarks gpu`]
# Needs this repository, NumPy, protobuf, pytest and CuPy; pytest-xdist saves minutes. PyTorch is what caffepy is compared
# with, where it is installed. PYTHON names the interpreter. Without a GPU --dry proves this script and measures nothing:
# it needs a C++ compiler and no CuPy; --dry=cupy runs the real CuPy, as tests/cupy_on_cpu says.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python3}
seconds=$((${MINUTES:-8} * 60))

which=(-m gpu)
for option in "$@"; do
    case $option in
    --dry) which=(-k gpu-ascending) ;;
    --dry=cupy) which=(-p tests.cupy_on_cpu.plugin -m "gpu and not long") ;;
    esac
done
if "$python" -c 'import xdist' 2>/dev/null; then which+=(-n "$(($(nproc) > 8 ? 8 : $(nproc)))"); fi

# Three eighths of the time for: arrays, streams and threads of callers, races while the GPU is busy, every golden layer,
# solvers. The rest of the tests in GPU mode: pytest -m gpu tests
timeout $((seconds * 3 / 8)) "$python" -m pytest -q -p no:cacheprovider "${which[@]}" \
    tests/gpu/test_callers.py tests/gpu/test_races.py tests/layers/test_golden.py tests/solver/test_golden.py
tests=$?
left=$((seconds - SECONDS - seconds / 16)) # the last that is begun takes its time
"$python" -m benchmarks gpu --no-compile --minutes "$(awk "BEGIN { print $left / 60 }")" "$@"
figures=$?
echo
echo "tests: exit status $tests (124: the time was over); figures: exit status $figures; $SECONDS s"
exit $((tests || figures))
