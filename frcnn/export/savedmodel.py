"""The detector as a SavedModel with three signatures, which share one copy of the weights."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from frcnn.data.intensity import CLIP, IntensityRange, as_range, scaled_to_bytes
from frcnn.export import image_graph
from frcnn.export.graph import ExportGraph
from frcnn.runtime.metadata import FILE_NAME, FileMetadata

DECODED_CHANNELS = (1, 3)  # those that JPEG and PNG files can be decoded to
_PNG_DEPTH = 24  # the place of the bits a channel in a PNG file, which begins with its IHDR chunk


def write_savedmodel(graph: ExportGraph, folder: Path, metadata: FileMetadata) -> None:
    """Writes the folder of a SavedModel.

    Signatures:
        molded: `image` float32 `[B, H, W, C]` and `window` float32 `[B, 4]` → `detections`
            `[B, N, 6]`, as in the other formats.
        serving_default: `image` uint8 `[B, h, w, C]` → `boxes` float32 `[B, N, 4]` in the images'
            own pixels, `class_ids` int32 `[B, N]`, `scores` float32 `[B, N]` and `count` int32
            `[B]`; zero from `count` on.
        encoded: `image_bytes`, a string `[B]`, JPEG or PNG each → the same. Only for images of
            one or three channels. The orientation in a JPEG's EXIF is not applied. Values of 16
            bits become 8 bits as `frcnn.data.image_io.read_image` makes them: by
            IMAGE_INTENSITY_RANGE, where a value outside of a range without "clip" is an error, and
            without one by their upper 8 bits.

    Args:
        graph: the ExportGraph.
        folder: to be made.
        metadata: FileMetadata.

    Raises:
        OSError: there is no room on the disk.
    """
    module = tf.Module()
    module.weights = [variable.value for variable in graph.model.variables]
    molded = graph.function("tensorflow")
    signatures = {"molded": molded.get_concrete_function(*graph.signature())}
    images = image_graph.image_function(graph, "tensorflow")
    channels = graph.shape[2]
    signatures["serving_default"] = images.get_concrete_function(
        *image_graph.image_signature(graph))
    if channels in DECODED_CHANNELS:
        limits = as_range(graph.config.IMAGE_INTENSITY_RANGE)
        signatures["encoded"] = _of_files(images, channels, limits).get_concrete_function(
            tf.TensorSpec((None,), tf.string, name="image_bytes"))
    try:
        tf.saved_model.save(module, str(folder), signatures=signatures)
    except tf.errors.ResourceExhaustedError as error:  # of memory, or of a file
        reason = os.strerror(errno.ENOSPC)
        if reason in str(error):
            raise OSError(errno.ENOSPC, reason, str(folder)) from error
        raise
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / FILE_NAME).write_text(metadata.to_json(), "utf-8")


def _of_files(detect: Any, channels: int, limits: IntensityRange | None) -> Any:
    """A function of encoded images, of any sizes: they go through the network one by one."""
    def of_one(data: tf.Tensor) -> dict[str, tf.Tensor]:
        image = tf.cond(
            tf.io.is_jpeg(data),
            # As Pillow decodes them.
            lambda: tf.io.decode_jpeg(data, channels, dct_method="INTEGER_ACCURATE"),
            lambda: decoded_png(data, channels, limits))
        image = tf.ensure_shape(image, (None, None, channels))
        return {name: value[0] for name, value in detect(image[None]).items()}

    @tf.function(autograph=False)
    def detect_encoded(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return tf.map_fn(of_one, image_bytes, parallel_iterations=1, fn_output_signature={
            image_graph.BOXES: tf.float32, image_graph.CLASSES: tf.int32,
            image_graph.SCORES: tf.float32, image_graph.COUNT: tf.int32})

    return detect_encoded


def decoded_png(data: tf.Tensor, channels: int, limits: IntensityRange | None) -> tf.Tensor:
    """The pixels of a PNG file, uint8 `[h, w, channels]`.

    Args:
        data: a string, the file.
        channels: 1 or 3.
        limits: the range of values of 16 bits; None: their upper 8 bits are taken.
    """
    if limits is None:
        return tf.io.decode_png(data, channels)
    is_deep = tf.equal(tf.strings.substr(data, _PNG_DEPTH, 1), b"\x10")
    return tf.cond(is_deep,
                   lambda: _as_8_bits(tf.io.decode_png(data, channels, tf.uint16), limits),
                   lambda: tf.io.decode_png(data, channels))


def _as_8_bits(values: tf.Tensor, limits: IntensityRange) -> tf.Tensor:
    """`frcnn.data.intensity.scaled_to_bytes` of uint16, from a table of all values."""
    low, high = limits[:2]
    table = scaled_to_bytes(np.arange(2**16, dtype=np.uint16), (low, high, CLIP), "the table")
    places = tf.cast(values, tf.int32)
    checks = []
    if len(limits) == 2:
        numbers = tf.cast(values, tf.float64)
        is_inside = tf.reduce_all(tf.logical_and(numbers >= low, numbers <= high))
        checks = [tf.debugging.Assert(is_inside, [
            f"An image has values outside of its range {low:.6g} to {high:.6g}, from",
            tf.reduce_min(places), "to", tf.reduce_max(places)])]
    with tf.control_dependencies(checks):
        return tf.gather(tf.constant(table), places)
