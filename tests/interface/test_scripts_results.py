"""What scripts written for the reference do with results, in their words."""

import warnings

import keras
import numpy as np
import pytest
from interface_tools import ANCHOR_COUNT, BOXES, CLASS_IDS, CONFIG, FOUND, GRAY, NAMES, Drawn, same
from matplotlib import pyplot as plt
from matplotlib.image import imread
from model_tools import array, small_config

import frcnn.model as modellib
from frcnn import utils, visualize
from frcnn.errors import NoMasksError
from frcnn.weights import download

MASKS = np.zeros((64, 64, 2), bool)


@pytest.fixture
def r(detecting):
    return detecting.detect([np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)])[0]


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- results ------------------------------------------------------------------------------------


def test_masks_of_a_result(r):
    with pytest.raises(KeyError) as caught:
        visualize.display_instances(GRAY, r["rois"], r["masks"], r["class_ids"], NAMES, r["scores"])
    assert isinstance(caught.value, NoMasksError)
    assert str(caught.value).startswith("A result has no masks, since frcnn detects boxes")
    assert 'display_instances(image, r["rois"], r["class_ids"], class_names' in str(caught.value)
    with pytest.raises(KeyError, match=r"^'mask_rcnn'$"):
        r["mask_rcnn"]
    assert "masks" not in r and r.get("masks") is None
    assert list(r) == ["rois", "boxes", "class_ids", "scores"] and dict(r)["rois"] is r["rois"]


def test_masks_that_are_taken_out_of_a_result(r):
    with pytest.raises(NoMasksError, match="A result has no masks"):
        r.pop("masks")
    assert r.pop("masks", None) is None and r.pop("score", 5) == 5
    with pytest.raises(KeyError, match=r"^'score'$"):
        r.pop("score")
    boxes = r["boxes"]
    assert r.pop("boxes") is boxes and list(r) == ["rois", "class_ids", "scores"]


def test_the_values_of_a_result(r):
    """Four as in the reference, but with the boxes as floats, and in another order."""
    with pytest.raises(NoMasksError, match="it has rois, boxes, class_ids and scores"):
        rois, class_ids, scores, masks = r.values()
    rois, boxes, class_ids, scores = r.values()
    assert [rois, boxes, class_ids, scores] == [value for _, value in r.items()]
    assert len(r.values()) == 4 and list(map(id, r.values())) == list(map(id, dict(r).values()))


def test_losses_of_masks(tmp_path):
    model = modellib.MaskRCNN("training", CONFIG.replaced(TRAIN_BN=True), str(tmp_path))
    record = model.train(Drawn(), Drawn(), 0.001, epochs=1, layers="heads", verbose=0)
    assert record.history is model.keras_model.history.history
    for name in ("mrcnn_mask_loss", "val_mrcnn_mask_loss"):
        with pytest.raises(NoMasksError, match=f"There is no {name}.* losses of the training are "
                                               ".*mrcnn_bbox_loss.*val_mrcnn_bbox_loss"):
            record.history[name]
    assert len(record.history["val_mrcnn_bbox_loss"]) == 1
    with pytest.raises(KeyError, match=r"^'accuracy'$"):
        record.history["accuracy"]


def test_functions_that_returned_masks_name_the_call(detecting):
    rois = BOXES.astype(np.float32)
    for call, told in (
            (lambda: modellib.build_detection_targets(BOXES, CLASS_IDS, BOXES, MASKS, CONFIG),
             r"rois, class_ids, bboxes = build_detection_targets\(rpn_rois, gt_class_ids, "
             r"gt_boxes, config\)"),
            (lambda: modellib.detection_targets_graph(rois, CLASS_IDS, rois, gt_masks=MASKS,
                                                      config=CONFIG),
             r"rois, class_ids, deltas = detection_targets_graph\("),
            (lambda: detecting.unmold_detections(
                np.zeros((5, 6)), np.zeros((5, 28, 28, 4)), (64, 64, 3), (64, 64, 3),
                (0, 0, 64, 64)),
             r"boxes, class_ids, scores = model.unmold_detections\(detections, ")):
        with pytest.raises(NoMasksError, match="no masks, since frcnn detects boxes: write "
                                               + told):
            call()
    shapes = (64, 64, 3), (64, 64, 3), (0, 0, 64, 64)
    assert len(detecting.unmold_detections(np.zeros((5, 6)), *shapes)) == 3


def test_anchors_without_asking_for_them(tmp_path):
    """As the reference's notebooks take them, after the detection."""
    model = modellib.MaskRCNN("inference", CONFIG, str(tmp_path))
    assert model.anchors.shape == (ANCHOR_COUNT, 4)
    same(utils.norm_boxes(model.anchors, (64, 64)), model.get_anchors((64, 64, 3)))
    model.get_anchors((64, 128, 3))
    assert len(model.anchors) == 2 * ANCHOR_COUNT
    varying = small_config(IMAGE_RESIZE_MODE="pad64")
    assert modellib.MaskRCNN("inference", varying, str(tmp_path)).anchors is None


def test_detections_of_the_graph_are_normalized(detecting):
    """`refine_detections` gives the same ones in pixels."""
    config = detecting.config
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 0.6, (30, 2))
    rois = np.concatenate([corners, corners + rng.uniform(0.1, 0.4, (30, 2))], axis=1)
    probs = rng.dirichlet(np.ones(4), 30)
    deltas = rng.normal(0, 0.1, (30, 4, 4))
    pixels = modellib.refine_detections(rois, probs, deltas, (0, 0, 128, 128), config)
    rows = array(modellib.refine_detections_graph(rois, probs, deltas, (0, 0, 1, 1), config))
    count = len(pixels)
    assert 0 < count <= len(rows) == config.DETECTION_MAX_INSTANCES
    same(rows[:count, 4:], pixels[:, 4:])
    same(utils.norm_boxes(pixels[:, :4], (128, 128)), rows[:count, :4], 1e-4)
    assert not rows[count:].any()


def test_the_head_takes_the_meta_of_the_reference():
    rois = keras.Input((5, 4))
    maps = [keras.Input((64 >> level, 64 >> level, 8)) for level in range(2, 6)]
    meta = keras.Input((16,))
    outputs = modellib.fpn_classifier_graph(rois, maps, meta, pool_size=3, num_classes=4)
    assert outputs[2].shape == (None, 5, 4, 4)
    outputs = modellib.fpn_classifier_graph(rois, maps, image_meta=meta, pool_size=3, num_classes=4,
                                            train_bn=False)
    assert outputs[0].shape == (None, 5, 4)


# --- pictures -----------------------------------------------------------------------------------


def saved(tmp_path):
    plt.savefig(tmp_path / "shown.png")
    return imread(tmp_path / "shown.png")[..., :3]


@pytest.mark.parametrize("draw", [
    lambda: visualize.display_instances(GRAY, BOXES, CLASS_IDS, NAMES, FOUND[2]),
    lambda: visualize.display_images([GRAY, GRAY]),
    lambda: visualize.draw_boxes(GRAY, BOXES),
    lambda: visualize.plot_precision_recall(AP=0.5, precisions=[1, 0.5, 0], recalls=[0, 0.5, 1]),
])
def test_savefig_writes_what_was_drawn(tmp_path, draw):
    plt.close("all")
    draw()
    image = saved(tmp_path)
    assert image.min() < image.max()
    draw()
    assert len(plt.get_fignums()) == 1  # not one for every picture
    plt.close("all")


def test_figures_of_the_user_stay(tmp_path):
    plt.close("all")
    own = plt.figure()
    visualize.display_instances(GRAY, BOXES, CLASS_IDS, NAMES)
    visualize.display_instances(GRAY, BOXES, CLASS_IDS, NAMES)
    assert own.number in plt.get_fignums() and plt.gcf() is not own
    _, ax = plt.subplots()
    visualize.display_instances(GRAY, BOXES, CLASS_IDS, NAMES, ax=ax)
    assert plt.gcf() is ax.figure
    plt.close("all")


def texts(ax):
    return {text.get_text() for text in ax.texts}


@pytest.mark.parametrize("call", [
    lambda: visualize.display_instances(GRAY, BOXES, MASKS, CLASS_IDS, NAMES, FOUND[2]),
    lambda: visualize.display_instances(GRAY, BOXES, MASKS, CLASS_IDS, NAMES, FOUND[2],
                                        show_mask=True, title="objects"),
    lambda: visualize.display_instances(GRAY, BOXES, class_ids=CLASS_IDS, class_names=NAMES,
                                        scores=FOUND[2], masks=MASKS),
    lambda: visualize.display_instances(GRAY, BOXES, None, CLASS_IDS, NAMES, FOUND[2]),
])
def test_instances_with_masks(call):
    with pytest.warns(UserWarning, match="display_instances takes boxes only, so the masks are "
                                         "ignored") as caught:
        ax = call()
    assert len(caught) == 1 and caught[0].filename == __file__
    assert {"red 0.90", "blue 0.80"} <= texts(ax)


@pytest.mark.parametrize("masks", [None, MASKS, list(np.moveaxis(MASKS, -1, 0)),
                                   tuple(np.moveaxis(MASKS, -1, 0))], ids=["none", "array", "list",
                                                                           "tuple"])
@pytest.mark.parametrize("function, arguments, places", [
    (utils.compute_ap, (*FOUND[:2], *FOUND), (2, 6)),
    (utils.compute_ap_range, (*FOUND[:2], *FOUND), (2, 6)),
    (utils.compute_matches, (*FOUND[:2], *FOUND), (2, 6)),
    (visualize.display_differences, (GRAY, *FOUND[:2], *FOUND, NAMES), (3, 7)),
    (visualize.display_instances, (GRAY, BOXES, CLASS_IDS, NAMES, FOUND[2]), (2,)),
    (visualize.draw_rois, (GRAY, BOXES, BOXES + 2, CLASS_IDS, NAMES), (3,)),
    (visualize.draw_boxes, (GRAY, BOXES, BOXES + 2, ["a", "b"], [1, 2], "title"), (3,)),
], ids=lambda value: getattr(value, "__name__", ""))
def test_masks_by_their_place_whatever_they_are(function, arguments, places, masks):
    """Every function of the reference with masks takes them where they are, None among them."""
    def outcome(*args):
        result = function(*args)
        if hasattr(result, "patches"):
            return len(result.patches), texts(result), result.get_title()
        return np.concatenate([np.ravel(part) for part in
                               (result if isinstance(result, tuple) else (result,))]).tolist()

    expected = outcome(*arguments)
    for count in range(1, len(places) + 1):
        given = list(arguments)
        for place in places[:count]:
            given.insert(place, masks)
        told = " and ".join(f"argument {place + 1}" for place in places[:count])
        with pytest.warns(UserWarning) as caught:
            assert outcome(*given) == expected
        assert [str(warning.message) for warning in caught] == [
            f"{function.__name__} takes boxes only, so the masks are ignored: leave {told} out of "
            "the call."]
    plt.close("all")


@pytest.mark.parametrize("call", [
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None, ["a", "b"]),
    lambda: visualize.draw_boxes(GRAY, BOXES, None, None, ("a", None)),
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None, None, [1, 2]),
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None, None, np.array([1, 2])),
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None, None, None, "title"),
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None, captions=["a", "b"]),
])
def test_boxes_with_no_masks_before_the_captions(call):
    with pytest.warns(UserWarning, match="draw_boxes takes boxes only.* leave argument 4 out"):
        call()
    plt.close("all")


@pytest.mark.parametrize("call", [
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None),
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None, [1, 2]),
    lambda: visualize.draw_boxes(GRAY, BOXES, BOXES, None, [1, 2], "title"),
    lambda: visualize.draw_boxes(GRAY, BOXES, None, None, None, "title"),
    lambda: utils.compute_ap_range(BOXES, CLASS_IDS, BOXES, CLASS_IDS, FOUND[2], None, 0),
    lambda: visualize.display_instances(GRAY, BOXES, CLASS_IDS, NAMES, None, "", (4, 4), None),
    lambda: visualize.display_instances(GRAY, [BOXES[:1], BOXES[1:]], CLASS_IDS, NAMES),
    lambda: visualize.draw_rois(GRAY, BOXES, BOXES, CLASS_IDS, NAMES, None, None),
    lambda: visualize.display_differences(GRAY, *FOUND[:2], *FOUND, NAMES, "", None),
])
def test_none_where_there_are_no_masks(call, no_warning):
    call()
    plt.close("all")


def test_functions_that_returned_masks_say_it_without_masks_too(detecting):
    rois = BOXES.astype(np.float32)
    shapes = (64, 64, 3), (64, 64, 3), (0, 0, 64, 64)
    for masks in (None, list(np.moveaxis(MASKS, -1, 0))):
        for function, arguments in (
                (modellib.build_detection_targets, (BOXES, CLASS_IDS, BOXES, masks, CONFIG)),
                (modellib.detection_targets_graph, (rois, CLASS_IDS, rois, masks, CONFIG)),
                (detecting.unmold_detections, (np.zeros((5, 6)), masks, *shapes))):
            with pytest.raises(NoMasksError, match="takes and returns no masks"):
                function(*arguments)


def test_the_warning_names_what_to_leave_out():
    with pytest.warns(UserWarning, match="leave argument 3 and show_mask out of the call"):
        visualize.display_instances(GRAY, BOXES, MASKS, CLASS_IDS, NAMES, show_mask=True)
    with pytest.warns(UserWarning, match="leave masks out of the call"):
        visualize.display_instances(GRAY, BOXES, masks=MASKS, class_ids=CLASS_IDS,
                                    class_names=NAMES)
    with pytest.warns(UserWarning, match="leave argument 3 and argument 7 out of the call"):
        utils.compute_ap(BOXES, CLASS_IDS, MASKS, BOXES, CLASS_IDS, FOUND[2], MASKS)


def test_masks_that_are_not_to_be_shown(no_warning):
    ax = visualize.display_instances(GRAY, BOXES, CLASS_IDS, NAMES, show_mask=False,
                                     show_bbox=False)
    assert not ax.patches and {"red", "blue"} <= texts(ax)


def test_boxes_and_rois_with_masks():
    with pytest.warns(UserWarning, match="draw_boxes takes boxes only"):
        ax = visualize.draw_boxes(GRAY, boxes=BOXES, masks=MASKS, captions=["a", "b"])
    assert texts(ax) == {"a", "b"}
    with pytest.warns(UserWarning, match="draw_rois takes boxes only"):
        ax = visualize.draw_rois(GRAY, BOXES, BOXES + 2, np.zeros((2, 28, 28)), [1, 0], NAMES)
    assert texts(ax) == {"red"}


def test_differences_as_in_the_reference():
    with pytest.warns(UserWarning, match="display_differences takes boxes only"):
        ax = visualize.display_differences(GRAY, BOXES, CLASS_IDS, MASKS, BOXES, CLASS_IDS,
                                           FOUND[2], MASKS, NAMES, show_mask=False)
    boxes = len(ax.patches)
    named = {"gt_box": BOXES, "gt_class_id": CLASS_IDS, "pred_box": BOXES,
             "pred_class_id": CLASS_IDS, "pred_score": FOUND[2], "class_names": NAMES}
    assert len(visualize.display_differences(GRAY, **named).patches) == boxes > 0
    ax = visualize.display_differences(GRAY, **named, show_box=False)
    assert not ax.patches and {"red 0.90 / 1.00", "blue 0.80 / 1.00"} <= texts(ax)


def test_draw_box():
    image = np.zeros((20, 20, 3), np.uint8)
    assert visualize.draw_box(image, BOXES[0] / 2, [9, 8, 7]) is image
    lit = np.argwhere(image.any(axis=2))
    assert lit.min(axis=0).tolist() == [4, 2] and lit.max(axis=0).tolist() == [15, 16]
    assert (image[4, 5] == [9, 8, 7]).all() and not image[10, 10].any()


@pytest.mark.parametrize("name, told", [
    ("display_top_masks", "display_instances(image, boxes, class_ids, class_names)"),
    ("apply_mask", "draw_box(image, box, color)")])
def test_pictures_of_masks_say_what_to_write(name, told):
    with pytest.raises(NoMasksError) as caught:
        getattr(visualize, name)(GRAY, MASKS, CLASS_IDS, NAMES)
    assert told in str(caught.value) and name in visualize.__all__


# --- metrics ------------------------------------------------------------------------------------


def test_average_precision_with_masks():
    with pytest.warns(UserWarning, match="compute_ap takes boxes only"):
        AP, precisions, recalls, overlaps = utils.compute_ap(
            BOXES, CLASS_IDS, MASKS, BOXES, CLASS_IDS, FOUND[2], MASKS)
    assert AP == 1 and overlaps.shape == (2, 2)
    with pytest.warns(UserWarning, match="compute_matches takes boxes only"):
        gt_match, pred_match, _ = utils.compute_matches(
            BOXES, CLASS_IDS, MASKS, BOXES, CLASS_IDS, FOUND[2], MASKS, iou_threshold=0.5)
    assert gt_match.tolist() == pred_match.tolist() == [0, 1]
    with pytest.warns(UserWarning, match="compute_ap_range takes boxes only") as caught:
        AP = utils.compute_ap_range(BOXES, CLASS_IDS, MASKS, BOXES, CLASS_IDS, FOUND[2], MASKS,
                                    verbose=0)
    assert AP == 1 and len(caught) == 1


def test_average_precision_by_the_names_of_the_reference(no_warning):
    assert utils.compute_ap_range(gt_box=BOXES, gt_class_id=CLASS_IDS, pred_box=BOXES,
                                  pred_class_id=CLASS_IDS, pred_score=FOUND[2]) == 1


def test_download_by_the_name_of_the_reference(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(download, "fetch", lambda source, path, verbose: seen.append(path))
    utils.download_trained_weights(coco_model_path=tmp_path / "mask_rcnn_coco.h5")
    assert seen == [tmp_path / "mask_rcnn_coco.h5"]
    with pytest.raises(TypeError):
        utils.download_trained_weights("a.h5", coco_model_path="b.h5")
