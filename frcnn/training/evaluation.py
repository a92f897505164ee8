"""Evaluation while a model trains: AP after an epoch, the best checkpoint, early stopping."""

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby

import keras
import numpy as np

from frcnn import runs
from frcnn.arrays import DetectionResult
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.errors import ArgumentError, DatasetError
from frcnn.evaluate import evaluate_detections
from frcnn.evaluate.coco import HIGHEST_SCORE_THRESHOLD, Metrics, detections_of, image_ids_of
from frcnn.inference.detect import DetectionRunner
from frcnn.inference.stream import ImageSource
from frcnn.network import ops as frcnn_ops
from frcnn.network.graph import build_detector
from frcnn.runs import BestCheckpoint
from frcnn.startup import collection_paused
from frcnn.training.agreement import from_main
from frcnn.training.callbacks import History, Logs
from frcnn.training.job import alone
from frcnn.weights.checkpoint import model_layers
from frcnn.weights.matching import ModelLayer
from frcnn.weights.names import counter_of, without_counter

METRICS = ("AP", "AP50")  # in the logs with the prefix "val_"


@dataclass(frozen=True)
class Monitoring:
    """How a training is evaluated and when it stops, and which checkpoints it keeps.

    Attributes:
        evaluate_every: epochs from one evaluation to the next; None for none.
        evaluate_images: how many of the first validation images are evaluated; None for all.
        patience: how many evaluations in a row without a better AP end the training; None for no
            such end.
        keep: how many of the newest checkpoints are kept; None for all.

    Raises:
        ValueError: a value is not allowed.
    """

    evaluate_every: int | None = None
    evaluate_images: int | None = None
    patience: int | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and (not isinstance(value, int | np.integer) or value < 1):
                raise ArgumentError(f"{name} is {value}; it must be a whole number of 1 or more, "
                                    "or None.")
        if self.patience is not None and self.evaluate_every is None:
            raise ArgumentError(f"patience is {self.patience}, but it counts evaluations: it needs "
                                "evaluate_every.")

    def image_ids(self, val_dataset: Dataset | None) -> list[int]:
        """The ids of the images to evaluate; empty if none are to be.

        Raises:
            ValueError: they are to be evaluated, but there is no data set.
            DatasetError: they have no objects, so that AP would be undefined.
        """
        if self.evaluate_every is None:
            return []
        if val_dataset is None:
            raise ArgumentError(f"evaluate_every is {self.evaluate_every}, but val_dataset is "
                                "None; pass the images to evaluate.")
        ids = image_ids_of(val_dataset)[:self.evaluate_images]
        if not any((val_dataset.load_boxes(image_id)[1] > 0).any() for image_id in ids):
            raise DatasetError(f"The {len(ids)} validation images have no objects, so their AP is "
                               "undefined; train without evaluate_every (--evaluate-every), or on "
                               "other validation images.")
        return ids


class CurrentDetector:
    """Detects with the present weights of a model that is being trained.

    The inference model is built once, at the first call, and compiled once; the weights are copied
    into it, on the device, at each call. Its memory is that of a second set of weights, and of
    batches that are no larger than those of training.

    Args:
        trained: the training model of `frcnn.network.graph`.
        config: Config; DETECTION_MIN_CONFIDENCE is replaced by 0.05, which evaluation needs.
    """

    def __init__(self, trained: keras.Model, config: Config) -> None:
        self.trained = trained
        self.config = config.replaced(DETECTION_MIN_CONFIDENCE=HIGHEST_SCORE_THRESHOLD)
        self._runner: DetectionRunner | None = None

    def detect_stream(self, images: Iterable[ImageSource]
                      ) -> Iterator[DetectionResult | Exception]:
        """As `MaskRCNN.detect_stream` with `return_exceptions`."""
        if self._runner is None:
            self._runner = DetectionRunner(self._build(), self.config)
        copy_weights(self.trained, self._runner.model)
        return self._runner.stream(images, self.config.BATCH_SIZE, return_exceptions=True)

    def _build(self) -> keras.Model:
        state = random.getstate()  # from which Keras takes the seeds of the initial weights
        try:
            with collection_paused():
                return build_detector("inference", self.config)
        finally:
            random.setstate(state)  # training goes on as without an evaluation

    def evaluate(self, dataset: Dataset, image_ids: Iterable[int]) -> Metrics:
        """COCO's metrics of some images, as `frcnn.evaluate.evaluate_detections` gives them.

        An image that cannot be read, or whose detections are NaN or infinite, is left out, with a
        warning that names it: training goes on.
        """
        ids = list(image_ids)
        found = self.detect_stream(partial(dataset.load_image, image_id) for image_id in ids)
        results: dict[int, DetectionResult] = {}
        for image_id, result in zip(ids, found, strict=True):
            try:
                if isinstance(result, Exception):
                    raise result
                detections_of(dataset, image_id, result)
                results[image_id] = result
            except (OSError, ValueError) as error:
                warnings.warn(f"Image {dataset.image_info[image_id]['id']} is not evaluated: "
                              f"{error}", stacklevel=2)
        return evaluate_detections(
            dataset, results, list(results), min(100, self.config.DETECTION_MAX_INSTANCES),
            score_threshold=self.config.DETECTION_MIN_CONFIDENCE,
            nms_threshold=self.config.DETECTION_NMS_THRESHOLD)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Gives a model the weights of another one that has the same layers, matched by name.

    Layers that Keras named, as `conv2d_3`, have other numbers in another model, but the same order.

    Raises:
        ValueError: a layer of `target` has no counterpart of its shape in `source`.
    """
    available = _by_plain_name(source)
    for name, layers in _by_plain_name(target).items():
        others = available.get(name, [])
        if [_shapes(layer) for layer in layers] != [_shapes(layer) for layer in others]:
            raise ArgumentError(f"The layer {name!r} of the inference model differs from that of "
                                "the model in training; name the layers of the backbone, so that "
                                "they can be told apart.")
        for layer, other in zip(layers, others, strict=True):
            for variable, value in zip(layer.variables.values(), other.variables.values()):
                variable.assign(frcnn_ops.copy(value))  # JAX reuses the memory of what it trains


def _by_plain_name(model: keras.Model) -> dict[str, list[ModelLayer]]:
    """The layers with weights by name without Keras's number, in the order of these numbers."""
    layers = sorted(model_layers(model).values(),
                    key=lambda layer: (without_counter(layer.name), counter_of(layer.name)))
    return {name: list(group)
            for name, group in groupby(layers, lambda layer: without_counter(layer.name))}


def _shapes(layer: ModelLayer) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in layer.variables.values()]


# --- callbacks ------------------------------------------------------------------------------


class EvaluateEpochs(keras.callbacks.Callback):
    """Adds `val_AP` and `val_AP50` to the logs of an epoch, for the callbacks after it.

    Evaluates after every `every` epochs and after the last one; in other epochs, and where a figure
    is undefined, the logs do not have it.

    Args:
        evaluate: function without arguments that returns the metrics of the current weights.
        every: a number of epochs.
    """

    def __init__(self, evaluate: Callable[[], Metrics], every: int) -> None:
        super().__init__()
        self.evaluate, self.every = evaluate, every

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Evaluates."""
        if logs is None or ((epoch + 1) % self.every and epoch + 1 != self.params.get("epochs")):
            return
        logs.update(from_main(self._figures))

    def _figures(self) -> dict[str, float]:
        with alone():
            metrics = self.evaluate()
        return {f"val_{name}": float(metrics[name]) for name in METRICS
                if metrics[name] is not None}


class KeepBest(keras.callbacks.Callback):
    """Copies the checkpoint with the highest `val_AP`; stops training when none was better lately.

    A run that continues goes on with its best checkpoint and its count of evaluations. A best
    checkpoint of an epoch that is trained again does not count.

    Args:
        path: of the copy, `runs.best_path`.
        last: function without arguments: path of the checkpoint of the epoch that has ended.
        first_epoch: epochs that are done already.
        history: the metrics of these epochs.
        patience: how many evaluations in a row without a better AP stop training; None for no
            number.

    Attributes:
        best: BestCheckpoint, or None before there is one.
        since: number of evaluations after it.
        has_stopped: whether training was stopped.
    """

    def __init__(self, path: str, last: Callable[[], str | None], first_epoch: int = 0,
                 history: History | None = None, patience: int | None = None) -> None:
        super().__init__()
        self.path, self.last, self.patience = path, last, patience
        best = runs.load_best(path)
        self.best: BestCheckpoint | None = best if best and best.epoch <= first_epoch else None
        self.since = _evaluations_since(self.best.epoch, history or {}) if self.best else 0
        self.has_stopped = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compares, copies, counts."""
        metrics = {name: float(logs[name]) for name in (f"val_{name}" for name in METRICS)
                   if name in logs} if logs else {}
        checkpoint = self.last()
        if "val_AP" not in metrics or checkpoint is None:
            return
        if self.best is None or metrics["val_AP"] > self.best.ap:
            self.best = BestCheckpoint(**from_main(
                lambda: asdict(runs.save_best(checkpoint, self.path, epoch + 1, metrics))))
            self.since = 0
            return
        self.since += 1
        if self.patience is not None and self.since >= self.patience:
            self.has_stopped = self.model.stop_training = True


def _evaluations_since(epoch: int, history: Mapping[str, list[float | None]]) -> int:
    """How many epochs after that one have a `val_AP`."""
    rows = zip(history.get("epoch", []), history.get("val_AP", []))
    return sum(number is not None and number > epoch and ap is not None for number, ap in rows)
