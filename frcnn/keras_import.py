"""Imports Keras and its backend; before anything else does, that takes a third less time."""

import gc

from frcnn.startup import collection_paused

with collection_paused():
    import keras  # noqa: F401
# What has been imported stays, so that no collection needs to go through it ever again.
gc.freeze()
