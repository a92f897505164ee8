"""The count of collectives in a program of XLA."""

import os
import subprocess
import sys

import pytest
from places import PROJECT

from benchmarks import collectives, report
from benchmarks.collectives_rows import bytes_of
from benchmarks.collectives_rows import collectives as count

PROGRAM = """
  %a = f32[2,3]{1,0} all-reduce(f32[2,3]{1,0} %x), replica_groups={{0,1}}, metadata={op_name="sum"}
  %b = (f32[4]{0}, /*index=1*/bf16[8]{0}) all-reduce-start(%y, %z), to_apply=%add
  %c = (f32[4]{0}, bf16[8]{0}) all-reduce-done(%b)
  %d = s32[2,8]{1,0} all-gather(s32[1,8]{1,0} %w), metadata={op_name="jit(step)/top_k"}
  %e = f32[2]{0} add(f32[2]{0} %all-reduce.5, f32[2]{0} %q)
"""


def test_bytes_of_shapes():
    assert bytes_of("f32[2,3]{1,0}") == 24
    assert bytes_of("(f32[4]{0}, bf16[8]{0}, pred[], s64[2])") == 16 + 16 + 1 + 16


def test_a_program():
    found = count(PROGRAM)
    assert found["all-reduce"] == {"count": 2, "bytes": 24 + 16 + 16}
    assert found["all-gather"] == {"count": 1, "bytes": 64}
    assert found["all-to-all"] == {"count": 0, "bytes": 0}
    assert found["gathered"] == [(64, "jit(step)/top_k")]
    text = report.as_text(collectives.counts({**found, "weights": 56}, 2, 512, "resnet50"))
    assert "Gathered: 64 bytes by jit(step)/top_k." in text
    assert "2 devices" in report.as_text(collectives.times(found))


def test_the_time_of_a_ring():
    """Each of 4 devices sends 3 parts of a quarter, twice."""
    assert collectives.ring_seconds(400, 4, 100) == pytest.approx(6.0)


STEP = """
import json, os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
from frcnn.training import distributed
distributed.start(2)
from benchmarks.collectives_rows import collectives, compiled_step
from frcnn.model.mask_rcnn import MaskRCNN
from model_tools import one_batch, small_config
model = MaskRCNN("training", small_config(), "unused", seed=1)
model.set_trainable(".*")
model.compile(0.001)
model = model.keras_model
weights = sum(variable.value.nbytes for variable in model.trainable_variables)
print(json.dumps([weights, collectives(compiled_step(model, one_batch(small_config())))]))
"""


@pytest.mark.nightly
def test_a_step_adds_up_gradients_and_gathers_nothing(tmp_path):
    pytest.importorskip("jax")
    import json

    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True,
                          cwd=tmp_path, env={
        **os.environ, "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROJECT / "tests/tools")))})
    weights, found = json.loads(done.stdout.splitlines()[-1])
    assert found["gathered"] == [] and found["all-to-all"]["count"] == 0
    assert weights <= found["all-reduce"]["bytes"] < 1.1 * weights
