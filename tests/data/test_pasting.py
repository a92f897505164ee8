"""Objects copied from image to image: which, how often, and from what data."""

import threading
import warnings

import numpy as np
import pytest
from loader_tools import config_for

from frcnn.data.dataset import Dataset
from frcnn.data.examples import load_image_gt
from frcnn.data.pasting import ObjectPaster, PatchCache
from frcnn.data.patches import Patch
from frcnn.data.reading import load_all_objects
from frcnn.errors import ImageError

GROUND = 120
LEVELS = {1: 40, 2: 200, 3: 90}  # of the pixels of each class


class Drawn(Dataset):
    """Images of 128 x 128 on an even ground, with one rectangle for each `(class id, box)`.

    Args:
        images: `(source, [(class id, box), ...])` of each; a negative id is a crowd.
    """

    def __init__(self, images, side=128):
        super().__init__()
        self.objects, self.loads, self.broken = [objects for _, objects in images], [], set()
        for source in dict.fromkeys(source for source, _ in images):
            for number in LEVELS:
                self.add_class(source, number, f"class {number}")
        for number, (source, _) in enumerate(images):
            self.add_image(source, number, None, height=side, width=side)
        self.prepare({})

    def load_image(self, image_id):
        self.loads.append(image_id)
        if image_id in self.broken:
            raise ImageError(f"image {image_id} is broken")
        info = self.image_info[image_id]
        image = np.full((info["height"], info["width"], 3), GROUND, np.uint8)
        for class_id, (y1, x1, y2, x2) in self.objects[image_id]:
            image[y1:y2, x1:x2] = LEVELS[abs(class_id)]
        return image

    def load_boxes(self, image_id):
        objects = self.objects[image_id]
        return (np.float32([box for _, box in objects]).reshape(-1, 4),
                np.int32([class_id for class_id, _ in objects]))


def paster_of(dataset, excluded=(), **settings):
    config = config_for(**{"PASTE_OBJECTS": 4.0, "IMAGE_RESIZE_MODE": "square", **settings})
    return ObjectPaster(dataset, config, load_all_objects(dataset, config), excluded)


def pasted(paster, image_id, seed=0):
    image = paster.dataset.load_image(image_id)
    boxes, class_ids = paster.dataset.load_boxes(image_id)
    return image, *paster.paste(image, boxes, class_ids, image_id, np.random.default_rng(seed))


def simple(count=6, source="a"):
    """A common object of class 1 and, in the first image, a rare one of class 2; one is empty."""
    images = [(source, [(1, (30, 30, 50, 60))]) for _ in range(count)]
    images[0][1].append((2, (80, 80, 100, 90)))
    return [*images, (source, [])]


# --- what is pasted -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_pasted_objects_are_where_their_boxes_are(seed):
    image, target, boxes, class_ids = pasted(paster_of(Drawn(simple())), 6, seed)
    assert (image == GROUND).all()  # not written into
    assert boxes.dtype == np.float32 and class_ids.dtype == np.int32
    drawn = np.full_like(image, GROUND)
    for (y1, x1, y2, x2), class_id in zip(boxes.astype(int), class_ids):
        assert sorted([y2 - y1, x2 - x1]) == ([20, 30] if class_id == 1 else [10, 20])
        drawn[y1:y2, x1:x2] = LEVELS[class_id]
    np.testing.assert_array_equal(target, drawn)


def test_the_mean_number_is_the_setting():
    dataset = Drawn(simple(), side=128)
    for wanted in (0.5, 2.0):
        paster = paster_of(dataset, PASTE_OBJECTS=wanted)
        counts = [len(pasted(paster, 6, seed)[2]) for seed in range(300)]
        assert np.mean(counts) == pytest.approx(wanted, abs=0.25)
        assert min(counts) == 0


def test_rare_classes_come_more_often():
    """1 / √count: with 9 objects of class 1 and 1 of class 2 that is one to three."""
    dataset = Drawn([*[("a", [(1, (30, 30, 50, 60))]) for _ in range(9)],
                     ("a", [(2, (30, 30, 50, 60))]), ("a", [])])
    paster = paster_of(dataset, PASTE_OBJECTS=1.0)
    classes = np.concatenate([pasted(paster, 10, seed)[3] for seed in range(600)])
    assert np.mean(classes == 2) == pytest.approx(0.75, abs=0.06)


def test_existing_objects_and_crowds_are_not_covered():
    images = simple()
    images[6] = ("a", [(1, (10, 10, 40, 40)), (-3, (64, 0, 128, 128))])
    paster = paster_of(Drawn(images), PASTE_OBJECTS=8.0)
    added = 0
    for seed in range(40):
        image, target, boxes, class_ids = pasted(paster, 6, seed)
        assert class_ids[:2].tolist() == [1, -3]
        np.testing.assert_array_equal(target[64:], image[64:])
        assert (boxes[2:, 2] <= 64).all()
        changed = (target != image).any(axis=2)[10:40, 10:40]
        assert changed.sum() <= 0.05 * changed.size
        added += len(boxes) - 2
    assert added > 20


def test_no_more_objects_than_train():
    paster = paster_of(Drawn(simple(), side=256), PASTE_OBJECTS=30.0, MAX_GT_INSTANCES=3)
    counts = [len(pasted(paster, 6, seed)[2]) for seed in range(10)]
    assert max(counts) == 3
    image, target, boxes, _ = pasted(paster_of(Drawn(simple()), MAX_GT_INSTANCES=1), 0)
    assert target is image and len(boxes) == 2


def test_an_image_gets_none_of_its_own_objects():
    paster = paster_of(Drawn([("a", [(1, (30, 30, 50, 60))]), ("a", [])]))
    assert all(len(pasted(paster, 0, seed)[2]) == 1 for seed in range(20))
    assert any(len(pasted(paster, 1, seed)[2]) > 0 for seed in range(20))


@pytest.mark.parametrize("objects", [[], [(-1, (30, 30, 50, 60))]])
def test_nothing_to_paste(objects):
    image, target, boxes, _ = pasted(paster_of(Drawn([("a", objects), ("a", [])])), 1)
    assert target is image and len(boxes) == 0


def test_classes_of_which_nothing_can_be_copied_are_named():
    """One that is cut by its image's edge, and one too close to another object."""
    dataset = Drawn([("a", [(1, (0, 30, 50, 60)), (2, (70, 70, 90, 90))]),
                     ("a", [(3, (30, 30, 50, 60)), (3, (30, 60, 50, 90))]), ("a", [])])
    with pytest.warns(UserWarning, match="no objects of the classes 'class 1', 'class 3': all"):
        paster = paster_of(dataset, PASTE_OBJECTS=8.0)
    assert {2} == set(pasted(paster, 2)[3])


def test_objects_on_an_even_ground_are_preferred():
    dataset = Drawn([("a", [(1, (30, 30, 50, 60))]), ("a", [(1, (40, 40, 80, 80))]), ("a", [])])
    draw = dataset.load_image

    def load_image(image_id):
        image = draw(image_id)
        if image_id == 0:
            image[:28:2] = image[52::2] = 200  # stripes above and below
            image[27::2, :25:2] = 200
        return image

    dataset.load_image = load_image
    paster = paster_of(dataset)
    sides = np.concatenate([pasted(paster, 2, seed)[2] for seed in range(30)])
    assert np.mean(sides[:, 2] - sides[:, 0] == 40) > 0.9


# --- sources --------------------------------------------------------------------------------


def test_excluded_sources_give_no_objects():
    images = [*simple(3, "a"), *simple(3, "b")]
    everything = paster_of(Drawn(images))
    assert any(2 in pasted(everything, 3, seed)[3] for seed in range(20))
    for excluded, used in (("a", "b"), ("b", "a")):
        paster = paster_of(Drawn(images), excluded=[excluded])
        dataset = paster.dataset
        for seed in range(20):
            pasted(paster, 3, seed)
        sources = {dataset.image_info[image_id]["source"]
                   for image_id in dataset.loads if image_id != 3}  # 3 is the one changed
        assert sources == {used}


def test_only_classes_that_the_images_source_has_labels_for():
    """Else the loss would take a pasted object for background."""
    dataset = Drawn(simple())
    dataset.source_class_ids["a"] = [0, 1]
    paster = paster_of(dataset)
    assert all(2 not in pasted(paster, 6, seed)[3] for seed in range(30))
    dataset.source_class_ids["a"] = [0, 3]
    assert all(len(pasted(paster, 6, seed)[3]) == 0 for seed in range(10))


def test_only_objects_that_the_network_would_see_at_about_their_size():
    """Images of 128 and 64 pixels are resized by 1 and 2: an object would double its size."""
    dataset = Drawn(simple())
    dataset.image_info[6].update(height=64, width=64)
    paster = paster_of(dataset, IMAGE_MIN_DIM=128)
    assert all(len(pasted(paster, 6, seed)[2]) == 0 for seed in range(20))
    paster = paster_of(dataset, IMAGE_MIN_DIM=64)  # by 1 and 1
    assert any(len(pasted(paster, 6, seed)[2]) > 0 for seed in range(20))


def test_an_image_that_cannot_be_read_is_named_and_others_are_used():
    dataset = Drawn(simple(2))
    paster = paster_of(dataset)
    dataset.broken = {0}
    with pytest.warns(UserWarning, match=r"a\.0 cannot be read, so none of its objects"):
        results = [pasted(paster, 2, seed)[3] for seed in range(20)]
    assert set(np.concatenate(results)) == {1}


def test_an_image_smaller_than_declared_gives_no_objects_beyond_its_edge():
    dataset = Drawn(simple(1))
    draw = dataset.load_image
    dataset.load_image = lambda image_id: draw(image_id)[:70] if image_id == 0 else draw(image_id)
    paster = paster_of(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the declared size is wrong
        results = [pasted(paster, 1, seed)[3] for seed in range(20)]
    assert set(np.concatenate(results)) == {1}


# --- as a function of the seed --------------------------------------------------------------


def test_results_depend_on_nothing_but_the_seed():
    """Not on what the cache holds, nor on the order of calls, nor on the thread."""
    dataset = Drawn(simple())
    expected = [pasted(paster_of(dataset), 6, seed)[1:] for seed in range(12)]
    shared = paster_of(dataset)
    results = {}

    def work(seeds):
        for seed in seeds:
            results[seed] = pasted(shared, 6, seed)[1:]

    threads = [threading.Thread(target=work, args=(range(first, 12, 3),)) for first in (2, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forgetful = paster_of(dataset)
    forgetful._patches = PatchCache(1, 10**6)
    for seed in range(12):
        for found in (results[seed], pasted(forgetful, 6, seed)[1:]):
            for one, other in zip(found, expected[seed]):
                np.testing.assert_array_equal(one, other)


def test_images_are_read_once_while_their_patches_are_kept():
    dataset = Drawn(simple(3))
    paster = paster_of(dataset)
    for seed in range(40):
        pasted(paster, 3, seed)
    loads = [image_id for image_id in dataset.loads if image_id != 3]
    assert sorted(loads) == [0, 1, 2]


def test_the_cache_is_limited_in_number_and_bytes():
    def patch(side):
        return Patch(np.zeros((side, side, 3), np.uint8), np.float32([0, 0, 1, 1]), 1, 1.0, 0.0)

    cache = PatchCache(3, 1000)
    for number in range(3):
        cache.put((0, number), patch(4))
    assert cache.get((0, 0)) is not None  # now used last
    cache.put((0, 3), patch(4))
    assert len(cache) == 3 and cache.get((0, 1)) is None and cache.get((0, 0)) is not None
    assert cache.nbytes == 3 * 48
    cache.put((1, 0), patch(18))  # 972 bytes: nothing else fits
    assert len(cache) == 1 and cache.nbytes == 972
    cache.put((1, 1), patch(20))  # larger than the limit
    assert len(cache) == 0 and cache.nbytes == 0
    for _ in range(2):
        cache.put((2, 0), patch(4))
    assert cache.nbytes == 48


# --- on the way to the network --------------------------------------------------------------


def test_pasted_objects_are_augmented_and_resized_like_the_others():
    dataset = Drawn(simple())
    paster = paster_of(dataset)

    def mirror(image, boxes, class_ids, rng):
        y1, x1, y2, x2 = boxes.T
        return image[:, ::-1], np.stack([y1, 128 - x2, y2, 128 - x1], axis=1), class_ids

    plain, mirrored = (load_image_gt(dataset, paster.config, 6, rng=4, paster=paster,
                                     augmentation=augmentation)
                       for augmentation in (None, mirror))
    assert len(plain.boxes) > 0
    np.testing.assert_array_equal(mirrored.image, plain.image[:, ::-1])
    np.testing.assert_array_equal(mirrored.boxes[:, [0, 2]], plain.boxes[:, [0, 2]])
