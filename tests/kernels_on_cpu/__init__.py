"""CUDA bodies on the emulated device against NumPy bodies."""
