"""Rows of `collectives`: compiles a training step for several devices, and reads the program."""

import os
import re

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4,
         "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_LINE = re.compile(r"= (?P<result>\(?[^=]*?) (?P<kind>all-reduce|all-gather|reduce-scatter|"
                   r"all-to-all|collective-permute)(?:-start)?\(")
_COMMENT = re.compile(r"/\*.*?\*/")  # such as /*index=5*/ in a tuple
_NAME = re.compile(r'op_name="([^"]*)"')


def measure(devices, side, backbone="resnet50", settings=None):
    """The collectives of a step on the processor's devices, of which there are as many as asked.

    Returns:
        By kind their number and bytes; the bytes of the trained weights; the largest gathered.
    """
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    from frcnn.training import distributed

    distributed.start(devices)
    from benchmarks.network import make_batch, make_config, make_detector

    config = make_config(side, batch=devices, train_bn=True, BACKBONE=backbone, **(settings or {}))
    model = make_detector("training", config).keras_model
    weights = sum(variable.value.nbytes for variable in model.trainable_variables)
    return {"weights": weights, **collectives(compiled_step(model, make_batch(config)))}


def compiled_step(model, batch):
    """The optimized program of a training step, as text."""
    import jax
    import keras

    layout = keras.distribution.distribution().get_data_layout
    batch = {name: jax.device_put(value, layout(value.shape).backend_layout)
             for name, value in batch.items()}
    state = tuple([variable.value for variable in variables] for variables in (
        model.trainable_variables, model.non_trainable_variables, model.optimizer.variables,
        model.metrics_variables))
    shardings = jax.tree.map(lambda value: value.sharding, state)
    step = jax.jit(model.train_step, out_shardings=(None, shardings))
    return step.lower(state, (batch,)).compile().as_text()


def collectives(text):
    """The collectives in a program of XLA.

    One in a loop counts once, however often the loop runs.
    """
    from benchmarks.collectives import KINDS

    found = {kind: {"count": 0, "bytes": 0} for kind in KINDS}
    gathered = []
    for line in text.splitlines():
        line = _COMMENT.sub("", line)
        match = _LINE.search(line)
        if match is None:
            continue
        size = bytes_of(match["result"])
        found[match["kind"]]["count"] += 1
        found[match["kind"]]["bytes"] += size
        if match["kind"] == "all-gather":
            name = _NAME.search(line)
            gathered.append((size, name[1] if name else "an operation without a name"))
    return {**found, "gathered": sorted(gathered, reverse=True)[:10]}


def bytes_of(shapes):
    """Bytes of the arrays that a text such as "(f32[2,3]{1,0}, s32[])" names."""
    total = 0
    for kind, sides in _SHAPE.findall(shapes):
        count = BYTES[kind]
        for side in filter(None, sides.split(",")):
            count *= int(side)
        total += count
    return total
