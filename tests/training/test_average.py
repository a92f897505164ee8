"""The moving average of the weights: where it is used, and that a training with it goes on exactly.

With a network of a few numbers, so that every place of a training can be interrupted.
"""

import keras
import numpy as np
import pytest
from model_tools import array, small_config

from frcnn.training.callbacks import average_swap
from frcnn.training.optimizer import averaging, exchange_average, make_optimizer
from frcnn.training.state import TrainingState
from frcnn.training.state_writer import RestoreMetrics

EPOCHS, STEPS, SIZE, MOMENTUM = 3, 3, 2, 0.75
RNG = np.random.default_rng(0)
X = RNG.normal(size=(STEPS * SIZE, 4)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [3.0], [0.5]], np.float32)
KINDS = {"sgd": {}, "adamw": {"OPTIMIZER": "adamw"}, "scaled": {}}


def make(kind, seed=1):
    keras.utils.set_random_seed(seed)
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1, name="dense")(x))
    optimizer = make_optimizer(small_config(EMA_MOMENTUM=MOMENTUM, **KINDS[kind]), 0.05)
    if kind == "scaled":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "mse")
    return model


class Ends(Exception):
    pass


class Record(keras.callbacks.Callback):
    """Records the weights, and ends with the state after a step or an epoch; the last callback."""

    def __init__(self, at=None, first_step=0):
        super().__init__()
        self.at, self.state, self.step, self.epoch = at, None, first_step, 0
        self.trained, self.saved, self.validated = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.trained.append(kernel(self.model))
        if self.step < STEPS:
            self.end(self.epoch, self.step)

    def on_test_begin(self, logs=None):
        self.validated.append(kernel(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.step = 0
        self.saved.append(kernel(self.model))
        self.end(epoch + 1, 0)

    def end(self, *place):
        if place == self.at:
            self.state = TrainingState.of(self.model, *place, {})
            raise Ends


def kernel(model):
    return array(model.get_layer("dense").kernel).copy()


def fit(model, first, last, *callbacks, step=0, validate=True):
    data = (X[SIZE * step:], Y[SIZE * step:])
    model.fit(*data, batch_size=SIZE, shuffle=False, initial_epoch=first, epochs=last, verbose=0,
              validation_data=(X, Y) if validate else None, callbacks=list(callbacks))


def swap():
    return average_swap(small_config(EMA_MOMENTUM=MOMENTUM))


def go_on(model, state, epochs=EPOCHS):
    """As FitRun does: the rest of an epoch is a call of its own."""
    state.restore(model)
    callbacks, first = swap(), state.epoch
    if state.step:
        fit(model, first, first + 1, RestoreMetrics(state), *callbacks, step=state.step)
        first += 1
    if first < epochs:
        fit(model, first, epochs, *callbacks)


@pytest.fixture(scope="module")
def whole():
    found = {}

    def of(kind):
        if kind not in found:
            model, record = make(kind), Record()
            fit(model, 0, EPOCHS, *swap(), record)
            found[kind] = kernel(model), record
        return found[kind]

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_and_validated_is_the_average(whole, kind):
    final, record = whole(kind)
    average = None
    for number, weights in enumerate(record.trained):
        average = weights if average is None else MOMENTUM * average + (1 - MOMENTUM) * weights
        if (number + 1) % STEPS == 0:
            epoch = number // STEPS
            np.testing.assert_allclose(record.saved[epoch], average, rtol=1e-5)
            np.testing.assert_array_equal(record.validated[epoch], record.saved[epoch])
            assert not np.allclose(weights, average, rtol=1e-3)
    np.testing.assert_array_equal(final, record.saved[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_it_is_interrupted_it_goes_on_to_the_bit(whole, kind):
    places = [(0, 2), (1, 0), *([(0, 1), (1, 1), (2, 0), (2, 2)] if kind == "sgd" else [])]
    for epoch, step in places:
        record = Record((epoch, step))
        with pytest.raises(Ends):
            fit(make(kind), 0, EPOCHS, *swap(), record)
        model = make(kind, seed=7)
        go_on(model, record.state)
        np.testing.assert_array_equal(kernel(model), whole(kind)[0], err_msg=f"{epoch}, {step}")


def test_a_finished_training_can_be_made_longer_exactly(whole):
    """Its model has the average, and its state the weights, too."""
    model = make("sgd")
    fit(model, 0, 2, *swap(), record := Record())
    np.testing.assert_array_equal(kernel(model), record.saved[-1])
    np.testing.assert_array_equal(kernel(model), whole("sgd")[1].saved[1])
    longer = make("sgd", seed=7)
    go_on(longer, TrainingState.of(model, 2, 0, {}))
    np.testing.assert_array_equal(kernel(longer), whole("sgd")[0])
    fit(model, 2, EPOCHS, *swap())  # in the same process
    np.testing.assert_array_equal(kernel(model), whole("sgd")[0])


def test_a_training_that_stops_early_leaves_the_average():
    model, record = make("sgd"), Record()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    fit(model, 0, EPOCHS, *swap(), record, stop)
    assert len(record.saved) == 1
    np.testing.assert_array_equal(kernel(model), record.saved[0])


def test_validation_changes_no_bit_of_the_training(whole):
    model = make("sgd")
    fit(model, 0, EPOCHS, *swap(), validate=False)
    np.testing.assert_array_equal(kernel(model), whole("sgd")[0])


@pytest.mark.parametrize("kind", KINDS)
def test_an_exchange_rounds_nothing(kind):
    """Sums would: of 1e-9 and 1e9, the small one is lost."""
    model = make(kind)
    optimizer = averaging(model.optimizer)
    (average, _), variable = optimizer._model_variables_moving_average, model.trainable_variables[0]
    small, large = (np.full((4, 1), value, np.float32) for value in (1e-9, 1e9))
    variable.assign(small)
    average.assign(large)
    exchange_average(model.optimizer)
    assert optimizer.average_is_in_model
    np.testing.assert_array_equal(array(variable), large)
    np.testing.assert_array_equal(array(average), small)
    exchange_average(model.optimizer)
    assert not optimizer.average_is_in_model
    np.testing.assert_array_equal(array(variable), small)
    np.testing.assert_array_equal(array(average), large)
