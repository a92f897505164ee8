"""The reference's generator of batches, for notebooks and its users' scripts."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import optree

from frcnn.arrays import Array
from frcnn.compatibility import ExplainedList
from frcnn.config import Config
from frcnn.data.augment import AugmentationLike
from frcnn.data.dataset import Dataset
from frcnn.data.loader import Batch, DetectionSequence
from frcnn.data.targets import build_detection_targets
from frcnn.errors import ConfigError


def data_generator(dataset: Dataset, config: Config, shuffle: bool = True, augment: bool = True,
                   random_rois: int = 0, batch_size: int | None = 1,
                   detection_targets: bool = False, *, augmentation: AugmentationLike = None,
                   no_augmentation_sources: Iterable[str] | None = None,
                   seed: int | None = None, recipes: bool = False,
                   ) -> Iterator[tuple[list[Array], list[Array]]]:
    """Endless batches, for inspection in notebooks; training uses `DetectionSequence`.

    Args:
        dataset: as for `DetectionSequence`.
        config: as for `DetectionSequence`.
        shuffle: as for `DetectionSequence`.
        augment: whether to mirror images horizontally at random; `augmentation` replaces it.
        random_rois: as for `DetectionSequence`.
        batch_size: as for `DetectionSequence`.
        detection_targets: whether to add the head's targets for the random boxes.
        augmentation: as for `DetectionSequence`.
        no_augmentation_sources: as for `DetectionSequence`.
        seed: as for `DetectionSequence`.
        recipes: as for `DetectionSequence`.

    Yields:
        `(inputs, outputs)`, two lists of arrays. Inputs: images `[B, H, W, C]` molded, image_meta,
        rpn_match `[B, A, 1]`, rpn_bbox `[B, RPN_TRAIN_ANCHORS_PER_IMAGE, 4]`, gt_class_ids and
        gt_boxes; with `random_rois` also rpn_rois `[B, random_rois, 4]`; with `detection_targets`
        also rois `[B, T, 4]`, pixels. Outputs: with `detection_targets` class ids `[B, T, 1]` and
        deltas `[B, T, NUM_CLASSES, 4]`, else none. T is TRAIN_ROIS_PER_IMAGE.

    Raises:
        ConfigError: `detection_targets` without `random_rois`; or as `DetectionSequence`.
        DatasetError: as `DetectionSequence`.
    """
    if detection_targets and not random_rois:
        raise ConfigError("detection_targets needs random_rois above 0: the targets are for them.")
    sequence = DetectionSequence(
        dataset, config, shuffle=shuffle, batch_size=batch_size, seed=seed,
        random_rois=random_rois, no_augmentation_sources=no_augmentation_sources, recipes=recipes,
        augmentation="flip" if augmentation is None and augment else augmentation)
    return _generate(sequence, detection_targets)


def _generate(sequence: DetectionSequence,
              detection_targets: bool) -> Iterator[tuple[list[Array], list[Array]]]:
    names = "images, image_meta, rpn_match, rpn_bbox, gt_class_ids, gt_boxes"
    names += ", rpn_rois" * bool(sequence.random_rois) + ", rois" * detection_targets
    hint = ("data_generator yields no masks, since frcnn detects boxes: write "
            f"[{names}], {'[class_ids, bbox]' if detection_targets else '_'} = next(generator).")
    while True:
        sequence.on_epoch_begin()
        for index in range(len(sequence)):
            (batch,) = sequence[index]
            inputs, outputs = list(batch.values()), list[Array]()
            if detection_targets:
                rng = np.random.default_rng([sequence.seed, 3, sequence.epoch, index])
                rois, *outputs = _head_targets(batch, sequence.config, rng)
                inputs.append(rois)
            yield ExplainedList(inputs, hint), ExplainedList(outputs, hint)
        sequence.on_epoch_end()


def _head_targets(batch: Batch, config: Config, rng: np.random.Generator) -> tuple[Array, ...]:
    """rois `[B, T, 4]`, class ids `[B, T, 1]` and deltas `[B, T, NUM_CLASSES, 4]` of a batch."""
    targets = []
    for rois, class_ids, boxes in zip(batch["input_rois"], batch["input_gt_class_ids"],
                                      batch["input_gt_boxes"]):
        real = class_ids != 0
        targets.append(build_detection_targets(rois, class_ids[real], boxes[real], config, rng=rng))
    rois, class_ids, deltas = (np.stack(parts) for parts in zip(*targets))
    return rois, class_ids[..., None], deltas


def _children(values: Any) -> tuple[list[Any], None, None]:
    return values[:], None, None


# Keras takes batches apart with optree, which knows plain lists only.
optree.register_pytree_node(ExplainedList, _children, lambda _, values: list(values),
                            namespace="keras")
