"""Batches: what is in them, in which order they come, and what happens when an image breaks."""

import shutil
import warnings

import numpy as np
import pytest
from loader_tools import (
    Blank,
    Recorder,
    config_for,
    end_of_threads,
    flat,
    image_ids,
    run_epoch,
)
from PIL import Image

from frcnn.data.coco import CocoDataset
from frcnn.data.dataset import Dataset
from frcnn.data.examples import load_image_gt
from frcnn.data.image_meta import parse_image_meta
from frcnn.data.loader import DetectionSequence
from frcnn.data.molding import mold_image
from frcnn.errors import ConfigError, DatasetError
from frcnn.geometry.anchors import pyramid_anchors
from frcnn.geometry.boxes import apply_box_deltas, compute_overlaps

NAMES = ["input_image", "input_image_meta", "input_rpn_match", "input_rpn_bbox",
         "input_gt_class_ids", "input_gt_boxes"]


@pytest.fixture
def train(coco_folder):
    return CocoDataset.from_folder(coco_folder, "train")


def assert_same(batch, other):
    assert batch.keys() == other.keys()
    for name in batch:
        np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


# --- what a batch holds ---------------------------------------------------------------------


def test_shapes_and_dtypes(train):
    config = config_for()
    sequence = DetectionSequence(train, config)
    assert len(sequence) == 3
    (batch,) = sequence[0]
    anchors = len(pyramid_anchors(config, config.IMAGE_SHAPE))
    assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
        "input_image": ((2, 128, 128, 3), "float32"),
        "input_image_meta": ((2, 16), "float32"),
        "input_rpn_match": ((2, anchors, 1), "int32"),
        "input_rpn_bbox": ((2, 256, 4), "float32"),
        "input_gt_class_ids": ((2, 10), "int32"),
        "input_gt_boxes": ((2, 10, 4), "float32"),
    }
    assert list(batch) == NAMES


def test_a_batch_is_the_examples_it_is_made_of(train):
    config = config_for()
    (batch,) = DetectionSequence(train, config, shuffle=False)[0]
    for image_id in (0, 1):
        image, meta, class_ids, boxes = load_image_gt(train, config, image_id)
        np.testing.assert_array_equal(batch["input_image"][image_id], mold_image(image, config))
        np.testing.assert_allclose(batch["input_image_meta"][image_id], meta)
        count = len(class_ids)
        assert batch["input_gt_class_ids"][image_id].tolist() == [*class_ids, *[0] * (10 - count)]
        np.testing.assert_array_equal(batch["input_gt_boxes"][image_id, :count], boxes)
        assert not batch["input_gt_boxes"][image_id, count:].any()


def test_rpn_targets_belong_to_the_boxes(train):
    """Positive anchors, moved by their deltas, lie on the objects; negatives overlap none."""
    config = config_for()
    anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    (batch,) = DetectionSequence(train, config, shuffle=False, augmentation="flip")[0]
    for slot in range(2):
        objects = batch["input_gt_boxes"][slot][batch["input_gt_class_ids"][slot] > 0]
        match = batch["input_rpn_match"][slot, :, 0]
        assert (match == 1).sum() > 0 and (match != 0).sum() == 256
        positive = np.flatnonzero(match == 1)
        deltas = batch["input_rpn_bbox"][slot, :len(positive)] * config.RPN_BBOX_STD_DEV
        overlaps = compute_overlaps(apply_box_deltas(anchors[positive], deltas), objects)
        assert overlaps.max(axis=1).min() > 0.999
        assert compute_overlaps(anchors[match == -1], objects.astype(float)).max() < 0.3


@pytest.mark.parametrize("crowd", [False, True])
def test_images_with_no_objects_or_only_crowds(train, crowd):
    if crowd:
        train.image_info[4].update(boxes=np.float32([[10, 10, 60, 60]]), crowds=np.array([True]),
                                   category_ids=np.array([7]))
    sequence = DetectionSequence(train, config_for(), shuffle=False, random_rois=20)
    (batch,) = sequence[2]  # image 4, and image 0 again
    match = batch["input_rpn_match"][0, :, 0]
    assert set(np.unique(match)) == {-1, 0} and (match == -1).sum() == 256
    assert batch["input_gt_class_ids"][0].tolist() == [-2 if crowd else 0] + [0] * 9
    assert not batch["input_rpn_bbox"][0].any()
    assert (batch["input_rois"][0, :, 2:] > batch["input_rois"][0, :, :2]).all()


def test_random_rois(train):
    (batch,) = DetectionSequence(train, config_for(), random_rois=30)[0]
    assert batch["input_rois"].shape == (2, 30, 4)
    assert (batch["input_rois"][..., 2:] > batch["input_rois"][..., :2]).all()
    assert batch["input_rois"].min() >= 0 and batch["input_rois"].max() <= 128


def test_more_objects_than_fit_are_drawn_at_random_with_a_warning(train):
    boxes = np.float32([[y, x, y + 9, x + 9] for y in range(0, 80, 10) for x in range(0, 120, 10)])
    train.image_info[1].update(boxes=boxes, crowds=np.zeros(96, bool),
                               category_ids=np.full(96, 7))
    config = config_for(IMAGE_RESIZE_MODE="none")
    seen = set()
    for seed in range(3):
        sequence = DetectionSequence(train, config, shuffle=False, seed=seed)
        with pytest.warns(UserWarning, match=r"train_1\.png has 96 objects, more than MAX_GT_INST"):
            (batch,) = sequence[0]
        kept = batch["input_gt_boxes"][1]
        assert len(np.unique(kept, axis=0)) == 10
        assert {tuple(box) for box in kept} <= {tuple(box) for box in boxes}
        # The RPN trains on all of them.
        near = compute_overlaps(pyramid_anchors(config, sequence.image_shape),
                                boxes.astype(float)).max(axis=1)
        assert (batch["input_rpn_match"][1, near >= 0.3, 0] >= 0).all()
        seen.add(kept.tobytes())
    assert len(seen) == 3


def test_images_of_several_sizes_share_one_canvas(coco_folder, train):
    Image.new("RGB", (70, 150), (9, 9, 9)).save(coco_folder / "train" / "train_4.png")
    train.image_info[4].update(width=70, height=150)
    config = config_for(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=64)
    sequence = DetectionSequence(train, config, shuffle=False)
    assert sequence.image_shape == (192, 128, 3)
    batches = [sequence[index][0] for index in range(3)]
    anchors = len(pyramid_anchors(config, (192, 128, 3)))
    for batch in batches:
        assert batch["input_image"].shape == (2, 192, 128, 3)
        assert batch["input_rpn_match"].shape == (2, anchors, 1)
        np.testing.assert_array_equal(batch["input_image_meta"][:, 4:7], [[192, 128, 3]] * 2)
        np.testing.assert_allclose(batch["input_image"][1, 191], -config.MEAN_PIXEL[None]
                                   .repeat(128, 0), rtol=1e-6)
    turned = DetectionSequence(train, config, augmentation="microscopy", seed=0)
    assert turned.image_shape == (192, 192, 3)
    assert len(flat(image_ids(turned))) == 6


def test_every_image_has_the_active_classes_of_its_own_source(coco_folder, tmp_path):
    """Two sources with classes of their own, side by side in one batch."""
    dataset = CocoDataset()
    dataset.load_coco(coco_folder, "val")
    dataset.load_coco(coco_folder, "train", class_ids=[7], source="other")
    dataset.prepare()
    sequence = DetectionSequence(dataset, config_for(NUM_CLASSES=6), shuffle=False, batch_size=4)
    active = parse_image_meta(sequence[0][0]["input_image_meta"])["active_class_ids"]
    assert active.tolist() == [[1, 1, 1, 1, 0, 0]] * 3 + [[1, 0, 0, 0, 1, 0]]


def test_a_thousand_objects_of_four_pixels(train):
    """All of them have anchors, and the head trains on as many as MAX_GT_INSTANCES."""
    boxes = np.float32([[y, x, y + 4, x + 4] for y in range(0, 125, 5) for x in range(0, 200, 5)])
    dataset = Blank([(128, 200)], [boxes])
    config = config_for(IMAGE_RESIZE_MODE="pad64", MAX_GT_INSTANCES=1000,
                        RPN_ANCHOR_SCALES=(4, 8, 16, 32, 64), RPN_TRAIN_ANCHORS_PER_IMAGE=8000)
    (batch,) = DetectionSequence(dataset, config, batch_size=1, augmentation="flip")[0]
    assert (batch["input_gt_class_ids"] == 1).all()
    assert len(np.unique(batch["input_gt_boxes"][0], axis=0)) == 1000
    sides = batch["input_gt_boxes"][0, :, 2:] - batch["input_gt_boxes"][0, :, :2]
    np.testing.assert_array_equal(sides, 4)
    anchors = pyramid_anchors(config, (128, 256, 3))[batch["input_rpn_match"][0, :, 0] == 1]
    best = compute_overlaps(anchors, batch["input_gt_boxes"][0].astype(float)).argmax(axis=1)
    assert set(best) == set(range(1000))


# --- order ----------------------------------------------------------------------------------


def test_every_image_once_an_epoch_and_the_last_batch_filled_from_the_start(train):
    sequence = DetectionSequence(train, config_for(), seed=11)
    orders = []
    for _ in range(4):
        order = flat(run_epoch(sequence))
        assert len(order) == 6
        assert sorted(order[:5]) == [0, 1, 2, 3, 4] and order[5] == order[0]
        orders.append(tuple(order))
    assert len(set(orders)) > 1


def test_validation_keeps_the_data_sets_order(train):
    sequence = DetectionSequence(train, config_for(), shuffle=False)
    for _ in range(2):
        assert run_epoch(sequence) == [[0, 1], [2, 3], [4, 0]]


def test_a_batch_larger_than_the_data_set(train):
    sequence = DetectionSequence(train, config_for(), shuffle=False, batch_size=12)
    assert image_ids(sequence) == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_steps_go_on_through_the_data_from_epoch_to_epoch(train, shuffle):
    sequence = DetectionSequence(train, config_for(), steps=2, seed=4, shuffle=shuffle)
    order = []
    for _ in range(5):
        order += flat(run_epoch(sequence))
        assert len(sequence) == 2
    passes = [order[start:start + 5] for start in range(0, 20, 5)]
    assert all(sorted(ids) == [0, 1, 2, 3, 4] for ids in passes)
    assert shuffle == (len({tuple(ids) for ids in passes}) > 1)


def test_steps_may_span_several_passes(train):
    sequence = DetectionSequence(train, config_for(), steps=6, seed=4)
    order = flat(image_ids(sequence))
    assert len(order) == 12 and sorted(order[5:10]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("steps", "augmentation"), [(None, "flip"), (2, "microscopy")])
def test_equal_seeds_give_equal_batches_and_a_later_start_goes_on(train, steps, augmentation):
    settings = {"seed": 21, "augmentation": augmentation, "random_rois": 5, "steps": steps}
    first = DetectionSequence(train, config_for(), **settings)
    run_epoch(first)
    second = DetectionSequence(train, config_for(), initial_epoch=1, **settings)
    for index in reversed(range(len(second))):  # in whatever order they are requested
        assert_same(first[index][0], second[index][0])
    other = DetectionSequence(train, config_for(), **{**settings, "seed": 22})
    assert any(not np.array_equal(first[index][0]["input_image"], other[index][0]["input_image"])
               for index in range(len(first)))


def test_without_a_seed_one_is_drawn_and_kept(train):
    one, other = (DetectionSequence(train, config_for()) for _ in range(2))
    assert one.seed != other.seed
    assert_same(one[0][0], DetectionSequence(train, config_for(), seed=one.seed)[0][0])


@pytest.mark.parametrize("workers", [1, 3])
def test_hooks_without_an_epoch_do_not_count(train, workers):
    """As Keras calls them when `fit` builds a model on the first batch."""
    sequence = DetectionSequence(train, config_for(), seed=5, workers=workers)
    expected = image_ids(sequence)
    sequence.on_epoch_end()
    sequence.on_epoch_begin()
    sequence[0]
    sequence.on_epoch_end()
    assert sequence.epoch == 0 and image_ids(sequence) == expected


def test_several_workers_make_the_same_batches(train):
    settings = {"seed": 6, "augmentation": "microscopy", "batch_size": 1}
    plain = DetectionSequence(train, config_for(), **settings)
    ahead = DetectionSequence(train, config_for(), workers=4, max_queue_size=3, **settings)
    for _ in range(3):
        for sequence in (plain, ahead):
            sequence.on_epoch_begin()
        for index in (0, 1, 2, 0, 3, 4):
            assert_same(plain[index][0], ahead[index][0])
            assert len(ahead._ahead) <= 3
        for sequence in (plain, ahead):
            sequence.on_epoch_end()
    assert plain.epoch == ahead.epoch == 3


def test_there_are_no_batches_beyond_the_last(train):
    sequence = DetectionSequence(train, config_for())
    for index in (3, -1):
        with pytest.raises(IndexError):
            sequence[index]


@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("workers", [1, 3])
def test_fit_sees_the_batches_in_order_epoch_after_epoch(train, workers, steps):
    """Keras calls the epoch hooks at odd moments, and several workers prepare batches ahead."""
    settings = {"seed": 8, "steps": steps}
    expected, plain = [], DetectionSequence(train, config_for(), **settings)
    for _ in range(3):
        expected += run_epoch(plain)

    sequence = DetectionSequence(train, config_for(), workers=workers, **settings)
    validation = DetectionSequence(train, config_for(), shuffle=False, workers=workers)
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(sequence, epochs=3, validation_data=validation, verbose=0, shuffle=False)
    once = len(sequence)
    in_order = [[0, 1], [2, 3], [4, 0]]
    assert model.seen == [*expected[:once], *in_order, *expected[once:2 * once], *in_order,
                          *expected[2 * once:], *in_order]
    assert sequence.epoch == 3


# --- augmentation ---------------------------------------------------------------------------


def test_sources_may_be_left_out_of_augmentation(coco_folder, tmp_path):
    dataset = CocoDataset()
    dataset.load_coco(coco_folder, "val")
    dataset.load_coco(shutil.copytree(coco_folder, tmp_path / "copy"), "val", source="other")
    dataset.prepare()

    def blacken(image, boxes, class_ids, rng):
        return np.zeros_like(image), boxes, class_ids

    config = config_for(NUM_CLASSES=7)
    sequence = DetectionSequence(dataset, config, shuffle=False, augmentation=blacken,
                                 no_augmentation_sources=["other"])
    images = np.concatenate([sequence[index][0]["input_image"] for index in range(3)])
    black = np.isclose(images, -config.MEAN_PIXEL, atol=1e-4).all(axis=(1, 2, 3))
    assert black.tolist() == [True] * 3 + [False] * 3


# --- images that break ----------------------------------------------------------------------


def test_an_image_that_breaks_is_replaced_by_the_next_and_named(coco_folder, train):
    sequence = DetectionSequence(train, config_for(), shuffle=False)
    (coco_folder / "train" / "train_1.png").write_bytes(b"rubbish")
    (coco_folder / "train" / "train_4.png").unlink()
    with pytest.warns(UserWarning, match=r"replaced by another image") as caught:
        assert image_ids(sequence) == [[0, 2], [2, 3], [0, 0]]
    messages = " ".join(str(warning.message) for warning in caught)
    assert "train_1.png" in messages and "train_4.png" in messages and "train_2" not in messages
    assert sequence.failure is None


@pytest.mark.parametrize("workers", [1, 2])
def test_many_broken_images_in_a_row_are_an_error(coco_folder, train, workers):
    sequence = DetectionSequence(train, config_for(), shuffle=False, workers=workers)
    for path in (coco_folder / "train").glob("*.png"):
        path.write_bytes(b"")
    message = r"6 images in a row cannot be read; the last one is .*train_0\.png"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DatasetError, match=message):
            sequence[0]
        end_of_threads()  # what is still under way warns in here
    assert isinstance(sequence.failure, DatasetError)
    assert workers == 1 or len(sequence._ahead) == 0


def test_errors_of_the_annotations_are_not_skipped(train):
    train.load_boxes = lambda image_id: (np.array([[0, 0, 9, np.nan]]), np.array([1]))
    with pytest.raises(DatasetError, match="not finite"):
        DetectionSequence(train, config_for())[0]


def test_data_sets_that_cannot_be_used_are_refused(train):
    with pytest.raises(DatasetError, match=r"no images; add some and call prepare\(\)"):
        DetectionSequence(Dataset(), config_for())
    with pytest.raises(DatasetError, match="has 4 classes, background included, but NUM_CLASSES"):
        DetectionSequence(train, config_for(NUM_CLASSES=3))
    with pytest.raises(ConfigError, match="augmentation is 'flop'"):
        DetectionSequence(train, config_for(), augmentation="flop")
