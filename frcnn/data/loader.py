"""From a data set to batches of fixed shapes: a Keras data set for training.

All random numbers (image order, augmentation, sampled anchors) come from generators seeded by the
seed, the epoch and, but for the order, the position in the epoch. So equal seeds give equal
batches, whichever thread makes them, and a resumed run gets the batches of an uninterrupted one.
"""

import warnings
from collections.abc import Iterable
from typing import TypeAlias

import keras
import numpy as np

from frcnn.arrays import Array, Boxes, ClassIds, FloatArray, IntArray
from frcnn.config import Config
from frcnn.data.agreement import check_fits
from frcnn.data.augment import AugmentationLike, resolve
from frcnn.data.dataset import Dataset
from frcnn.data.examples import Example, common_canvas, load_image_gt
from frcnn.data.image_name import ImageName
from frcnn.data.molding import mold_image
from frcnn.data.pasting import ObjectPaster
from frcnn.data.prefetch import Prefetcher
from frcnn.data.reading import load_all_objects
from frcnn.data.repeat import repeat_factors, repeated_order
from frcnn.data.targets import build_rpn_targets, generate_random_rois
from frcnn.errors import DatasetError, ImageError
from frcnn.geometry.anchors import pyramid_anchors

# An image that has become unreadable is replaced by the next one; more in a row are an error.
MAX_UNREADABLE_IN_A_ROW = 5

Batch: TypeAlias = dict[str, Array]  # the model's inputs, see `DetectionSequence`


class DetectionSequence(keras.utils.PyDataset):
    """Batches of a data set for `fit(…, shuffle=False)`; by default every image once per epoch.

    This class shuffles the images itself; with `fit(…, shuffle=True)` Keras would also shuffle the
    batches, without a seed.

    Item i is `(inputs,)`, where `inputs` is a dict of arrays for B images:

    | name | shape, dtype | content |
    |---|---|---|
    | `input_image` | `[B, H, W, C]` float32 | molded: the mean pixel is subtracted |
    | `input_image_meta` | `[B, IMAGE_META_SIZE]` float32 | see `compose_image_meta` |
    | `input_rpn_match` | `[B, A, 1]` int32 | 1 positive, −1 negative, 0 neutral |
    | `input_rpn_bbox` | `[B, RPN_TRAIN_ANCHORS_PER_IMAGE, 4]` float32 | `build_rpn_targets` |
    | `input_gt_class_ids` | `[B, MAX_GT_INSTANCES]` int32 | zero-padded; negative: crowd region |
    | `input_gt_boxes` | `[B, MAX_GT_INSTANCES, 4]` float32 | pixels of the molded image |
    | `input_rois` | `[B, random_rois, 4]` int32 | with `random_rois` only; pixels |

    All batches have the same shapes: a last batch that is not full is filled up with images from
    the start of the epoch's order, and in the modes "pad64", "fit64" and "none" all images are
    padded to the data set's `common_canvas`. If an image has more than MAX_GT_INSTANCES objects,
    that many of them are drawn at random, with a warning. An image that cannot be read is replaced
    by the next one in the order, with a warning that names it; more than five in a row end the run.

    Args:
        dataset: a prepared `Dataset`.
        config: a `Config`.
        shuffle: True for a new random order in each epoch, False for the data set's own order.
        augmentation: None, a preset's name, or a callable; see `frcnn.data.augment`.
        no_augmentation_sources: names of sources whose images are not augmented.
        batch_size: images in a batch; None for the config's BATCH_SIZE.
        seed: whole number; None draws one. It is kept as the attribute `seed`.
        random_rois: number of random boxes for each image that replace the RPN's proposals; 0 for
            none.
        steps: batches in an epoch; None for every image once. With a number the next epoch
            continues where the last one ended, and a new order is drawn after each pass through
            the data.
        initial_epoch: the epoch to start with, for a run that is resumed.
        initial_step: batches of that epoch that are left out, as they were trained before; the
            length is shorter by them until the epoch ends.
        workers: threads that prepare the next batches; with 1 a batch is made when it is requested.
            The threads are this class's own and end when no more batches are requested. Those of
            Keras would mix batches of two epochs where `fit` draws one in advance to build the
            model (on JAX, or under a distribution strategy).
        max_queue_size: how many batches to prepare ahead; None for twice the workers.
        recipes: whether the config's data recipes apply (REPEAT_THRESHOLD with `shuffle`,
            PASTE_OBJECTS, MULTI_SCALE, CROP_OBJECTS), for training; False for validation. Images
            of the `no_augmentation_sources` are repeated, but not changed by the others.
        repeats_epoch: whether every epoch is the first one again, with the same images and the same
            random numbers, for figures that can be compared from epoch to epoch.
        part: (i, n): only the i-th of n equal parts of every batch is made, and no image of the
            others is read; n must divide the batch size.

    Attributes:
        epoch: the current one, from 0; `on_epoch_end` advances it.
        image_shape: `(H, W, C)` of the molded images.
        failure: the exception that ended the run, or None; Keras may hide it from the caller.

    Raises:
        DatasetError: the data set is empty or has more classes than NUM_CLASSES.
        ConfigError: an argument is not allowed.
    """

    def __init__(self, dataset: Dataset, config: Config, *, shuffle: bool = True,
                 augmentation: AugmentationLike = None,
                 no_augmentation_sources: Iterable[str] | None = None,
                 batch_size: int | None = None, seed: int | None = None, random_rois: int = 0,
                 steps: int | None = None, initial_epoch: int = 0, initial_step: int = 0,
                 workers: int = 1, max_queue_size: int | None = None, recipes: bool = False,
                 repeats_epoch: bool = False, part: tuple[int, int] = (0, 1)) -> None:
        super().__init__(workers=1)
        if dataset.num_images == 0:
            raise DatasetError("The data set has no images; add some and call prepare().")
        check_fits(dataset, config)
        self.dataset, self.config = dataset, config
        self._num_images = dataset.num_images
        self.shuffle = shuffle
        self.augmentation = resolve(augmentation)
        self.no_augmentation_sources = frozenset(no_augmentation_sources or ())
        self.batch_size = config.BATCH_SIZE if batch_size is None else int(batch_size)
        self.seed = fresh_seed() if seed is None else int(seed)
        size = self.batch_size // part[1]
        self._slots = range(part[0] * size, (part[0] + 1) * size)
        self.random_rois = int(random_rois)
        self.steps = steps
        self.epoch, self.skipped = int(initial_epoch), int(initial_step)
        turns = getattr(self.augmentation, "turns", False)
        self.image_shape = (*common_canvas(dataset, config, turns), config.IMAGE_CHANNEL_COUNT)
        self.recipes, self.repeats_epoch = bool(recipes), bool(repeats_epoch)
        self._factors: FloatArray | None = None
        self._paster: ObjectPaster | None = None
        if self.recipes:
            self._prepare_recipes()
        self.failure: Exception | None = None
        self._ahead = Prefetcher(self._batch, workers) if workers > 1 else None
        self._queue_size = 2 * workers if max_queue_size is None else max(1, int(max_queue_size))
        self._within_epoch = self._last_batch_given = False
        self._orders: dict[int, IntArray] = {}

    def __len__(self) -> int:
        """Number of batches in the epoch, less those that are left out."""
        return self.whole_length - self.skipped

    @property
    def whole_length(self) -> int:
        """Number of batches in a whole epoch."""
        return self.steps or -(-self.dataset.num_images // self.batch_size)

    def on_epoch_begin(self) -> None:
        """Called by Keras."""
        self._within_epoch, self._last_batch_given = True, False

    def on_epoch_end(self) -> None:
        """Advances the epoch if its last batch was served; Keras also calls it without an epoch."""
        if self._within_epoch and self._last_batch_given and not self.repeats_epoch:
            self.epoch += 1
            self.skipped = 0
        self._within_epoch = False

    def __getitem__(self, index: int) -> tuple[Batch]:
        """Batch `index` of the current epoch; see the class for what it holds."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no batch {index}; an epoch has {len(self)}.")
        try:
            if self._ahead is None:
                batch = self._batch(self.epoch, self.skipped + index)
            else:
                stop = min(index + 1 + self._queue_size, len(self))
                batch = self._ahead.take([(self.epoch, self.skipped + i)
                                          for i in range(index, stop)])
        except Exception as error:
            self.failure = error
            if self._ahead is not None:
                self._ahead.clear()
            raise
        self._last_batch_given = index == len(self) - 1
        return (batch,)

    def image_order(self, epoch: int) -> IntArray:
        """Image ids in the order of one pass through the data, int `[num_images]`.

        With REPEAT_THRESHOLD some come several times and others not; see `frcnn.data.repeat`.
        """
        if not self.shuffle:
            return self.dataset.image_ids
        order = self._orders.get(epoch)
        if order is None:
            rng = np.random.default_rng([self.seed, 1, epoch])
            order = rng.permutation(self.dataset.image_ids) if self._factors is None \
                else self.dataset.image_ids[repeated_order(self._factors, rng)]
            # Threads work on neighboring batches, so on two passes at most.
            self._orders = {**dict(list(self._orders.items())[-1:]), epoch: order}
        return order

    # --- inside -----------------------------------------------------------------------------

    def _prepare_recipes(self) -> None:
        """Reads the objects of all images once, for the recipes that need them."""
        config, shuffled = self.config, self.shuffle and self.config.REPEAT_THRESHOLD > 0
        if not shuffled and not config.PASTE_OBJECTS:
            return
        objects = load_all_objects(self.dataset, config)
        if shuffled:
            self._factors = repeat_factors([class_ids for _, class_ids in objects],
                                           config.REPEAT_THRESHOLD)
        if config.PASTE_OBJECTS:
            self._paster = ObjectPaster(self.dataset, config, objects,
                                        self.no_augmentation_sources)

    def _batch(self, epoch: int, index: int) -> Batch:
        if self.dataset.num_images != self._num_images:
            raise DatasetError(f"The data set had {self._num_images} images when training began, "
                               f"and has {self.dataset.num_images} now; do not change it while it "
                               "is in use.")
        inputs = self._empty_batch()
        for row, slot in enumerate(self._slots):
            self._fill(inputs, row, epoch, index * self.batch_size + slot)
        return inputs

    def _image_id(self, epoch: int, place: int) -> int:
        """The image at a place of an epoch, also at one after its end."""
        count = self.dataset.num_images
        if self.steps is None:
            return int(self.image_order(epoch)[place % count])
        passes, place = divmod(epoch * self.steps * self.batch_size + place, count)
        return int(self.image_order(passes)[place])

    def _empty_batch(self) -> Batch:
        config, size = self.config, len(self._slots)
        anchors = len(pyramid_anchors(config, self.image_shape))
        inputs: Batch = {
            "input_image": np.empty((size, *self.image_shape), np.float32),
            "input_image_meta": np.zeros((size, config.IMAGE_META_SIZE), np.float32),
            "input_rpn_match": np.zeros((size, anchors, 1), np.int32),
            "input_rpn_bbox": np.zeros((size, config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), np.float32),
            "input_gt_class_ids": np.zeros((size, config.MAX_GT_INSTANCES), np.int32),
            "input_gt_boxes": np.zeros((size, config.MAX_GT_INSTANCES, 4), np.float32),
        }
        if self.random_rois:
            inputs["input_rois"] = np.zeros((size, self.random_rois, 4), np.int32)
        return inputs

    def _fill(self, inputs: Batch, slot: int, epoch: int, place: int) -> None:
        """Puts the example at a place of the epoch into the batch."""
        rng = np.random.default_rng([self.seed, 2, epoch, place])
        example = self._load(epoch, place, rng)
        anchors = pyramid_anchors(self.config, self.image_shape)
        match, deltas = build_rpn_targets(self.image_shape, anchors, example.class_ids,
                                          example.boxes, self.config, rng=rng)
        mold_image(example.image, self.config, out=inputs["input_image"][slot])
        inputs["input_image_meta"][slot] = example.image_meta
        inputs["input_rpn_match"][slot, :, 0] = match
        inputs["input_rpn_bbox"][slot] = deltas
        class_ids, boxes = self._limited(example, rng)
        inputs["input_gt_class_ids"][slot, :len(class_ids)] = class_ids
        inputs["input_gt_boxes"][slot, :len(boxes)] = boxes
        if self.random_rois:
            inputs["input_rois"][slot] = generate_random_rois(
                self.image_shape, self.random_rois, class_ids, boxes, rng=rng)

    def _load(self, epoch: int, place: int, rng: np.random.Generator) -> Example:
        """The example at a place of the epoch, or the next one that can be read."""
        for step in range(MAX_UNREADABLE_IN_A_ROW + 1):
            image_id = self._image_id(epoch, place + step)
            source = self.dataset.image_info[image_id]["source"]
            changed = source not in self.no_augmentation_sources
            try:
                return load_image_gt(self.dataset, self.config, image_id,
                                     augmentation=self.augmentation if changed else None, rng=rng,
                                     canvas=self.image_shape[:2], zoom=self.recipes and changed,
                                     paster=self._paster if changed else None)
            except (ImageError, OSError) as error:
                problem: Exception = error
                warnings.warn(f"{ImageName(self.dataset, image_id)} cannot be read and is "
                              f"replaced by another image: {error}", stacklevel=2)
        raise DatasetError(
            f"{MAX_UNREADABLE_IN_A_ROW + 1} images in a row cannot be read; the last one is "
            f"{ImageName(self.dataset, image_id)}: {problem} Is the disk still there?")

    def _limited(self, example: Example, rng: np.random.Generator) -> tuple[ClassIds, Boxes]:
        """Class ids and boxes, at most MAX_GT_INSTANCES of them, drawn at random."""
        count, limit = len(example.class_ids), self.config.MAX_GT_INSTANCES
        if count <= limit:
            return example.class_ids, example.boxes
        name = ImageName(self.dataset, int(example.image_meta[0]))
        warnings.warn(f"{name} has {count} objects, more than MAX_GT_INSTANCES; {limit} of them, "
                      "drawn at random, train the head. Raise MAX_GT_INSTANCES to use all.",
                      stacklevel=2)
        kept = np.sort(rng.choice(count, limit, replace=False))
        return example.class_ids[kept], example.boxes[kept]


def fresh_seed() -> int:
    """A seed that no one chose."""
    return int(np.random.default_rng().integers(2**62))
