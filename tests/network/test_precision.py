"""PRECISION: the policy it names, and "auto" by what the hardware supports."""

import keras
import pytest

from frcnn.network import precision


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


@pytest.mark.parametrize("kind", ["gpu", "tpu"])
def test_auto_on_an_accelerator(monkeypatch, kind):
    monkeypatch.setattr(keras.distribution, "list_devices",
                        lambda asked=None: [f"{kind}:0"] if asked == kind else [])
    assert precision.dtype_policy("auto").name == "mixed_bfloat16"


def test_auto_without_information(monkeypatch):
    def no_file(self):
        raise FileNotFoundError

    monkeypatch.setattr(precision.Path, "read_text", no_file)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: [])
    assert precision.dtype_policy("auto").name == "float32"
