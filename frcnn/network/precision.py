"""Which number formats the network computes in; boxes, losses and weights are always float32."""

from pathlib import Path

import keras

from frcnn.network.ops import has_accelerator

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def dtype_policy(precision):
    """The Keras dtype policy for `Config.PRECISION`.

    "auto" is mixed_bfloat16 where the hardware multiplies bfloat16 (a GPU, or a processor that
    says so), else float32.
    """
    if precision == "auto":
        precision = "mixed_bfloat16" if _has_bfloat16() else "float32"
    return keras.DTypePolicy(precision)


def _has_bfloat16():
    if has_accelerator():
        return True
    try:
        information = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = (line.partition(":")[2] for line in information.splitlines()
             if line.lower().startswith(("flags", "features")))
    return bool(BFLOAT16_FLAGS & set(next(flags, "").split()))
