"""The detection model, compiled, with the anchors made once for each shape."""

import contextlib
import logging
from collections import OrderedDict

import keras
import numpy as np
from keras import ops

from frcnn.geometry.anchors import pyramid_anchors
from frcnn.geometry.boxes import norm_boxes
from frcnn.inference.folding import FoldedModel
from frcnn.network import ops as frcnn_ops
from frcnn.network.graph import Detector
from frcnn.startup import collection_paused, is_detection_only

log = logging.getLogger(__name__)

# Anchors of so many shapes are kept; those of a 1024x1024 image take 4 MB.
REMEMBERED_SHAPES = 16


class CompiledDetector:
    """The part of a model that detection needs, BatchNorm folded, as a compiled function.

    On TensorFlow one graph serves all image sizes and batch sizes. XLA (`jit_compile`) and JAX
    compile anew for each molded size, and there for a few sizes of a batch, since one is filled up
    to the next power of two.

    Args:
        model: the inference model of `frcnn.network.graph`.
        config: Config.
        jit_compile: True for XLA, False, or "auto": XLA where Keras chooses it (JAX; TensorFlow
            with a GPU), on TensorFlow only if all images are molded to one shape.

    Attributes:
        jit_compile: bool, what was chosen.
        each_shape: whether each new shape compiles.
        shapes: list of (B, H, W), in the order in which they were compiled; None is any number.

    Call: molded images float32 `[B, H, W, C]`, metas float32 `[B, META]`, and the most images of
    that shape that a batch held so far, for what is filled up to be no new shape → the detections
    of `DetectionLayer`, a NumPy array `[B, DETECTION_MAX_INSTANCES, 6]`.
    """

    def __init__(self, model, config, jit_compile="auto"):
        if jit_compile not in (True, False, "auto"):
            raise ValueError(f'jit_compile is {jit_compile!r}; allowed are True, False and "auto".')
        self.config, self.shapes = config, []
        anchors = model.get_layer("anchors").output
        with collection_paused():
            self._folded = FoldedModel(model, model.outputs[:1], [*model.inputs, anchors])
        inner = self._folded.model
        self.model = Detector(inner.inputs, inner.outputs[0])
        self._choose(jit_compile)
        self._run = frcnn_ops.compiled(self.model)
        self._anchors = OrderedDict()

    def _choose(self, jit_compile):
        on_jax = keras.backend.backend() != "tensorflow"
        if jit_compile == "auto" and None in self.model.inputs[0].shape[1:] and not on_jax:
            jit_compile = False
        if jit_compile != "auto":
            self.model.jit_compile = bool(jit_compile)
        self.jit_compile = bool(self.model.jit_compile)
        self.each_shape = self.jit_compile or on_jax

    def refresh(self):
        """Takes over weights that have changed; call it before a series of calls."""
        has_changed = self._folded.refresh()
        if has_changed and is_detection_only() and keras.backend.backend() == "tensorflow":
            # The compiled function has kept the old ones, and would compute with them.
            self._run = frcnn_ops.compiled(self.model)
            self.shapes.clear()

    def __call__(self, molded, metas, most=1):
        count, *sides = molded.shape[:3]
        shape = tuple(self.model.inputs[0].shape[:3])
        if self.each_shape:
            shape = (2 ** (max(count, most) - 1).bit_length(), *sides)
            molded, metas = (_filled(x, shape[0]) for x in (molded, metas))
        is_new = shape not in self.shapes
        if is_new:
            self.shapes.append(shape)
            log.info("detection is compiled for batches of %s molded images of %s x %s pixels",
                     *("any number" if side is None else side for side in shape))
        with collection_paused() if is_new else contextlib.nullcontext():
            return self._run(molded, metas, self._anchors_for(tuple(sides)))[:count]

    def _anchors_for(self, shape):
        """Normalized anchors of a molded image as a tensor `[1, A, 4]`, made once for a shape."""
        if shape in self._anchors:
            self._anchors.move_to_end(shape)
        else:
            anchors = norm_boxes(pyramid_anchors(self.config, shape), shape)
            self._anchors[shape] = ops.convert_to_tensor(anchors[None].astype(np.float32))
            if len(self._anchors) > REMEMBERED_SHAPES:
                self._anchors.popitem(last=False)
        return self._anchors[shape]


def _filled(x, count):
    """x `[B, ...]` with its last row repeated until there are `count`."""
    return np.concatenate([x, np.repeat(x[-1:], count - len(x), axis=0)]) if len(x) < count else x
