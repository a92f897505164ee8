"""ProposalLayer against the reference, and against its steps one by one."""

import numpy as np
import pytest
from keras import ops
from model_tools import array, gradient, small_config

from frcnn.geometry import boxes as host
from frcnn.geometry.anchors import generate_pyramid_anchors
from frcnn.network.proposals import ProposalLayer, proposal_steps


@pytest.fixture(scope="module")
def inputs(functions):
    """The reference's scores, deltas and anchors, `[A, …]`."""
    anchors = generate_pyramid_anchors(
        *(functions[f"anchors1_{name}"] for name in ("scales", "ratios", "feature_shapes",
                                                     "strides", "anchor_stride")))
    foreground = functions["proposal_scores_fg"]
    scores = np.stack([1 - foreground, foreground], axis=1)
    return scores, functions["proposal_deltas"], host.norm_boxes(anchors, (256, 256))


@pytest.fixture(scope="module")
def config():
    return small_config(PRE_NMS_LIMIT=400)


def call(layer, *inputs):
    return array(layer([ops.convert_to_tensor(x, "float32") for x in inputs]))


def test_the_references_proposals(functions, inputs, config):
    rois = call(ProposalLayer(300, 0.7, config), *(x[None] for x in inputs))
    assert rois.shape == (1, 300, 4)
    np.testing.assert_allclose(rois[0], functions["proposal_rois"], rtol=1e-5, atol=1e-6)
    assert rois[0].any(axis=1).sum() == 55


def test_each_image_of_a_batch_by_itself(inputs, config):
    scores, deltas, anchors = inputs
    rng = np.random.default_rng(0)
    other = rng.permutation(len(scores))
    both = np.stack([scores, scores[other]]), np.stack([deltas, deltas[other]])
    layer = ProposalLayer(60, 0.7, config)
    rois = call(layer, *both, anchors[None])
    for image in range(2):
        alone = call(layer, both[0][image:image + 1], both[1][image:image + 1], anchors[None])
        np.testing.assert_allclose(rois[image], alone[0], atol=1e-6)
    assert np.abs(rois[0] - rois[1]).max() > 0.1


def test_anchors_may_be_given_for_each_image(inputs, config):
    layer = ProposalLayer(60, 0.7, config)
    shared = call(layer, inputs[0][None], inputs[1][None], inputs[2][None])
    repeated = call(layer, *(np.stack([x, x]) for x in inputs))
    np.testing.assert_array_equal(repeated, np.concatenate([shared, shared]))


def test_the_steps_are_what_the_layer_does(inputs, config):
    scores, deltas, anchors = inputs
    steps = proposal_steps(*(x.astype(np.float32) for x in inputs), config, proposal_count=300)
    best = np.argsort(-scores[:, 1], kind="stable")[:400]
    np.testing.assert_allclose(steps["scores"], scores[best, 1], rtol=1e-6)
    np.testing.assert_allclose(scores[steps["indices"], 1], steps["scores"], rtol=1e-6)
    chosen = steps["indices"]
    np.testing.assert_allclose(steps["anchors"], anchors[chosen], rtol=1e-5, atol=1e-6)
    refined = host.apply_box_deltas(anchors[chosen], deltas[chosen] * config.RPN_BBOX_STD_DEV)
    np.testing.assert_allclose(steps["refined"], refined, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(steps["clipped"], np.clip(refined, 0, 1), rtol=1e-5, atol=1e-5)
    kept = host.non_max_suppression(steps["clipped"], np.arange(400, 0, -1), 0.7)
    np.testing.assert_array_equal(steps["keep"], kept)
    rois = call(ProposalLayer(300, 0.7, config), *(x[None] for x in inputs))[0]
    np.testing.assert_allclose(steps["proposals"], rois[rois.any(axis=1)], atol=1e-6)


def test_the_number_of_proposals_defaults_to_the_config(inputs):
    config = small_config(PRE_NMS_LIMIT=400, POST_NMS_ROIS_INFERENCE=7)
    assert len(proposal_steps(*inputs, config)["proposals"]) == 7


def test_fewer_anchors_than_the_limit(config):
    anchors = np.array([[[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]]])
    scores, deltas = np.array([[[0.8, 0.2], [0.4, 0.6]]]), np.zeros((1, 2, 4))
    rois = call(ProposalLayer(5, 0.7, config), scores, deltas, anchors)
    np.testing.assert_allclose(rois[0, :2], anchors[0, ::-1], atol=1e-6)
    assert not rois[0, 2:].any()


def test_the_limit_counts_before_suppression():
    config = small_config(PRE_NMS_LIMIT=2)
    anchors = np.array([[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.51], [0.6, 0.6, 0.9, 0.9]]])
    scores = np.array([[[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]])
    rois = call(ProposalLayer(3, 0.7, config), scores, np.zeros((1, 3, 4)), anchors)
    assert rois[0].any(axis=1).sum() == 1  # the third was never looked at


def test_no_gradient_flows_through_proposals(inputs, config):
    scores, deltas, anchors = (x[None].astype(np.float32) for x in inputs)
    layer = ProposalLayer(20, 0.7, config)
    slope = gradient(lambda x: ops.sum(layer([scores, x, anchors])), deltas)
    assert not slope.any()


def by_level(scores, deltas, anchors, sizes, limit, threshold):
    """The proposals of one image, level by level, one box after the other."""
    kept = []
    for first, size in zip(np.cumsum([0, *sizes[:-1]]), sizes):
        rows = np.arange(first, first + size)
        rows = rows[np.argsort(-scores[rows, 1], kind="stable")][:limit]
        boxes = host.apply_box_deltas(anchors[rows], deltas[rows] * [0.1, 0.1, 0.2, 0.2])
        boxes = np.clip(boxes, 0, 1)
        kept += [(scores[rows[i], 1], *boxes[i])
                 for i in host.non_max_suppression(boxes, scores[rows, 1], threshold)]
    return np.array(sorted(kept, key=lambda row: -row[0]))[:, 1:]


def test_levels_have_candidates_of_their_own_and_do_not_suppress_each_other():
    rng = np.random.default_rng(0)
    sizes, batch = (60, 30, 8), 2
    corner = rng.uniform(0, 0.6, (98, 2))
    anchors = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (98, 2))], axis=1)
    anchors[60:68] = anchors[:8]  # the same boxes on two levels: both stay
    scores = rng.permutation(np.linspace(0.01, 0.99, batch * 98)).reshape(batch, 98, 1)
    scores = np.concatenate([1 - scores, scores], axis=2)
    deltas = rng.normal(0, 0.3, (batch, 98, 4))
    deltas[:, 60:68] = deltas[:, :8]
    layer = ProposalLayer(120, 0.5, per_level=20)
    levels = [np.zeros((batch, size, 2), np.float32) for size in sizes]
    rois = array(layer([ops.convert_to_tensor(x, "float32")
                        for x in (scores, deltas, anchors[None])], levels=levels))
    for image in range(batch):
        expected = by_level(scores[image], deltas[image], anchors, sizes, 20, 0.5)
        assert 30 < len(expected) < 48  # 20 + 20 + 8 candidates
        np.testing.assert_allclose(rois[image, :len(expected)], expected, atol=1e-5)
        assert not rois[image, len(expected):].any()
