"""Blobs that come from outside the net: files, arrays, fillers, the caller."""
