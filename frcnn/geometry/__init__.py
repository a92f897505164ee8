"""Boxes and anchors on the host, in NumPy."""
