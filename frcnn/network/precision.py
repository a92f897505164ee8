"""The number formats that the network computes in; boxes, losses and weights are float32."""

from pathlib import Path
from typing import TypeAlias

import keras

from frcnn.network.ops import has_accelerator

# What layers take as `dtype`; None is Keras's global policy.
Policy: TypeAlias = str | keras.DTypePolicy | None

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def dtype_policy(precision: str) -> keras.DTypePolicy:
    """The Keras dtype policy for `Config.PRECISION`.

    "auto" is mixed_bfloat16 where the hardware multiplies bfloat16 (a GPU, or a CPU whose flags
    include it), else float32.
    """
    if precision == "auto":
        precision = "mixed_bfloat16" if _has_bfloat16() else "float32"
    return keras.DTypePolicy(precision)


def _has_bfloat16() -> bool:
    if has_accelerator():
        return True
    try:
        information = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = (line.partition(":")[2] for line in information.splitlines()
             if line.lower().startswith(("flags", "features")))
    return bool(BFLOAT16_FLAGS & set(next(flags, "").split()))
