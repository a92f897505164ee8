"""Equal results in each run: kernels that add in one order.

Two runs of one seed have the same batches and random numbers in any case. On a CPU their weights
are equal, too. On a GPU some kernels, such as those of the gradients of convolutions and of
gathering, add in the order in which threads come; without `enable` two runs then part in the last
bits, and more with every step.

TensorFlow's `tf.config.experimental.enable_op_determinism` refuses operations that have no other
kernel, and runs its own input pipelines in one thread; XLA's `--xla_gpu_deterministic_ops` leaves
faster kernels out. Sources: TensorFlow's documentation of that function, and XLA's of its flags.
"""

import os

_XLA_FLAG = "--xla_gpu_deterministic_ops=true"


def prepare() -> None:
    """The part of `enable` for JAX: it has to be before the first computation."""
    flags = os.environ.get("XLA_FLAGS", "")
    if _XLA_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_XLA_FLAG}".strip()


def enable() -> None:
    """Has this process compute with deterministic kernels from now on; call it first.

    It costs nothing measurable on a CPU. On a GPU, steps take longer; by how much depends on the
    network and the card.
    """
    prepare()
    from frcnn.network import ops

    ops.enable_determinism()
