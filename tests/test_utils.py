"""The compatibility namespace `frcnn.utils`: all names of the reference, no Keras on import."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import frcnn.utils as utils

SIGNATURES = {
    "extract_bboxes": "mask",
    "resize_image": "image min_dim max_dim padding min_scale mode",
    "resize_bbox": "bbox scale padding",
    "generate_anchors": "scales ratios shape feature_stride anchor_stride",
    "generate_pyramid_anchors": "scales ratios feature_shapes feature_strides anchor_stride",
    "compute_overlaps": "boxes1 boxes2",
    "compute_iou": "box boxes box_area boxes_area",
    "box_refinement": "box gt_box",
    "apply_box_deltas": "boxes deltas",
    "box_refinement_graph": "box gt_box",
    "batch_slice": "inputs graph_fn batch_size names",
    "norm_boxes": "boxes shape",
    "denorm_boxes": "boxes shape",
    "non_max_suppression": "boxes scores threshold",
    "trim_zeros": "x",
    "compute_matches": "gt_boxes gt_class_ids pred_boxes pred_class_ids pred_scores "
                       "iou_threshold score_threshold",
    "compute_ap": "gt_boxes gt_class_ids pred_boxes pred_class_ids pred_scores iou_threshold",
    "compute_ap_range": "",
    "compute_recall": "pred_boxes gt_boxes iou",
    "download_trained_weights": "path",
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_name_takes_the_parameters_that_scripts_pass(name):
    parameters = inspect.signature(getattr(utils, name)).parameters
    expected = SIGNATURES[name].split()
    assert [word for word in parameters if word in expected] == expected
    extra = [value for word, value in parameters.items() if word not in expected]
    if name != "compute_ap_range":
        assert all(parameter.default is not inspect.Parameter.empty for parameter in extra)


def test_dataset_is_the_class_to_subclass():
    from frcnn.data.dataset import Dataset

    assert utils.Dataset is Dataset


def test_every_listed_name_is_there_and_dir_shows_it():
    assert set(utils.__all__) == {"Dataset", *SIGNATURES}
    assert set(utils.__all__) <= set(dir(utils))
    for name in utils.__all__:
        assert callable(getattr(utils, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'resize_mask'"):
        utils.resize_mask  # noqa: B018


def test_graph_functions_agree_with_those_of_the_host():
    rng = np.random.default_rng(0)
    boxes, gt_boxes = (np.concatenate([corner, corner + size], axis=1).astype(np.float32)
                       for corner, size in (rng.uniform(1, 50, (2, 9, 2)) for _ in range(2)))
    deltas = np.asarray(utils.box_refinement_graph(boxes, gt_boxes))
    np.testing.assert_allclose(deltas, utils.box_refinement(boxes, gt_boxes), rtol=1e-4, atol=1e-5)
    batch = utils.batch_slice([boxes[None], gt_boxes[None]], utils.box_refinement_graph, 1)
    np.testing.assert_allclose(np.asarray(batch), deltas[None])


@pytest.mark.parametrize("module", [
    "geometry.boxes", "geometry.anchors", "data", "data.resize", "data.targets", "config", "utils",
    "evaluate", "visualize", "cli.train",
])  # fmt: skip
def test_importing_loads_no_keras_and_no_backend(module):
    code = (f"import sys, frcnn.{module}\n"
            "print([name for name in ('keras', 'tensorflow', 'jax', 'torch') "
            "if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
