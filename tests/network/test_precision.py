"""PRECISION: the policy it names, and "auto" by what the hardware supports."""

import keras
import pytest

from frcnn.network import precision
from frcnn.network.ops import Accelerator, accelerators


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_named_precision_is_a_policy(name):
    policy = precision.dtype_policy(name)
    assert policy.name == name and policy.variable_dtype == "float32"


@pytest.mark.parametrize(("flags", "expected"), [
    ("fpu avx512f avx512_bf16 sse", "mixed_bfloat16"),
    ("fpu amx_bf16", "mixed_bfloat16"),
    ("fpu avx512f avx2", "float32"),
])  # fmt: skip
def test_auto_reads_the_processors_flags(monkeypatch, flags, expected):
    text = f"processor : 0\nmodel name : A bf16 in the name only\nflags\t\t: {flags}\n"
    monkeypatch.setattr(precision.Path, "read_text", lambda self: text)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: [])
    assert precision.dtype_policy("auto").name == expected


def test_auto_on_arm(monkeypatch):
    monkeypatch.setattr(precision.Path, "read_text", lambda self: "Features : fp asimd bf16\n")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: [])
    assert precision.dtype_policy("auto").name == "mixed_bfloat16"


A100, T4, TPU = Accelerator("gpu", (8, 0)), Accelerator("gpu", (7, 5)), Accelerator("tpu")


@pytest.mark.parametrize(("devices", "expected"), [
    ([A100, A100], "mixed_bfloat16"), ([TPU], "mixed_bfloat16"),
    ([Accelerator("gpu", (12, 0))], "mixed_bfloat16"), ([T4], "float32"), ([A100, T4], "float32"),
    ([Accelerator("gpu")], "float32"),
])  # fmt: skip
def test_auto_on_an_accelerator(monkeypatch, devices, expected):
    monkeypatch.setattr(precision, "accelerators", lambda: devices)
    assert precision.dtype_policy("auto").name == expected


class JaxDevice:
    platform = "gpu"

    def __init__(self, capability):
        self.compute_capability = capability


@pytest.mark.parametrize(("found", "expected"), [
    ("8.0", (8, 0)), ("12.1", (12, 1)), ("gfx90a", None)])
def test_the_description_of_jaxs_devices(monkeypatch, found, expected):
    jax = pytest.importorskip("jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: ["gpu:0"])
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(jax, "local_devices", lambda: [JaxDevice(found)])
    assert accelerators() == [Accelerator("gpu", expected)]


def test_the_description_of_tensorflows_devices(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    devices = [tf.config.PhysicalDevice("/physical_device:CPU:0", "CPU"),
               tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: ["gpu:0"])
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda: devices)
    for details, expected in (({"compute_capability": (7, 5)}, (7, 5)), ({}, None)):
        monkeypatch.setattr(tf.config.experimental, "get_device_details",
                            lambda device, details=details: details)
        assert accelerators() == [Accelerator("gpu", expected)]


def test_auto_without_information(monkeypatch):
    def no_file(self):
        raise FileNotFoundError

    monkeypatch.setattr(precision.Path, "read_text", no_file)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: [])
    assert precision.dtype_policy("auto").name == "float32"
