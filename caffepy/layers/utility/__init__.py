"""Blobs joined, cut, moved, reduced and combined; and layers that users write in Python."""
