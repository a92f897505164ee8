"""The export of a trained detector: written, verified in a new process, then put in its place."""

import contextlib
import hashlib
import importlib.util
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from frcnn import __version__
from frcnn.arrays import Image
from frcnn.config import Config
from frcnn.data.resize import ResizePlan
from frcnn.errors import ArgumentError, BackendError, ExportError, OutputError
from frcnn.export import verification
from frcnn.export.graph import ExportGraph
from frcnn.export.images import drawn_images, sides_molded_to
from frcnn.export.quantization import Calibration
from frcnn.export.verification import Comparison
from frcnn.files import expanded, sha256_of
from frcnn.inference.detect import DetectionRunner
from frcnn.network.graph import build_detector
from frcnn.network.precision import dtype_policy
from frcnn.runtime.metadata import FileMetadata, settings_of
from frcnn.runtime.places import check_target, size_of

MULTIPLE = 64


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    Attributes:
        path: of the file, or the SavedModel's folder.
        size: in bytes, of all its files.
        metadata: FileMetadata.
        comparison: with the model's detections; None in 8 bits.
        average_precisions: in 8 bits: AP of float32, and of the file.
    """

    path: Path
    size: int
    metadata: FileMetadata
    comparison: Comparison | None
    average_precisions: tuple[float, float] | None = None

    def lines(self) -> list[str]:
        """What a program says: path, size, inputs, outputs, the comparison, how to run it."""
        path = os.fspath(self.path)
        inputs, outputs = signature_of(self.metadata)
        return [f"file          {path} ({self.size / 1e6:.1f} MB)",
                *(f"input         {text}" for text in inputs),
                *(f"output        {text}" for text in outputs),
                f"verified      {self._verified()}",
                f"to run it     frcnn detect --model {shlex.quote(path)} IMAGES",
                f"              frcnn.runtime.Detector({path!r}).detect([image])"]

    def _verified(self) -> str:
        if self.average_precisions is not None:
            before, after = self.average_precisions
            return f"AP is {after:.4f} in 8 bits, and {before:.4f} in float32"
        compared = self.comparison
        assert compared is not None
        if not compared.detections:
            return (f"nothing was detected in {compared.images} images, neither by the model nor "
                    "by the file, so that nothing was compared; name some with --images")
        return (f"{compared.detections} detections in {compared.images} images agree to "
                f"{compared.box_difference:.1g} pixels and {compared.score_difference:.1g} of the "
                "score")


def export(model: keras.Model, config: Config, format: str, path: str | os.PathLike[str], *,
           class_names: Sequence[str], source_class_ids: Sequence[Any] = (),
           shape: tuple[int, int] | None = None, image_in_graph: bool = False,
           calibration: Calibration | None = None, images: Sequence[Image] | None = None,
           checkpoint: str | os.PathLike[str] | None = None,
           say: Callable[[str], None] = lambda text: None) -> Exported:
    """Writes a detector for another engine, and verifies that it detects the same there.

    Args:
        model: the inference model of `frcnn.network.graph`, with its weights.
        config: its Config.
        format: "savedmodel", "onnx", "openvino" or "litert".
        path: of the file, with the format's ending; of the folder for "savedmodel", which must not
            exist or be empty. An older file is replaced.
        class_names: by class id, the background's first.
        source_class_ids: the training data's own category ids, or empty.
        shape: (height, width) of molded images for "litert", which takes only one size; None for
            a square of IMAGE_MAX_DIM.
        image_in_graph: "onnx" only: the graph takes images as they are, uint8, and molds them.
        calibration: "openvino" only: writes 8-bit weights, calibrated and judged with this.
        images: to compare the detections on, uint8 `[h, w, C]` each; None for drawn ones.
        checkpoint: the file that the weights are from, whose digest is stored.
        say: is called with a line before each step.

    Returns:
        Exported.

    Raises:
        ArgumentError: an argument or a setting does not fit the format.
        BackendError: a package is missing, or Keras's backend is not TensorFlow.
        ExportError: the file does not run, detects something else, or loses too much AP in 8 bits;
            nothing is left behind.
        OutputError, OSError: it cannot be written.
    """
    target = check_target(format, path)
    model, config = in_float32(model, config)
    metadata = FileMetadata(
        format, [str(name) for name in class_names], settings_of(config),
        list(source_class_ids), "int8" if calibration else "float32",
        shape_for(format, config, shape), bool(image_in_graph), weights_digest(model),
        sha256_of(expanded(checkpoint)) if checkpoint else "", __version__)
    _check(metadata, config)
    if images is None:
        only = metadata.shape if config.IMAGE_RESIZE_MODE != "square" else None
        images = drawn_images(config, sides_molded_to(only, config) if only else None)
    _check_sizes(images, metadata, config)
    comparison, precisions = None, None
    with _draft(target) as draft:
        say("converting the network")
        graph = ExportGraph(model, config)
        if calibration is None:
            _write(graph, draft, metadata)
        else:
            precisions = _write_int8(graph, draft, metadata, calibration, say)
        say("running the file in a new process")
        found = verification.detect_in_new_process(draft, images)
        if calibration is None:
            with verification.exact_float32():
                expected = DetectionRunner(model, config).detect(images)
            comparison = verification.compare(
                expected, found, config.DETECTION_MIN_CONFIDENCE, config.DETECTION_MAX_INSTANCES)
            verification.check(comparison)
    return Exported(target, size_of(target), metadata, comparison, precisions)


def in_float32(model: keras.Model, config: Config) -> tuple[keras.Model, Config]:
    """The model and its Config; another model with the same weights if it is of lower precision."""
    is_exact = dtype_policy(config.PRECISION).compute_dtype == "float32"
    config = config.replaced(PRECISION="float32")
    if is_exact:
        return model, config
    other = build_detector("inference", config)
    other.set_weights(model.get_weights())
    return other, config


def weights_digest(model: keras.Model) -> str:
    """SHA-256 of the values of all weights, as float32, in the model's order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return digest.hexdigest()


def signature_of(metadata: FileMetadata) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs and outputs of the graph of an exported file, a line each."""
    height, width = metadata.shape or ("H", "W")
    batch = 1 if metadata.format == "litert" else "B"
    channels = metadata.settings["IMAGE_CHANNEL_COUNT"]
    rows = metadata.settings["DETECTION_MAX_INSTANCES"]
    if metadata.image_in_graph:
        return ((f"image uint8 [B, h, w, {channels}], of any size",),
                (f"boxes float32 [B, {rows}, 4]: y1, x1, y2, x2 in pixels of the image",
                 f"class_ids int32 [B, {rows}]", f"scores float32 [B, {rows}]",
                 "count int32 [B]: how many of them are detections"))
    multiples = "" if metadata.shape else ", H and W any multiples of 64"
    return ((f"image float32 [{batch}, {height}, {width}, {channels}], molded{multiples}",
             f"window float32 [{batch}, 4]: y1, x1, y2, x2 of the picture in it, pixels"),
            (f"detections float32 [{batch}, {rows}, 6]: y1, x1, y2, x2 in pixels of the molded "
             "image, class id (0: no detection), score",))


def _write(graph: ExportGraph, draft: Path, metadata: FileMetadata) -> None:
    match metadata.format:
        case "savedmodel":
            from frcnn.export.savedmodel import write_savedmodel

            write_savedmodel(graph, draft, metadata)
        case "onnx":
            from frcnn.export.onnx_file import write_onnx

            write_onnx(graph, draft, metadata)
        case "openvino":
            from frcnn.export.openvino_file import to_openvino, write_openvino

            write_openvino(to_openvino(graph, draft.parent), draft, metadata)
        case _:
            from frcnn.export.litert_file import write_litert

            write_litert(graph, draft, metadata)


def _write_int8(graph: ExportGraph, draft: Path, metadata: FileMetadata, calibration: Calibration,
                say: Callable[[str], None]) -> tuple[float, float]:
    """Writes 8-bit weights; returns AP of float32 and of these.

    Raises:
        ExportError: AP is lower by more than allowed.
    """
    from frcnn.export.openvino_file import to_openvino, write_openvino
    from frcnn.export.quantization import average_precision, check_drop, quantized

    model = to_openvino(graph, draft.parent)
    write_openvino(model, draft, replace(metadata, precision="float32"))
    say(f"measuring AP of float32 on {len(calibration.judged_ids)} images")
    before = average_precision(draft, calibration)
    say(f"calibrating on {len(calibration.image_ids)} images")
    write_openvino(quantized(model, graph.config, calibration), draft, metadata)
    say("measuring AP in 8 bits")
    after = average_precision(draft, calibration)
    check_drop(before, after, calibration)
    return before, after


def _check(metadata: FileMetadata, config: Config) -> None:
    """Raises an error where settings, options and format do not go together."""
    format = metadata.format
    if len(metadata.class_names) != config.NUM_CLASSES:
        raise ArgumentError(f"There are {len(metadata.class_names)} class names, but NUM_CLASSES "
                            f"is {config.NUM_CLASSES} (the background counts).")
    if metadata.precision == "int8" and format != "openvino":
        raise ArgumentError(f"8 bits are for the format 'openvino', not {format!r}.")
    if metadata.image_in_graph and format != "onnx":
        raise ArgumentError(
            f"Molding in the graph is for the format 'onnx', not {format!r}: OpenVINO and LiteRT "
            "lack float64, and a SavedModel has it in the signature serving_default anyway.")
    if config.DETECTION_FLIPS and (format == "savedmodel" or metadata.image_in_graph):
        raise ArgumentError(
            f"DETECTION_FLIPS is {tuple(config.DETECTION_FLIPS)}: what is found in mirrored copies "
            "is fused outside of the graph, which then must not return final boxes. Leave it out "
            "with --flips none, or export without molding in the graph.")
    _check_backend(format, metadata.precision)


def _check_sizes(images: Sequence[Image], metadata: FileMetadata, config: Config) -> None:
    """Raises ArgumentError for an image that is molded to another size than the file's only one."""
    for number, image in enumerate(images):
        molded = ResizePlan.for_detection(image.shape, config).molded_shape
        if metadata.shape not in (None, molded):
            height, width = molded
            raise ArgumentError(
                f"Image {number}, to compare detections on, is {height} x {width} pixels when it "
                f"is molded, and the file is for {metadata.shape[0]} x {metadata.shape[1]}: "
                f"export it with --size {height} {width} (shape), or name other images.")


def _check_backend(format: str, precision: str) -> None:
    if keras.backend.backend() != "tensorflow":
        raise BackendError(f"Keras's backend is {keras.backend.backend()}, and the export is "
                           "traced by TensorFlow: set the environment variable "
                           "KERAS_BACKEND=tensorflow.")
    needed = {"onnx": ("onnx", "tf2onnx", "onnxruntime"),
              "openvino": ("onnx", "tf2onnx", "openvino",
                           *(("nncf",) if precision == "int8" else ())),
              "litert": ("ai_edge_litert",)}.get(format, ())
    missing = [name for name in needed if not _is_installed(name)]
    if missing:
        raise BackendError(f"The format {format!r} needs {', '.join(missing)}: "
                           "pip install \"frcnn[export]\"")


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def shape_for(format: str, config: Config,
              shape: tuple[int, int] | None) -> tuple[int, int] | None:
    """The only molded size of the file; None for any."""
    if config.IMAGE_RESIZE_MODE == "square":
        side = int(config.IMAGE_MAX_DIM)
        if shape not in (None, (side, side)):
            raise ArgumentError(f"shape is {shape}, but IMAGE_RESIZE_MODE is 'square', in which "
                                f"all molded images are {side} x {side}.")
        return side, side
    if format != "litert":
        if shape is not None:
            raise ArgumentError(f"shape is {shape}, but the format {format!r} takes any; leave it "
                                "out.")
        return None
    if shape is None:
        side = -(-int(config.IMAGE_MAX_DIM) // MULTIPLE) * MULTIPLE
        return side, side
    if any(side < 1 or side % MULTIPLE for side in shape):
        raise ArgumentError(f"shape is {shape}; allowed are two multiples of {MULTIPLE}.")
    return shape


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yields a path of the same name in a new folder; what is written goes to `target` at the end.

    If the block raises, nothing is left, and an older file is unchanged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".frcnn-", dir=target.parent))
    try:
        yield folder / target.name
        written = sorted(folder.iterdir(), key=lambda path: path.suffix == target.suffix)
        for path in written:  # the file that names the others last
            if path.is_dir() and target.is_dir():
                target.rmdir()  # empty, or this raises
            os.replace(path, target.parent / path.name)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
