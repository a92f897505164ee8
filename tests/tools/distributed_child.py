"""Trains the small detector in a process of its own, for the tests of `distributed` and of kills.

    python distributed_child.py '{"folder": …, "processes": 2, "process_id": 0, …}'

Prints one line of JSON: the SHA-256 of the weights, the history, and what else was asked for.
"""

import json
import os
import sys


def main(options):
    from frcnn.training import determinism, distributed

    if options.get("deterministic"):
        determinism.enable()
    if "start" in options:
        distributed.start(**options["start"])

    import keras
    from model_tools import Rectangles, array, small_config

    class End(keras.callbacks.Callback):
        """Sends this process a signal when it begins a step, after so many."""

        def __init__(self, steps, number):
            super().__init__()
            self.steps, self.number = steps, number

        def on_train_batch_begin(self, batch, logs=None):
            if self.steps == 0:
                os.kill(os.getpid(), self.number)
            self.steps -= 1

    from frcnn.model.mask_rcnn import MaskRCNN
    from frcnn.training.state import digest

    config = small_config(NAME="several", **options.get("settings", {}))
    data = Rectangles([(128, 128)] * options.get("images", 8))
    read = []
    load = data.load_image
    data.load_image = lambda image_id: read.append(int(image_id)) or load(image_id)
    val = Rectangles([(128, 128)] * 4) if options.get("validate", True) else None
    model = MaskRCNN("training", config, options["folder"], seed=options.get("seed", 3))
    resume = options.get("resume", False)
    if resume:
        model.load_weights(model.find_last())
    callbacks = [End(**options["end"])] if "end" in options else []
    model.train(data, val, 0.003, options.get("epochs", 2), "all", verbose=0, resume=resume,
                schedule_start=0, schedule="warmup_cosine", workers=1, custom_callbacks=callbacks,
                **options.get("train", {}))
    weights = {f"{number:04d}": array(variable)
               for number, variable in enumerate(model.keras_model.weights)}
    if "weights" in options:
        import numpy as np

        np.savez(options["weights"], **weights)
    print(json.dumps({"digest": digest(weights), "history": model.history, "read": read,
                      "devices": distributed.current().devices, "backend": keras.backend.backend(),
                      "log_dir": model.log_dir, "seed": model.seed}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
