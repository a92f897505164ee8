"""A program for test_detection_only.py: uses Keras after `detection_only`, and prints what happens.

    python guard_child.py before|after|inherited|keras-first

`before`: Keras is imported before the call, else after it. `inherited`, `keras-first`: there is no
call, but the environment variable; the package is imported before Keras, or after it. Prints a JSON
object: by what was done, the kind of the error, or None.
"""

import json
import sys

import numpy as np

if sys.argv[1] == "keras-first":
    import keras  # noqa: F401

import frcnn  # noqa: F401

IMAGE = np.ones((1, 8, 8, 3), np.float32)
ROW = np.ones((1, 3), np.float32)


def outcome(function):
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main(order):
    """Tries everything."""
    if order == "before":
        import keras
    if order in ("before", "after"):
        from frcnn.startup import detection_only

        detection_only()
    import keras
    import tensorflow as tf
    from keras import layers

    from frcnn.keras_guard import weights_stay_the_same

    image = keras.Input((8, 8, 3))
    conv = layers.Conv2D(2, 3)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.ReLU()(conv(image))))
    model.compile("sgd", "mse")
    own = type("Own", (keras.Model,), {"call": lambda self, x: x * 2.0})()
    traced = tf.function(model, autograph=False)
    with weights_stay_the_same():
        vouched = outcome(lambda: traced(IMAGE))
    done = {
        "fit": lambda: model.fit(IMAGE, np.ones((1, 2)), verbose=0),
        "evaluate": lambda: model.evaluate(IMAGE, np.ones((1, 2)), verbose=0),
        "predict": lambda: model.predict(IMAGE, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(IMAGE, np.ones((1, 2))),
        "test_on_batch": lambda: model.test_on_batch(IMAGE, np.ones((1, 2))),
        "predict_on_batch": lambda: model.predict_on_batch(IMAGE),
        "call": lambda: model(IMAGE),
        "call in a function": lambda: tf.function(model, autograph=False)(IMAGE),
        "layer": lambda: conv(IMAGE),
        "new layer": lambda: layers.Conv2D(2, 3)(IMAGE),
        "own model": lambda: own.predict(ROW, verbose=0),
        "sequential": lambda: keras.Sequential([layers.Dense(2)]).predict(ROW, verbose=0),
        "layer without weights": lambda: layers.Rescaling(2.0)(ROW),
        "graph": lambda: keras.Model(image, model(image)),
        "clone": lambda: keras.models.clone_model(model),
    }
    print(json.dumps({**{name: outcome(function) for name, function in done.items()},
                      "vouched": vouched}))


if __name__ == "__main__":
    main(*sys.argv[1:])
