"""Several devices and processes: what is checked before the first step, and who does what."""

import json
import subprocess
import sys

import keras
import pytest
from model_tools import Rectangles, small_config

from frcnn.errors import BackendError, ConfigError, FrcnnError
from frcnn.model.mask_rcnn import MaskRCNN
from frcnn.network import ops
from frcnn.training import agreement, distributed, job
from frcnn.training.job import Job

ON_JAX = keras.backend.backend() == "jax"


@pytest.fixture
def second_of_two(monkeypatch):
    """This process is number 1 of 2; function: sets what number 0 sends next."""
    def hears(content):
        monkeypatch.setattr(agreement, "_gather", lambda own: [json.dumps(content), own])

    monkeypatch.setattr(agreement, "current", lambda: Job(1, 2, 2))
    return hears


# --- the batch ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "count", "devices"), [(2, 1, 1), (2, 2, 4), (1, 6, 3)])
def test_batches_that_can_be_divided(images, count, devices):
    Job(devices=devices).check_batch(images, count)


def test_a_batch_that_cannot_be_divided_is_an_error_with_both_numbers():
    with pytest.raises(ConfigError, match=r"batch of 6 images .*3 × 2.* 4 devices.*--batch-size 8"):
        Job(devices=4).check_batch(3, 2)


# --- the arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    ({"devices": 0}, "devices is 0"), ({"devices": "many"}, "devices is 'many'"),
    ({"coordinator": "a:1"}, "processes and process_id"),
    ({"processes": 2, "process_id": 0}, "needs coordinator"),
    ({"coordinator": "a:1", "processes": 2, "process_id": 2}, "process_id is 2.* 2 processes"),
    ({"devices": 2, "cluster": True}, "devices is 2.*uses all devices"),
])  # fmt: skip
def test_arguments_that_contradict_each_other(options, message):
    with pytest.raises(ConfigError, match=message):
        distributed.start(**options)


@pytest.mark.skipif(ON_JAX, reason="the backend is the right one")
def test_another_backend_that_is_imported_already():
    with pytest.raises(BackendError, match=r"imported already, with tensorflow.*KERAS_BACKEND=jax"):
        distributed.start(2)


# --- what processes exchange --------------------------------------------------------------------


def test_values_that_differ_are_both_named(second_of_two):
    second_of_two({"learning_rate": "0.1", "epochs": "3"})
    agreement.agree({"learning_rate": 0.1, "epochs": 3})
    with pytest.raises(ConfigError, match=r"learning_rate is 0\.1 in process 0 and 0\.2 in "):
        agreement.agree({"learning_rate": 0.2, "epochs": 3})


def test_settings_that_differ_are_both_named(second_of_two):
    config = small_config(WEIGHT_DECAY=0.5)
    settings = {f"the setting {name}": str(value)
                for name, value in json.loads(config.to_json()).items()}
    second_of_two({"the seed": "3", **settings, "the setting WEIGHT_DECAY": "0.25"})
    with pytest.raises(ConfigError, match=r"WEIGHT_DECAY is 0\.25 in process 0 and 0\.5 in proc"):
        agreement.same_seed(3, config)
    second_of_two({"the seed": "4", **settings})
    with pytest.raises(ConfigError, match=r"the seed is 4 in process 0 and 3 in process 1"):
        agreement.same_seed(3, config)


def test_the_first_process_decides(second_of_two):
    def never():
        raise AssertionError("process 1 does nothing")

    second_of_two({"value": [3, "folder"]})
    assert agreement.from_main(never) == [3, "folder"]
    second_of_two({"error": "OSError: the disk is full"})
    with pytest.raises(FrcnnError, match="Process 0 failed: OSError: the disk is full"):
        agreement.from_main(never)


def test_one_process_needs_no_others():
    assert distributed.current() == Job() and Job().is_main
    assert agreement.from_main(lambda: 7) == 7
    assert agreement.highest(3) == 3
    agreement.agree({"epochs": 3})
    assert agreement.same_seed(None, small_config()) is None


def test_several_processes_without_a_distribution_are_an_error(monkeypatch):
    monkeypatch.setattr(ops, "process_place", lambda: (1, 2))
    with pytest.raises(BackendError, match="process 1 of 2, but Keras has no distribution"):
        job.current()


def test_the_digest_tells_data_sets_apart():
    def digest(*shapes, **options):
        return agreement.digest_of_data(Rectangles(list(shapes), **options))

    one = digest((64, 128), (64, 128))
    assert one == digest((64, 128), (64, 128)) and "2 images of the classes red, green, blue" in one
    assert one != digest((64, 128), (64, 128), empty=[1]) != digest((64, 128))
    assert agreement.digest_of_data(None) == "none"


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_the_error_of_a_process_that_is_gone(monkeypatch, kind):
    error = kind("UNKNOWN: Gloo AllGather failed: [pair.cc:547] Connection closed by peer\nmore")
    assert job.explained(error) is error
    monkeypatch.setattr(job, "current", lambda: Job(0, 3, 3))
    explained = job.explained(error)
    assert isinstance(explained, BackendError)
    assert "process 0 of 3" in str(explained) and "--model last" in str(explained)
    for other in (kind("RESOURCE_EXHAUSTED: out of memory"), ConfigError("the connection closed")):
        assert job.explained(other) is other


# --- TensorFlow's strategies --------------------------------------------------------------------


@pytest.mark.skipif(ON_JAX, reason="of TensorFlow")
def test_a_strategy_of_tensorflow_is_refused(tmp_path):
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = MaskRCNN("training", small_config(), tmp_path, seed=1)
        with pytest.raises(BackendError, match=r"MirroredStrategy.*frcnn train --devices N"):
            model.compile(0.001)
    with pytest.raises(BackendError, match="MirroredStrategy"):
        model.train(Rectangles([(128, 128)] * 2), None, 0.001, 1, "all")
    assert not list(tmp_path.iterdir())


# --- in a process of its own --------------------------------------------------------------------

MISSING = """
import sys
from frcnn.errors import BackendError
from frcnn.training import distributed
assert "keras" not in sys.modules
try:
    distributed.start(3)
except BackendError as error:
    print(error)
import keras
assert keras.backend.backend() == "jax"
"""


def test_devices_that_are_not_there():
    """It selects JAX whatever the environment says."""
    done = subprocess.run(
        [sys.executable, "-c", MISSING], capture_output=True, text=True, check=True,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "KERAS_BACKEND": "tensorflow",
             "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"})
    assert done.stdout.startswith("3 devices were asked for, but JAX finds 2: cpu:0, cpu:1.")
