#!/usr/bin/env bash
# This machine's GPU: correctness of every layer and net on it, then how fast they are.
#     bash benchmarks/gpu.sh [--dry] [options of `python -m benchmarks gpu`]
# Needs this repository, NumPy, protobuf, pytest and CuPy. PyTorch is what caffepy is compared with, where it is
# installed. PYTHON names the interpreter. With --dry, which needs no GPU and no CuPy but a C++ compiler, the golden
# layers and the benchmark run on a GPU that is emulated on the CPU: that proves this script and measures nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python3}

which=(-m gpu)
for option in "$@"; do
    if [ "$option" = --dry ]; then which=(-k "gpu-ascending and not kernels_on_cpu"); fi
done

# The folders with tests in GPU mode; the others' tests need more packages.
"$python" -m pytest -q -p no:cacheprovider "${which[@]}" tests/gpu tests/layers tests/net tests/kernels_on_cpu
tests=$?
"$python" -m benchmarks gpu "$@"
figures=$?
echo
echo "tests: exit status $tests; figures: exit status $figures"
exit $((tests || figures))
