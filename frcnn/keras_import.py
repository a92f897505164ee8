"""Imports Keras and its backend; before anything else does, that takes a quarter less time."""

from frcnn.startup import collection_paused

with collection_paused():
    import keras  # noqa: F401
