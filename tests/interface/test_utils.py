"""Public names: `frcnn.utils`.

A row checks a name's parameters, and what one small call of it returns. Behaviour beyond that is
tested beside each module.
"""

import numpy as np
import pytest
from interface_tools import BOXES, CLASS_IDS, FOUND, GRAY, PAIR, Table, same

import frcnn.weights.download
from frcnn import utils
from frcnn.data.dataset import Dataset

TABLE = Table()
row = TABLE.row


@row(utils, "Dataset", "class_map=None")
def _(Dataset_):
    assert Dataset_ is Dataset and Dataset_().class_names == ["BG"]


@row(utils, "extract_bboxes", "mask")
def _(extract_bboxes):
    mask = np.zeros((9, 9, 2), bool)
    mask[2:5, 3:7, 0] = True
    assert extract_bboxes(mask).tolist() == [[2, 3, 5, 7], [0, 0, 0, 0]]


@row(utils, "resize_image",
     "image, min_dim=None, max_dim=None, padding=False, *, min_scale=None, mode=None")
def _(resize_image):
    image, window, scale, padding = resize_image(GRAY[:32], 64, 128, True)
    assert image.shape == (128, 128, 3) and scale == 2 and image.dtype == np.uint8
    assert tuple(window) == (32, 0, 96, 128)
    assert [tuple(side) for side in padding] == [(32, 32), (0, 0), (0, 0)]
    assert resize_image(GRAY, 32, mode="crop")[4][2:] == (32, 32)
    assert len(resize_image(GRAY, 16, 32, mode="square")) == 5


@row(utils, "resize_bbox", "bbox, scale, padding")
def _(resize_bbox):
    boxes = resize_bbox(PAIR[1], 0.5, [(4, 0), (1, 1), (0, 0)])
    assert boxes.dtype == np.float32
    same(boxes, [[4, 3.5, 9, 8.5]])


@row(utils, "generate_anchors", "scales, ratios, shape, feature_stride, anchor_stride")
def _(generate_anchors):
    same(generate_anchors(8, [1, 4], (2, 2), 4, 2), [[-4, -4, 4, 4], [-2, -8, 2, 8]])


@row(utils, "generate_pyramid_anchors",
     "scales, ratios, feature_shapes, feature_strides, anchor_stride")
def _(generate_pyramid_anchors):
    anchors = generate_pyramid_anchors((8, 16), [1], [(2, 1), (1, 1)], (4, 8), 1)
    same(anchors, [[-4, -4, 4, 4], [0, -4, 8, 4], [-8, -8, 8, 8]])


@row(utils, "compute_iou", "box, boxes, box_area, boxes_area")
def _(compute_iou):
    same(compute_iou(PAIR[0][0], np.concatenate(PAIR), 100, np.array([100, 100])), [1, 1 / 3])


@row(utils, "batch_slice", "inputs, graph_fn, batch_size, names=None")
def _(batch_slice):
    both = batch_slice([np.array([1, 2]), np.array([3, 4])], lambda x, y: [x + y, x * y], 2)
    same(both[0], [4, 6])
    same(both[1], [3, 8])


@row(utils, "non_max_suppression", "boxes, scores, threshold")
def _(non_max_suppression):
    kept = non_max_suppression(np.concatenate(PAIR), np.array([0.5, 0.9]), 0.3)
    assert kept.tolist() == [1] and kept.dtype == np.int32


@row(utils, "trim_zeros", "x")
def _(trim_zeros):
    same(trim_zeros(np.array([[0, 0, 0, 0], [0, 1, 2, 3]])), [[0, 1, 2, 3]])
    same(trim_zeros(np.array([[0, 0], [1, 2]])), [[1, 2]])


IMAGE = "gt_boxes, gt_class_ids, pred_boxes, pred_class_ids, pred_scores"


@row(utils, "compute_matches", f"{IMAGE}, iou_threshold=0.5, score_threshold=0.0")
def _(compute_matches):
    gt_match, pred_match, overlaps = compute_matches(BOXES, [3, 1], BOXES[::-1], [1, 1], [0.5, 0.9])
    assert gt_match.tolist() == [-1, 1] and pred_match.tolist() == [-1, 1]  # best score first
    same(overlaps, np.eye(2))


@row(utils, "compute_ap", f"{IMAGE}, iou_threshold=0.5")
def _(compute_ap):
    average, precisions, recalls, overlaps = compute_ap(BOXES, CLASS_IDS, *(x[:1] for x in FOUND))
    assert average == 0.5 and overlaps.shape == (1, 2)
    same(precisions, [1, 1, 0])
    same(recalls, [0, 0.5, 1])


@row(utils, "compute_ap_range", IMAGE)
def _(compute_ap_range):
    assert compute_ap_range(BOXES, CLASS_IDS, *FOUND) == 1.0


@row(utils, "compute_recall", "pred_boxes, gt_boxes, iou")
def _(compute_recall):
    recall, positive_ids = compute_recall(BOXES[:1], BOXES, 0.5)
    assert recall == 0.5 and positive_ids.tolist() == [0]


@row(utils, "download_trained_weights", "path")
def _(download_trained_weights, tmp_path, monkeypatch):
    (tmp_path / "source").write_bytes(b"weights")
    source = frcnn.weights.download.WeightFile((tmp_path / "source").as_uri(), "coco.h5", size=7)
    monkeypatch.setattr(frcnn.weights.download, "COCO", source)
    download_trained_weights(str(tmp_path / "coco.h5"))
    assert (tmp_path / "coco.h5").read_bytes() == b"weights"


test_each_name = TABLE.test()


# --- the namespace ------------------------------------------------------------------------------

BESIDE_THEIR_GRAPHS = {"apply_box_deltas", "box_refinement", "box_refinement_graph",
                       "compute_overlaps", "denorm_boxes", "norm_boxes"}  # in test_graphs.py
IN_SCRIPTS = {"compute_overlaps_masks", "expand_mask", "minimize_mask", "resize", "resize_mask",
              "unmold_mask"}  # in test_scripts_data.py


def test_every_listed_name_has_its_test_and_dir_shows_it():
    assert set(utils.__all__) == {name for _, name in TABLE.rows} | BESIDE_THEIR_GRAPHS \
        | IN_SCRIPTS
    assert set(utils.__all__) <= set(dir(utils))
    assert all(callable(getattr(utils, name)) for name in utils.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'resize_masks'"):
        utils.resize_masks  # noqa: B018


def test_graph_functions_agree_with_those_of_the_host():
    rng = np.random.default_rng(0)
    boxes, gt_boxes = (np.concatenate([corner, corner + size], axis=1).astype(np.float32)
                       for corner, size in (rng.uniform(1, 50, (2, 9, 2)) for _ in range(2)))
    deltas = np.asarray(utils.box_refinement_graph(boxes, gt_boxes))
    np.testing.assert_allclose(deltas, utils.box_refinement(boxes, gt_boxes), rtol=1e-4, atol=1e-5)
    batch = utils.batch_slice([boxes[None], gt_boxes[None]], utils.box_refinement_graph, 1)
    np.testing.assert_allclose(np.asarray(batch), deltas[None])
