"""The number formats that the network computes in; boxes, losses and weights are float32."""

from pathlib import Path
from typing import TypeAlias

import keras

from frcnn.network.ops import accelerators

# What layers take as `dtype`; None is Keras's global policy.
Policy: TypeAlias = str | keras.DTypePolicy | None

LOWEST_CAPABILITY = (8, 0)
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def dtype_policy(precision: str) -> keras.DTypePolicy:
    """The Keras dtype policy for `Config.PRECISION`.

    "auto" is mixed_bfloat16 where the hardware multiplies bfloat16, else float32: on a TPU, on
    NVIDIA GPUs of compute capability 8.0 or higher (NVIDIA, CUDA C++ Programming Guide, "Compute
    Capabilities"; a T4 has 7.5), and on a CPU whose flags include it. Of other GPUs nothing is
    known, so that they compute in float32 unless PRECISION says otherwise.
    """
    if precision == "auto":
        precision = "mixed_bfloat16" if _has_bfloat16() else "float32"
    return keras.DTypePolicy(precision)


def _has_bfloat16() -> bool:
    devices = accelerators()
    if devices:
        return all(device.kind == "tpu" or (device.capability or (0, 0)) >= LOWEST_CAPABILITY
                   for device in devices)
    try:
        information = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = (line.partition(":")[2] for line in information.splitlines()
             if line.lower().startswith(("flags", "features")))
    return bool(BFLOAT16_FLAGS & set(next(flags, "").split()))
