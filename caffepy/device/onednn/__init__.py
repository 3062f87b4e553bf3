"""oneDNN, Intel's library of layers on CPUs, through its C interface: no compiler, nothing of its own to build."""
