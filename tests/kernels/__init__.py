"""What the CUDA compiler says of kernels/*.cu: registers, spills, shared memory, and so blocks per multiprocessor."""
