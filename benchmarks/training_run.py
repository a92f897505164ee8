"""A training and its evaluation, for the accuracy table: random weights to COCO figures."""

import time
import warnings

from frcnn.cli.sample import EVALUATION_MIN_CONFIDENCE, SmallObjectsConfig

# How the same raw outputs are turned into detections; each is evaluated.
DETECTIONS = {
    "reference": {},
    "all classes": {"DETECTION_ALL_CLASSES": True},
    "soft": {"DETECTION_ALL_CLASSES": True, "DETECTION_SOFT_NMS_SIGMA": 0.5},
}
SCORES = ("AP", "AP50", "AP75")


def measure(data, settings, seed, epochs, size, schedule="warmup_step", augmentation="flip",
            precision="auto", subset="val", detections=tuple(DETECTIONS), steps=None,
            weights=None, start=None):
    """Trains on the subset "train" and evaluates on another.

    Args:
        data: the data set's folder.
        settings: settings that differ from `SmallObjectsConfig`.
        seed: of everything random.
        epochs: passes through the images.
        size: pixels of the images' longer side.
        schedule, augmentation: as of `MaskRCNN.train`.
        precision: as of Config.
        subset: that is evaluated.
        detections: names in DETECTIONS.
        steps: batches in an epoch; None for every image once. For a quick try.
        weights: the file that the trained weights are saved to, with its JSON for `frcnn evaluate`;
            None to save none.
        start: a checkpoint to begin with, without the layers that depend on the classes; None for
            random weights.

    Returns:
        Dict: "seconds" of the training, the "device", "loss" of the last epoch, and by name in
        `detections` a dict of AP, AP50, AP75 and "per_class" AP50 by name.
    """
    from frcnn.cli import starts
    from frcnn.data.folders import open_folder
    from frcnn.model.mask_rcnn import MaskRCNN

    train = open_folder(data, "train")
    config = SmallObjectsConfig(
        NUM_CLASSES=train.num_classes, TRAIN_BN=True, IMAGE_MIN_DIM=size, IMAGE_MAX_DIM=size,
        PRECISION=precision).replaced(STEPS_PER_EPOCH=steps, **settings)
    trained = MaskRCNN("training", config, "unused", seed=seed)
    if start is not None:
        starts.load(trained, starts.find(start, "unused"), new_head=True)
    began = time.monotonic()
    history = fit(trained, train, epochs, schedule, augmentation, seed)
    seconds = time.monotonic() - began
    if weights is not None:
        save(trained, weights, train)
    detector = MaskRCNN("inference", config.replaced(
        DETECTION_MIN_CONFIDENCE=EVALUATION_MIN_CONFIDENCE), "unused")
    copy_weights(trained, detector)
    scores = evaluate(detector, open_folder(data, subset), detections)
    return {"seconds": round(seconds, 1), "device": device(), "loss": history["loss"][-1],
            **scores}


def device():
    """The backend and, where there is one, the accelerator."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return f"jax, {jax.devices()[0].device_kind}"
    return backend


def fit(model, train, epochs, schedule, augmentation, seed):
    """Trains as `MaskRCNN.train` does, without writing files; returns Keras's history."""
    from frcnn.training import trainer
    from frcnn.training.schedules import scheduled

    config = model.config
    batches, _ = trainer.make_sequences(config, train, None, augmentation=augmentation, seed=seed)
    rate = scheduled(config.LEARNING_RATE, schedule, len(batches), start=0, epoch=0, epochs=epochs)
    model.compile(rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of objects beyond MAX_GT_INSTANCES, image by image
        return model.keras_model.fit(batches, epochs=epochs, verbose=0, shuffle=False).history


def save(model, path, train):
    """Saves weights as a detector that detects as the table's rows do."""
    from frcnn import runs
    from frcnn.training.callbacks import class_lists
    from frcnn.weights.checkpoint import save_weights

    save_weights(model.keras_model, path)
    config = model.config.replaced(**DETECTIONS["soft"])
    runs.save_metadata(path, config, *class_lists(train, config))


def copy_weights(source, target):
    """Copies the weights from one MaskRCNN to another, by the layers' names."""
    from frcnn.training.layer_selection import layers_with_weights

    layers = {layer.name: layer for layer in layers_with_weights(source.keras_model)}
    for layer in layers_with_weights(target.keras_model):
        layer.set_weights(layers[layer.name].get_weights())


def evaluate(detector, dataset, detections):
    """COCO's figures of each way to turn the raw outputs into detections, by its name."""
    from frcnn.evaluate import evaluate_detections
    from frcnn.inference import transform

    model = with_detections(detector, detections)
    found = {name: {} for name in detections}
    for image_id in dataset.image_ids:
        image = dataset.load_image(image_id)
        molded, metas, windows = detector.mold_inputs([image])
        for name, rows in model.predict_on_batch([molded, metas]).items():
            found[name][int(image_id)] = transform.as_result(*detector.unmold_detections(
                rows[0], image.shape, molded[0].shape, windows[0]))
    return {name: summary(evaluate_detections(dataset, results))
            for name, results in found.items()}


def with_detections(detector, detections):
    """A Keras model of outputs `[B, K, 6]` by their name in DETECTIONS."""
    import keras

    from frcnn.network.postprocess import DetectionLayer

    _, probabilities, deltas, rois, *_ = detector.keras_model.outputs
    metas = detector.keras_model.inputs[1]
    return keras.Model(detector.keras_model.inputs, {
        name: DetectionLayer(detector.config.replaced(**DETECTIONS[name]))(
            [rois, probabilities, deltas, metas]) for name in detections})


def summary(metrics):
    """AP, AP50, AP75 and the AP50 of each class, rounded."""
    per_class = {name: round(values["AP50"], 4) if values["AP50"] is not None else None
                 for name, values in metrics["per_class"].items()}
    return {**{name: round(metrics[name], 4) for name in SCORES}, "per_class": per_class}
