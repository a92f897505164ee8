"""`MaskRCNN.detect_tiled`: with one tile it is `detect`, with several each tile's detections."""

import numpy as np
import pytest
from model_tools import noise, prefer_objects, small_config
from PIL import Image

from frcnn.data.slides import WholeImage
from frcnn.errors import ArgumentError, ImageError
from frcnn.evaluate import detect_dataset
from frcnn.inference.tiled import TiledModel, Tiling
from frcnn.model.mask_rcnn import MaskRCNN


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = MaskRCNN("inference", small_config(TRAIN_BN=False), tmp_path_factory.mktemp("logs"),
                    seed=1)
    prefer_objects(made)
    return made


@pytest.fixture(scope="module")
def image(model):
    return noise([(model.config.IMAGE_MAX_DIM,) * 2])[0]


def assert_same(found, expected):
    assert len(expected["scores"])
    order, other = (np.lexsort((*result["boxes"].T, -result["scores"].round(5)))
                    for result in (found, expected))
    for name in ("boxes", "class_ids", "scores"):
        np.testing.assert_allclose(found[name][order], expected[name][other], rtol=1e-4, atol=1e-2,
                                   err_msg=name)


def test_an_image_of_one_tile_is_detected_as_it_is(model, image, tmp_path):
    expected = model.detect([image])[0]
    assert_same(model.detect_tiled(image), expected)
    assert_same(model.detect_tiled(lambda: image), expected)
    assert_same(model.detect_tiled(WholeImage(image)), expected)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert_same(model.detect_tiled(tmp_path / "a.png", verbose=1), expected)


def test_two_tiles_without_overlap_are_two_images(model, image):
    """Whatever is at their seam is cut in both, and has a counterpart in none."""
    other = noise([image.shape[:2]])[0][::-1]
    side = image.shape[0]
    parts = model.detect([image, other])
    found = model.detect_tiled(np.concatenate([image, other], axis=1), overlap=0)
    centers = found["boxes"][:, [1, 3]].mean(axis=1)
    assert (centers < side).any() and (centers > side).any()
    assert len(found["boxes"]) <= sum(len(part["boxes"]) for part in parts)
    inside = parts[1]["boxes"][:, 1] > 5
    moved = parts[1]["boxes"][inside] + np.float32([0, side, 0, side])
    for box in moved:
        assert np.abs(found["boxes"] - box).max(axis=1).min() < 0.1


def test_tiles_are_scaled_as_images_are(model, image):
    """Twice as many pixels in tiles of twice the size: the same tiles to the network."""
    large = image.repeat(2, axis=0).repeat(2, axis=1)
    expected = model.detect([large])[0]
    assert_same(model.detect_tiled(large, size=large.shape[0]), expected)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"size": -1}, "size is -1"), ({"overlap": 1}, "overlap is 1"),
    ({"mpp": 0.5}, "for files with several levels, not for arrays")])
def test_arguments_that_are_not_possible(model, image, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        model.detect_tiled(image, **arguments)


def test_images_that_do_not_fit(model, tmp_path):
    with pytest.raises(ArgumentError, match="has the shape"):
        model.detect_tiled(np.zeros((50, 50), np.uint8))
    with pytest.raises(ImageError, match="give uint8"):
        model.detect_tiled(np.zeros((50, 50, 3), np.float32))
    with pytest.raises(FileNotFoundError, match="no such image file"):
        model.detect_tiled(tmp_path / "none.png")


def test_a_data_set_is_evaluated_in_tiles(model, image):
    class OneImage:
        image_ids, image_info, num_images = [0], [{"path": None}], 1
        class_names = None

        def load_image(self, image_id):
            return image

    found = detect_dataset(_Unchecked(model), OneImage(), progress=False)
    assert_same(found[0], model.detect([image])[0])


class _Unchecked(TiledModel):
    """Without classes to compare with the data set's."""

    def __init__(self, model):
        super().__init__(model, Tiling(model.config.IMAGE_MAX_DIM))
        self.class_names, self.config = None, None
