"""The parts of the detector as separate functions, each on the outputs of the part before.

A part is a Keras model cut out of the detector between two lists of tensors, and compiled alone. So
every part is timed with its true shapes and values, and without the others.
"""

import keras
import tensorflow as tf

from benchmarks import arithmetic, network
from benchmarks.matrix_product import SIDE, product_times
from benchmarks.measure import time_runs
from frcnn.keras_guard import weights_stay_the_same
from frcnn.startup import detection_only


class Cutter:
    """Cuts parts out of a model and keeps the values at the cuts.

    Args:
        model: functional `keras.Model`.
        values: array of each of the model's inputs, in their order.
        training: whether the parts run as in training.
    """

    def __init__(self, model, values, training=False):
        self.model, self.training = model, training
        # By the model's own nodes: a layer that models share has tensors in each of them.
        self._nodes = {node.operation.name: node for nodes in model._nodes_by_depth.values()
                       for node in nodes}
        self.values = {id(tensor): tf.convert_to_tensor(value)
                       for tensor, value in zip(model.inputs, values)}

    def out(self, *names):
        """The output tensors of layers, in one list."""
        found = []
        for name in names:
            found += self._nodes[name].outputs
        return found

    def into(self, name):
        """The input tensors of a layer, in a list."""
        return self._nodes[name].input_tensors

    def part(self, inputs, outputs):
        """The part between two lists of tensors, as a function without arguments.

        It is run once, to store its outputs for the parts after it.
        """
        part = self._cut(inputs, outputs)
        function = tf.function(part, autograph=False)
        arrays = [self.values[id(tensor)] for tensor in inputs]
        with weights_stay_the_same():
            for tensor, value in zip(outputs, function(arrays)):
                self.values[id(tensor)] = value
        return lambda: function(arrays)

    def with_gradient(self, inputs, outputs, wanted, weights=None):
        """The part and its gradient with respect to the weights and to the `wanted` inputs.

        `part` must have stored the values of the outputs before.

        Args:
            weights: Keras variables; default: the trainable ones of the part.
        """
        part = self._cut(inputs, outputs)
        weights = part.model.trainable_variables if weights is None else weights
        arrays = [self.values[id(tensor)] for tensor in inputs]
        sources = [any(tensor is one for one in wanted) for tensor in inputs]
        above = [tf.ones_like(self.values[id(tensor)]) for tensor in outputs]

        @tf.function(autograph=False)
        def function(arrays, above):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                sought = [x for x, is_source in zip(arrays, sources) if is_source]
                sought += [variable.value for variable in weights]
                tape.watch(sought)
                found = part(arrays)
            return tape.gradient(found, sought, above)

        return lambda: function(arrays, above)

    def _cut(self, inputs, outputs):
        """A function from the list of input arrays to that of outputs, with attribute `model`."""
        model = keras.Model(inputs, outputs)

        def part(arrays):
            # A single output is not in a list.
            return keras.tree.flatten(model(arrays, training=self.training))

        part.model = model
        return part


def inference_parts(model, image, meta, anchors):
    """Every part of a detection, by name, in order.

    Args:
        model: the Keras model that `detect` runs.
        image: molded, `[B, H, W, C]`.
        meta: `[B, META]`.
        anchors: normalized, `[1, A, 4]`.
    """
    cut = Cutter(model, [image, meta, anchors])
    stages, pyramid, rpn = _cuts(cut)
    rois, pooled = cut.out("ROI"), cut.out("roi_align_classifier")
    scores = cut.out("mrcnn_class", "mrcnn_bbox")
    return {
        "backbone": cut.part(model.inputs[:1], stages),
        "FPN": cut.part(stages, pyramid),
        "RPN": cut.part(pyramid, rpn[1:]),
        "proposals": cut.part([*rpn[1:], model.inputs[2]], rois),
        "RoI align": cut.part([*rois, *pyramid[:4]], pooled),
        "head": cut.part(pooled, scores),
        "detection": cut.part([*rois, *scores, model.inputs[1]], cut.out("mrcnn_detection")),
    }


def training_parts(model, batch):
    """Every part of a training step, by name, in order; forward and backward together."""
    cut = Cutter(model, [batch[x.name] for x in model.inputs], training=True)
    inputs = dict(zip((x.name for x in model.inputs), model.inputs))
    image = inputs["input_image"]
    stages, pyramid, rpn = _cuts(cut)
    anchors, proposals, gt_boxes = cut.out("anchors"), cut.out("ROI"), cut.out("gt_boxes")
    targets, pooled = cut.out("proposal_targets"), cut.out("roi_align_classifier")
    head = cut.out("mrcnn_class_logits", "mrcnn_bbox")
    cut.part([image], stages)
    cut.part(stages, pyramid)
    cut.part([image, *pyramid], anchors)
    cut.part([inputs["input_gt_boxes"], image], gt_boxes)
    rpn_runs, sampled = _training_rpn(cut, inputs["input_rpn_match"], pyramid, rpn)
    found = {
        "proposals": cut.part([*rpn[1:], *anchors], proposals),
        "targets": cut.part([*proposals, inputs["input_gt_class_ids"], *gt_boxes], targets)}
    cut.part([targets[0], *pyramid[:4]], pooled)
    cut.part(pooled, head)
    return {
        "backbone": cut.with_gradient([image], stages, []),
        "FPN": cut.with_gradient(stages, pyramid, stages),
        "RPN": rpn_runs,
        **found,
        "RoI align": cut.with_gradient([targets[0], *pyramid[:4]], pooled, pyramid[:4]),
        "head": cut.with_gradient(pooled, head, pooled),
        "losses": _losses(model, batch, cut, sampled, targets, head),
        "weights' update": _update(model),
    }


def _cuts(cut):
    """C2 to C5, P2 to P6, and the RPN's logits, scores and deltas over all levels."""
    stages = [tensor for level in (2, 3, 4, 5) for tensor in cut.into(f"fpn_c{level}p{level}")]
    pyramid = cut.out(*(f"fpn_p{level}" for level in (2, 3, 4, 5, 6)))
    return stages, pyramid, cut.out("rpn_class_logits", "rpn_class", "rpn_bbox")


def _training_rpn(cut, match, pyramid, rpn):
    """The RPN over all cells forwards, then at the sampled anchors forwards and backwards.

    Returns:
        That as a function, and the match, logits and deltas of the sampled anchors.
    """
    sampled = cut.out("rpn_sampled")
    propose = cut.part(pyramid, rpn)
    cut.part([match, *pyramid], sampled)
    learn = cut.with_gradient([match, *pyramid], sampled[1:], pyramid,
                              cut.model.get_layer("rpn_model").trainable_variables)
    return lambda: (propose(), learn()), sampled


def _losses(model, batch, cut, rpn, targets, head):
    """The four losses and their gradient with respect to the outputs of the RPN and the head."""
    given = {name: tf.convert_to_tensor(value) for name, value in batch.items()}
    names = ("rpn_sampled_logits", "rpn_sampled_bbox", "mrcnn_class_logits", "mrcnn_bbox")
    match, *values = (cut.values[id(tensor)] for tensor in [*rpn, *head])
    _, class_ids, deltas = (cut.values[id(tensor)] for tensor in targets)

    @tf.function(autograph=False)
    def function(given, values, class_ids, deltas):
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = {**dict(zip(names, values)), "rpn_sampled_match": match,
                       "target_class_ids": class_ids, "target_bbox": deltas}
            total = sum(model.loss_values(given, outputs).values())
        return tape.gradient(total, values)

    return lambda: function(given, values, class_ids, deltas)


def _update(model):
    """Regularization, clipping, and the optimizer's step, with gradients of zero."""
    variables = model.trainable_variables
    gradients = [tf.zeros_like(variable.value) for variable in variables]

    @tf.function(autograph=False)
    def function(gradients):
        model.optimizer.apply(gradients, variables)
        return model.regularization()

    return lambda: function(gradients)


def measure_stages(task, side, batch, precision, runs, warmup=2, product=SIDE):
    """Times every part of a detection or of a training step, and the whole, in this process.

    Returns:
        Dict of `unit_before`, `unit_after` and `half_products` (seconds of each matrix product),
        `parts` (seconds of each run by part), `whole` (of `detect` or `train_on_batch`), `host`
        (as `parts`, for the work before and after the network) and `multiply_adds` by stage.
    """
    if task == "detect":
        detection_only()
    unit_before = product_times(side=product)
    config = network.make_config(side, batch, precision)
    work, detector = network.make_work(task, config)
    whole, host = time_runs(work, runs, warmup), {}
    if task == "detect":
        images = [network.make_image(side, seed=i) for i in range(batch)]
        molded, metas, windows = detector.mold_inputs(images)
        shape, compiled = molded.shape[1:], detector._detection.compiled()
        rows = compiled(molded, metas)
        host = {
            "resize, mold": lambda: detector.mold_inputs(images),
            "unmold": lambda: [detector.unmold_detections(row, shape, shape, window)
                               for row, window in zip(rows, windows)],
        }
        parts = inference_parts(compiled.model, molded, metas, detector.get_anchors(shape)[None])
    else:
        parts = training_parts(detector.keras_model, network.make_batch(config))
    works = arithmetic.multiply_adds(detector.keras_model, batch)
    works = arithmetic.of_training_step(works) if task == "train" else works
    return {
        "unit_before": unit_before, "whole": whole,
        "host": {name: time_runs(part, runs, warmup) for name, part in host.items()},
        "parts": {name: time_runs(part, runs, warmup) for name, part in parts.items()},
        "multiply_adds": arithmetic.by_stage(works), "unit_after": product_times(side=product),
        "half_products": product_times("bfloat16", product),
    }
