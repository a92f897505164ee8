"""Arrays and other values passed to the Python interface."""

import numpy as np

from bad_input import case, harmless
from frcnn import evaluate, utils
from frcnn.config import Config
from frcnn.data.examples import load_image_gt
from frcnn.data.image_meta import parse_image_meta
from frcnn.data.resize import resize_image
from frcnn.inference.transform import check_arrays, check_image

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
BOXES = np.array([[2, 3, 20, 20], [5, 5, 25, 35]], np.float32)
NAN = float("nan")


def image(value, **settings):
    """Checks an image as `detect` does."""
    return lambda folder: (lambda read: f"{read.shape} {read.dtype} {read.min()} to {read.max()}")(
        check_image(value, 0, Config(NUM_CLASSES=3, **settings)))


def images(value):
    return lambda folder: str(len(check_arrays(value, Config(NUM_CLASSES=3))))


def matches(gt_boxes=BOXES, gt_ids=(1, 2), boxes=BOXES, ids=(1, 2), scores=(0.9, 0.8)):
    """Matches detections with objects."""
    def act(folder):
        found, _, _ = utils.compute_matches(gt_boxes, gt_ids, boxes, ids, scores)
        return found.tolist()
    return lambda folder: f"{act(folder)}"


def ap(**changes):
    arguments = {"gt_boxes": BOXES, "gt_class_ids": (1, 2), "pred_boxes": BOXES,
                 "pred_class_ids": (1, 2), "pred_scores": (0.9, 0.8), **changes}
    return lambda folder: f"{utils.compute_ap(**arguments)[0]}"


def calls(function, *arguments, **options):
    return lambda folder: f"{np.asarray(function(*arguments, **options)).tolist()}"


def resized(value, **options):
    return lambda folder: f"{resize_image(value, **options)[0].shape}"


def data_set(class_name="Mine", **changes):
    """Makes a Dataset of one image in memory, whose methods return other values."""
    from frcnn.data import Dataset

    values = {"load_image": PIXELS, "load_boxes": (BOXES, np.array([1, 2], np.int32)), **changes}
    methods = {name: lambda self, image_id, value=value: value for name, value in values.items()
               if value is not None}
    dataset = type(class_name, (Dataset,), methods)()
    dataset.add_class("mine", 1, "rod")
    dataset.add_class("mine", 2, "cell")
    dataset.add_image("mine", 7, None)
    dataset.prepare()
    return dataset


def loads(augmentation=None, classes=3, settings=(), **changes):
    """Loads the image of a data set for training."""
    def act(folder):
        config = Config(NUM_CLASSES=classes, IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64, **dict(settings))
        example = load_image_gt(data_set(**changes), config, 0, augmentation=augmentation)
        return f"{example.class_ids.tolist()} {np.round(example.boxes).tolist()}"
    return act


def lists(**changes):
    """Checks the data set."""
    return lambda folder: [f"error: {finding.message}"
                           for finding in data_set(**changes).check()]


def scores(**result):
    """Evaluates a result for the image of the data set."""
    good = {"rois": BOXES.astype(np.int32), "boxes": BOXES, "class_ids": np.array([1, 2]),
            "scores": np.array([0.9, 0.8], np.float32)}
    return lambda folder: str(evaluate.evaluate_detections(
        data_set(), {0: {**good, **result}})["AP50"])


def unknown_image(folder):
    evaluate.evaluate_detections(data_set(), {5: {}})


def unknown_image_id(folder):
    evaluate.evaluate_detections(data_set(), {}, image_ids=[5])


def boxes(*rows, ids=None):
    return loads(load_boxes=(np.array(rows, np.float32),
                             np.array(ids or [1] * len(rows), np.int32)))


class Named:
    """A function whose repr has no address in it."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def __repr__(self):
        return "spoil"


def augmented(change):
    """Loads the image with an augmentation that changes what it gets."""
    def augment(image, boxes, class_ids, rng):
        return change(image, boxes, class_ids)
    return loads(augmentation=Named(augment))


def added(*classes):
    def act(folder):
        from frcnn.data import Dataset

        dataset = Dataset()
        for values in classes:
            dataset.add_class(*values)
        dataset.add_image("other", 1, "a.png")
        dataset.prepare()
    return act


CASES = [
    case("a gray image", image(PIXELS[..., 0]),
         "ArgumentError: Image 0 has the shape (30, 40); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("an image of four channels", image(np.zeros((5, 5, 4), np.uint8)),
         "ArgumentError: Image 0 has the shape (5, 5, 4); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("channels first", image(np.moveaxis(PIXELS, -1, 0)),
         "ArgumentError: Image 0 has the shape (3, 30, 40); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("a batch for an image", image(PIXELS[None]),
         "ArgumentError: Image 0 has the shape (1, 30, 40, 3); detect takes (height, width, "
         "3). frcnn.data.image_io.read_image reads any file that way."),
    case("an image of no height", image(PIXELS[:0]),
         "ArgumentError: Image 0 has the shape (0, 40, 3); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("an image that is None", image(None),
         "ArgumentError: Image 0 has the shape (); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("an image as text", image("a.png"),
         "ArgumentError: Image 0 has the shape (); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("an image of lists of different lengths", image([[1], [2, 3]]),
         "ArgumentError: Image 0 consists of lists of different lengths; give an array."),
    case("floats from 0 to 1", image(PIXELS / 255),
         "ImageError: Image 0 is an array of float64 with values from 0 to 1; give uint8, 0 to"
         " 255 (for floats from 0 to 1: (255 * image).round().astype(\"uint8\")), or declare the"
         " range of the data as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of "
         "the Config (--range LOW HIGH)."),
    case("floats from 0 to 255", image(PIXELS.astype(np.float32)),
         "ImageError: Image 0 is an array of float32 with values from 0 to 255; give uint8, 0 "
         "to 255 (for floats from 0 to 1: (255 * image).round().astype(\"uint8\")), or declare "
         "the range of the data as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of"
         " the Config (--range LOW HIGH)."),
    case("floats less the mean pixel", image(PIXELS.astype(np.float32) - 100),
         "ImageError: Image 0 is an array of float32 with values from -100 to 155; give uint8, "
         "0 to 255 (for floats from 0 to 1: (255 * image).round().astype(\"uint8\")), or declare "
         "the range of the data as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of"
         " the Config (--range LOW HIGH). Values below 0 are those of an image whose mean pixel "
         "is already subtracted, as mold_image does; detection and training do it themselves, so "
         "give the image before that."),
    case("floats outside of their range", image(PIXELS / 200, IMAGE_INTENSITY_RANGE=(0, 1)),
         "ImageError: Image 0: holds float64 values from 0 to 1.275, outside of its range 0 to"
         " 1. Declare the range that all images of the data set have as intensity_range of the"
         " Dataset and IMAGE_INTENSITY_RANGE of the Config (--range "
         "LOW HIGH), or correct the file."),
    case("an image with NaN", image(np.where(PIXELS > 250, NAN, PIXELS / 255),
                                    IMAGE_INTENSITY_RANGE=(0, 1)),
         "ImageError: Image 0: holds float64 values from nan to nan, NaN or infinity among "
         "them; replace these in the file."),
    harmless("floats in their range", image(PIXELS / 255, IMAGE_INTENSITY_RANGE=(0, 1)),
         "= (30, 40, 3) uint8 0 to 255"),
    case("integers of 64 bits", image(PIXELS.astype(np.int64)),
         "ImageError: Image 0 is an array of int64 with values from 0 to 255; give uint8, 0 to"
         " 255 (for floats from 0 to 1: (255 * image).round().astype(\"uint8\")), or declare the"
         " range of the data as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of "
         "the Config (--range LOW HIGH)."),
    case("truth values", image(PIXELS > 9),
         "ImageError: Image 0 is an array of bool; give uint8, 0 to 255."),
    case("complex numbers", image(PIXELS.astype(complex)),
         "ImageError: Image 0 is an array of complex128; give uint8, 0 to 255."),
    case("objects", image(PIXELS.astype(object)),
         "ImageError: Image 0 is an array of object; give uint8, 0 to 255."),
    case("a path for a list", images("a.png"),
         "ArgumentError: detect takes a list of images or paths; put 'a.png' into one."),
    case("one image for a list", images(PIXELS),
         "ArgumentError: Image 0 has the shape (40, 3); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("a list with None", images([PIXELS, None]),
         "ArgumentError: Image 1 has the shape (); detect takes (height, width, 3). "
         "frcnn.data.image_io.read_image reads any file that way."),
    case("boxes of three numbers", calls(utils.compute_overlaps, np.ones((4, 3)), BOXES),
         "ArgumentError: The boxes have the shape (4, 3); give [N, 4]."),
    case("boxes in words", calls(utils.compute_overlaps, [["a", "b", "c", "d"]], BOXES),
         "ArgumentError: The boxes are not an array of numbers; give [N, 4]."),
    case("boxes of lists of different lengths", calls(
        utils.compute_overlaps, [[1, 2, 3, 4], [1, 2]], BOXES),
         "ArgumentError: The boxes are not an array of numbers; give [N, 4]."),
    harmless("no boxes", calls(utils.compute_overlaps, np.zeros((0, 4)), BOXES),
         "= []"),
    case("fewer scores than boxes", calls(utils.non_max_suppression, BOXES, [0.5], 0.3),
         "ArgumentError: There are 2 boxes and scores of the shape (1,); give finite boxes [N,"
         " 4] and scores [N]."),
    case("more scores than boxes", calls(utils.non_max_suppression, BOXES, [0.5] * 3, 0.3),
         "ArgumentError: There are 2 boxes and scores of the shape (3,); give finite boxes [N,"
         " 4] and scores [N]."),
    case("a score of NaN", calls(utils.non_max_suppression, BOXES, [NAN, 0.5], 0.3),
         "ArgumentError: There are 2 boxes and scores of the shape (2,); give finite boxes [N,"
         " 4] and scores [N]."),
    case("a box of NaN in suppression", calls(
        utils.non_max_suppression, [[NAN, 1, 2, 3], [0, 0, 1, 1]], [1, 2], 0.3),
         "ArgumentError: There are 2 boxes and scores of the shape (2,); give finite boxes [N,"
         " 4] and scores [N]."),
    case("fewer classes than objects", matches(gt_ids=[1]),
         "ArgumentError: There are 2 boxes, but class ids or scores of the shape (1,); give "
         "one for each box."),
    case("more classes than objects", matches(gt_ids=[1, 2, 3]),
         "ArgumentError: There are 2 boxes, but class ids or scores of the shape (3,); give "
         "one for each box."),
    case("fewer classes than detections", matches(ids=[1]),
         "ArgumentError: There are 2 boxes, but class ids or scores of the shape (1,); give "
         "one for each box."),
    case("more scores than detections", matches(scores=[0.9, 0.8, 0.7]),
         "ArgumentError: There are 2 boxes, but class ids or scores of the shape (3,); give "
         "one for each box."),
    case("a detection's score of NaN", matches(scores=[NAN, 0.8]),
         "ArgumentError: A class id or score is no finite number; leave its box out."),
    case("a detection's box of NaN", matches(boxes=[[NAN, 1, 2, 3], [0, 0, 1, 1]]),
         "ArgumentError: A box is NaN or infinite; leave it out."),
    case("an object's box of infinity", matches(gt_boxes=[[0, 1, 2, 1e400], [0, 0, 1, 1]]),
         "ArgumentError: A box is NaN or infinite; leave it out."),
    case("detections of three numbers", matches(boxes=np.ones((4, 3)), ids=[1] * 3,
                                                scores=[1] * 3),
         "ArgumentError: The boxes have the shape (4, 3); give [N, 4]."),
    case("the AP of fewer scores", ap(pred_scores=[0.9]),
         "ArgumentError: There are 2 boxes, but class ids or scores of the shape (1,); give "
         "one for each box."),
    case("the AP of a score of NaN", ap(pred_scores=[0.9, NAN]),
         "ArgumentError: A class id or score is no finite number; leave its box out."),
    case("masks of two axes", calls(utils.extract_bboxes, np.ones((5, 5))),
         "ArgumentError: The masks have the shape (5, 5); give [height, width, N]."),
    case("a recall of boxes of three", calls(
        lambda *boxes: utils.compute_recall(*boxes, 0.5)[0], np.ones((4, 3)), BOXES),
         "ArgumentError: The boxes have the shape (4, 3); give [N, 4]."),
    harmless("resizing an image of two axes", resized(PIXELS[..., 0], min_dim=64, max_dim=64),
         "= (48, 64)"),
    case("resizing an image of no width", resized(PIXELS[:, :0], min_dim=64, max_dim=64),
         "ImageError: an image of shape (30, 0, 3) has no pixels to resize"),
    case("resizing in an unknown mode", resized(PIXELS, min_dim=64, max_dim=64, mode="stretch"),
         "ConfigError: IMAGE_RESIZE_MODE is 'stretch'; allowed is one of none, square, pad64, "
         "fit64, crop."),
    case("resizing to no size", resized(PIXELS, min_dim=0, max_dim=0, mode="square"),
         "ConfigError: The resize mode 'square' needs max_dim (IMAGE_MAX_DIM)."),
    case("a meta vector too short", calls(parse_image_meta, np.zeros((1, 5))),
         "ArgumentError: The image metas have the shape (1, 5); give [B, 12 + NUM_CLASSES]."),
    case("an image in memory of floats", loads(load_image=PIXELS / 255),
         "DatasetError: load_image does not return 8 bits: mine.7 is an array of float64 with "
         "values from 0 to 1; give uint8, 0 to 255 (for floats from 0 to 1: (255 * "
         "image).round().astype(\"uint8\")), or declare the range of the data as intensity_range"
         " of the Dataset and IMAGE_INTENSITY_RANGE of the Config (--range "
         "LOW HIGH)."),
    case("an image in memory of two channels", loads(load_image=PIXELS[..., :2]),
         "DatasetError: mine.7 is loaded with the shape (30, 40, 2), but IMAGE_CHANNEL_COUNT "
         "is 3. Set the data set's image_channels to the same number, or convert in "
         "load_image."),
    case("an image in memory that is None", loads(load_image=np.array(None)),
         "DatasetError: mine.7 is loaded with the shape (), but IMAGE_CHANNEL_COUNT is 3. Set "
         "the data set's image_channels to the same number, or convert in load_image."),
    case("a box in memory of NaN", boxes([NAN, 3, 20, 20]),
         "DatasetError: mine.7 has a box that is not finite: [[nan, 3.0, 20.0, 20.0]]."),
    case("a box in memory of no area", boxes([5, 3, 5, 20]),
         "warning: mine.7: 1 boxes are empty or outside the image; dropped.",
         "= [] []"),
    case("a box in memory that is inverted", boxes([20, 20, 2, 3]),
         "warning: mine.7: 1 boxes are empty or outside the image; dropped.",
         "= [] []"),
    case("a box in memory outside", boxes([50, 50, 60, 60]),
         "warning: mine.7: 1 boxes are empty or outside the image; dropped.",
         "= [] []"),
    case("boxes in memory as fractions", boxes([0.1, 0.1, 0.5, 0.5]),
         "DatasetError: mine.7 has boxes that lie between 0 and 1, as fractions of the image "
         "do: [[0.10000000149011612, 0.10000000149011612, 0.5, 0.5]]; load_boxes returns "
         "pixels."),
    case("boxes in memory of three numbers", loads(load_boxes=(np.ones((4, 3)), np.ones(3, int))),
         "DatasetError: mine.7: its boxes or class ids are float64 of the shape (4, 3); boxes "
         "are numbers [N, 4], class ids [N]."),
    case("boxes in memory in words", loads(load_boxes=(np.array([["a"] * 4]), np.array([1]))),
         "DatasetError: mine.7: its boxes or class ids are <U1 of the shape (1, 4); boxes are "
         "numbers [N, 4], class ids [N]."),
    case("a class in memory that is not known", boxes([2, 3, 20, 20], ids=[3]),
         "DatasetError: mine.7 has an object of the class 3; allowed are 1 to 2 (NUM_CLASSES "
         "less the background), negative for crowds."),
    case("a class in memory of the background", boxes([2, 3, 20, 20], ids=[0]),
         "DatasetError: mine.7 has an object of the class 0; allowed are 1 to 2 (NUM_CLASSES "
         "less the background), negative for crowds."),
    case("a class in memory of half", loads(load_boxes=(BOXES, np.array([1.5, 2]))),
         "DatasetError: mine.7 has class ids that are not whole numbers: [1.5, 2.0]."),
    case("fewer classes in memory", loads(load_boxes=(BOXES, np.array([1]))),
         "DatasetError: mine.7 has 2 boxes and 1 class ids."),
    case("a result in memory that is None", loads(load_boxes=3),
         "DatasetError: mine.7: load_boxes returned int, not boxes and class ids."),
    case("more classes than NUM_CLASSES", loads(classes=2),
         "DatasetError: The data set has 3 classes, background included, but NUM_CLASSES is 2;"
         " set it to 3."),
    case("an unknown augmentation", loads(augmentation="spin"),
         "ConfigError: augmentation is 'spin'; allowed are None, one of the presets flip, "
         "flips, microscopy, a Keras preprocessing layer, or a callable (image, boxes, "
         "class_ids, rng) -> (image, boxes, class_ids)."),
    case("an augmentation that returns floats", augmented(
        lambda image, boxes, ids: (image / 255, boxes, ids)),
         "ConfigError: The augmentation spoil returned an image of float64; it must be uint8, "
         "0 to 255."),
    case("an augmentation that loses classes", augmented(
        lambda image, boxes, ids: (image, boxes, ids[:1])),
         "ConfigError: The augmentation spoil returned an image of the shape (30, 40, 3), "
         "boxes of (2, 4) and 1 class ids; they must be [H, W, C], [N, 4] and [N]."),
    case("an augmentation that returns NaN", augmented(
        lambda image, boxes, ids: (image, boxes * NAN, ids)),
         "ConfigError: The augmentation spoil returned a box that is NaN or infinite: [[nan, "
         "nan, nan, nan], [nan, nan, nan, nan]]."),
    case("an augmentation that returns the image alone", augmented(
        lambda image, boxes, ids: image),
         "ConfigError: The augmentation spoil returned ndarray; it must return image, boxes "
         "and class ids."),
    case("an augmentation that changes classes", augmented(
        lambda image, boxes, ids: (image, boxes, ids + 7)),
         "ConfigError: The augmentation spoil returned an object of the class 8; allowed are 1"
         " to 2, negative for crowds."),
    case("a check of floats", lists(load_image=PIXELS / 255),
         "error: Image 7: mine.7 is an array of float64 with values from 0 to 1; give uint8, 0"
         " to 255 (for floats from 0 to 1: (255 * image).round().astype(\"uint8\")), or declare "
         "the range of the data as intensity_range of the Dataset and IMAGE_INTENSITY_RANGE of"
         " the Config (--range LOW HIGH)."),
    case("a check of one axis", lists(load_image=PIXELS.ravel()),
         "error: Image 7: it is loaded with the shape (3600,); images are [height, width, "
         "channels]."),
    case("a check of an unknown class", lists(load_boxes=(BOXES, np.array([1, 5]))),
         "error: Image 7 (mine.7), object 1 is of the class 5; allowed are 1 to 2, negative "
         "for crowds."),
    case("a check of a box of NaN", lists(load_boxes=(BOXES * NAN, np.array([1, 2]))),
         "error: Image 7 (mine.7), object 0: the box [nan, nan, nan, nan] (y1, x1, y2, x2) is "
         "not finite.",
         "error: Image 7 (mine.7), object 1: the box [nan, nan, nan, nan] (y1, x1, y2, x2) is "
         "not finite."),
    case("a check of boxes in words", lists(load_boxes=(np.array([["a"] * 4]), np.array([1]))),
         "error: Image 7 (mine.7): its boxes or class ids are <U1 of the shape (1, 4); boxes "
         "are numbers [N, 4], class ids [N]."),
    case("a source with a dot", added(("my.data", 1, "rod")),
         "DatasetError: The source name 'my.data' contains a dot; choose one without."),
    case("one class of two names", added(("mine", 1, "rod"), ("mine", 1, "cell")),
         "DatasetError: Class 1 of source 'mine' is named 'rod' in one place and 'cell' in "
         "another; load one of them under another source name."),
    case("an image of another source", added(("mine", 1, "rod")),
         "DatasetError: Image 1 is of the source 'other', which has no classes; the sources "
         "with classes are ['mine']. Call add_class with the same source name."),
    case("a class that is not there", lambda folder: data_set().map_source_class_id("mine.9"),
         "DatasetError: There is no class 'mine.9'; after prepare() there are ['.0', 'mine.1',"
         " 'mine.2']."),
    case("masks of two axes from a data set", loads(load_boxes=None, load_mask=(
        np.ones((30, 40)), np.array([1]))),
         "DatasetError: load_mask returned masks of the shape (30, 40) and 1 class ids for "
         "mine.7; masks are [height, width, N]."),
    case("a result with an unknown class", scores(class_ids=np.array([1, 9])),
         "ArgumentError: The result of image 0 has class id 9; those of the data set run from "
         "1 to 2."),
    case("a result with a score of NaN", scores(scores=np.array([NAN, 0.5])),
         "ArgumentError: The result of image 0 has a box or score that is NaN or infinite."),
    case("a result with a box of NaN", scores(boxes=BOXES * NAN),
         "ArgumentError: The result of image 0 has a box or score that is NaN or infinite."),
    case("a result with fewer scores", scores(scores=np.array([0.5])),
         "ArgumentError: The result of image 0 has 2 boxes, 2 class ids and 1 scores."),
    case("a result with boxes of three", scores(boxes=np.ones((2, 3))),
         "ArgumentError: The boxes have the shape (2, 3); give [N, 4]."),
    case("a result for an unknown image", unknown_image,
         "UnknownImageError: results hold image id 5, which the data set does not have; they "
         "must be its internal image ids."),
    case("an unknown image to evaluate", unknown_image_id,
         "UnknownImageError: There is no image 5; the internal image ids of the data set run "
         "from 0 to 0."),
]
