"""Training data: databases, lists of pictures and HDF5 files as they are read, transformed and written."""
