"""Pictures of any image stay within 4,000 pixels a side, and within 1 GB of memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from places import PROJECT
from visualize_tools import NAMES

from frcnn import visualize
from frcnn.visualize.reduction import MAX_SIDE, reduced, reduction

LIMIT = 4000


def side_of(figure, path):
    visualize.save_figure(figure, path)
    with Image.open(path) as image:
        return max(image.size)


def beside_truth(shapes, names=NAMES):
    """Truth and detections of images of these (height, width), with one object each."""
    images = [np.full((*shape, 3), 170, np.uint8) for shape in shapes]
    boxes = [np.array([[0, 0, height / 2, width]], np.float32) for height, width in shapes]
    return visualize.draw_detections_beside_truth(
        images, [(box, [1]) for box in boxes],
        [{"boxes": box, "class_ids": np.array([1]), "scores": np.array([0.9])} for box in boxes],
        names, titles=[f"image {number}" for number in range(len(shapes))])


@pytest.mark.parametrize("shapes", [
    [(1000, 100)] * 6, [(6000, 20)] * 6, [(20, 6000)] * 6, [(300, 300)] * 6, [(100, 100)] * 60,
    [(6000, 20), (20, 6000), (300, 300)], [(1, 1)], [(9000, 2)]])
def test_truth_and_detections_of_images_of_any_shape(tmp_path, shapes):
    assert side_of(beside_truth(shapes), tmp_path / "a.png") < LIMIT


def test_images_that_fit_are_as_large_as_before(tmp_path):
    """Two square images: 16 inches across, less the margins that are cut off."""
    figure = beside_truth([(300, 300)] * 2)
    assert tuple(figure.get_size_inches()) == pytest.approx((16, 2 * (7.9 + 0.35)))
    assert side_of(figure, tmp_path / "a.png") > 1500


def test_tall_images_share_the_height_that_wide_ones_leave():
    """39 inches less three titles, of which the wide image takes 0.79."""
    figure = beside_truth([(3000, 300), (100, 1000), (6000, 300)])
    heights = sorted({round(float(ax.get_position().height) * 39, 2) for ax in figure.axes})
    assert figure.get_size_inches()[1] == pytest.approx(39)
    assert heights == pytest.approx([0.79, (39 - 3 * 0.35 - 0.79) / 2], abs=0.01)


@pytest.mark.parametrize("shape", [(12, 4000), (4000, 12), (2, 2), (5000, 5000)])
def test_one_picture_of_any_shape(tmp_path, shape):
    image = np.zeros((*shape, 3), np.uint8)
    ax = visualize.display_instances(image, [[0, 0, *shape]], [1], NAMES, scores=[0.5])
    assert side_of(ax, tmp_path / "a.png") < LIMIT


def test_grids_figures_and_texts_of_any_size(tmp_path):
    images = [np.zeros((3000, 10, 3), np.uint8)] * 30
    assert side_of(visualize.display_images(images, cols=3), tmp_path / "a.png") < LIMIT
    long = ["BG", "a" * 3000]
    assert side_of(beside_truth([(90, 90)], long), tmp_path / "b.png") < LIMIT
    many = ["BG", *(f"class {number}" for number in range(600))]
    ax = visualize.display_instances(np.zeros((90, 90, 3), np.uint8), [[0, 0, 9, 9]] * 600,
                                     range(1, 601), many, captions=[""] * 600, legend=True)
    assert side_of(ax, tmp_path / "c.png") < LIMIT
    figure = visualize.display_images([np.zeros((9, 9, 3), np.uint8)])
    figure.set_size_inches(90, 3)
    assert side_of(figure, tmp_path / "d.png") < LIMIT
    assert visualize.save_figure(figure, tmp_path / "e.svg").exists()  # has no pixels


def test_names_with_characters_that_cannot_be_drawn(tmp_path):
    assert side_of(beside_truth([(90, 90)], ["BG", "a\udce4\x1b[31m"]), tmp_path / "a.png") > 0


# --- large images -------------------------------------------------------------------------------


def test_a_large_image_is_made_smaller_by_a_whole_factor():
    assert [reduction(shape) for shape in ((5, 9), (2000, 2000, 3), (2001, 5), (9, 9000))] == [
        1, 1, 2, 5]
    pixels = np.random.default_rng(0).integers(0, 255, (7, 8, 5), np.uint8)
    assert reduced(pixels, 1) is pixels
    small = reduced(pixels, 2)
    assert small.shape == (4, 4, 5) and small.dtype == np.uint8
    means = pixels[:6].reshape(3, 2, 4, 2, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(small[:3], means, atol=0.51)
    np.testing.assert_allclose(small[3], pixels[6].reshape(4, 2, 5).mean(axis=1), atol=0.51)
    np.testing.assert_array_equal(reduced(pixels[..., 0], 2), small[..., 0])
    for other in (reduced(pixels, 3, smooth=False), reduced(pixels.astype(np.float32), 3)):
        np.testing.assert_array_equal(other, pixels[::3, ::3])


def test_boxes_stay_where_they_are_in_a_large_image():
    image = np.zeros((2 * MAX_SIDE, 100, 3), np.uint8)
    ax = visualize.display_instances(image, [[10, 20, 3900, 90]], [1], NAMES)
    assert ax.images[0].get_array().shape == (MAX_SIDE, 50, 3)
    assert ax.images[0].get_extent() == [0, 100, 2 * MAX_SIDE, 0]
    assert ax.get_xlim() == (0, 100) and ax.get_ylim() == (2 * MAX_SIDE, 0)
    (patch,) = ax.patches
    assert (patch.get_y(), patch.get_height()) == (10, 3890)


MEASURE = """
import resource, sys
import numpy as np
from PIL import Image
from frcnn import visualize
from frcnn.cli import results

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

image = np.full((9000, 12000, 3), 200, np.uint8)
result = {"boxes": np.array([[10, 20, 8000, 9000]], np.float32), "class_ids": np.array([1]),
          "scores": np.array([0.9])}
artist = results.Artist(sys.argv[1], ["BG", "a"])
before = peak()
artist.draw(__import__("pathlib").Path("big.png"), artist.preview(image), result)
figure = visualize.draw_detections_beside_truth(
    [image, image], [(result["boxes"], [1])] * 2, [result] * 2, ["BG", "a"])
visualize.save_figure(figure, sys.argv[1] + "/grid.png")
tall = np.zeros((6000, 20, 3), np.uint8)
figure = visualize.draw_detections_beside_truth(
    [tall] * 6, [(result["boxes"], [1])] * 6, [result] * 6, ["BG", "a"])
visualize.save_figure(figure, sys.argv[1] + "/tall.png")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_the_memory_of_pictures_of_a_large_image(tmp_path):
    """An image of 108 million pixels has 324 MB itself; drawing it whole takes 6.8 GB."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], check=True,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH":
                                                               str(PROJECT)})
    assert float(done.stdout) < 600  # MB
    assert sorted(os.listdir(tmp_path)) == ["big.png", "grid.png", "tall.png"]
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert max(picture.size) < LIMIT


def test_a_picture_of_a_large_image_has_its_boxes_in_place(tmp_path):
    """The box covers the right half of a white image, and is drawn where that begins."""
    from frcnn.cli.results import Artist

    image = np.full((4000, 8000, 3), 255, np.uint8)
    artist = Artist(str(tmp_path), ["BG", "a"])
    preview = artist.preview(image)
    assert preview.factor == 4 and preview.image.shape == (1000, 2000, 3)
    artist.draw(tmp_path / "a.tif", preview, {
        "boxes": np.array([[0, 4000, 4000, 8000]], np.float32), "class_ids": np.array([1]),
        "scores": np.array([0.5])})
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 1] > 100).sum(axis=0) > 300  # an upright line
    columns = np.flatnonzero(red)
    assert columns.min() == pytest.approx(pixels.shape[1] / 2, abs=15)
