"""The real CuPy on a machine without a GPU: `python -m pytest -p tests.cupy_on_cpu.plugin -m gpu tests`.

libcuda.so.1 is ours (driver/): its device memory is host memory, its streams are queues by CUDA's rules. One module of
CuPy, its runtime API, is compiled anew from CuPy's own source and linked with it; all else is the wheel as it is, NVRTC
included. What NVRTC has compiled is launched as the host compiler's version of the same text, as in tests/cuda_on_cpu.

It needs, beside a C++ compiler and Cython as CuPy's build uses it, CuPy with CUDA's headers installed by pip, and in
CAFFEPY_CUPY_SOURCES the folder of CuPy's source package; .ci/cupy fetches all of that. Settings, see driver/driver.cpp:

FAKECUDA_ORDER=lazy     nothing runs before somebody waits, and then only what that one needs, latest first
FAKECUDA_DEVICES=2      GPUs

Seen beside what tests/cuda_on_cpu sees: work that nobody ordered, on streams, between them and the host; memory freed
too early or never; a thread's wrong GPU; what CuPy itself refuses; how often the host waits, and its own time.
Not seen: speed; what a real driver does otherwise than its documentation says.
"""
