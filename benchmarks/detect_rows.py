"""Detection in images of files, in the process that measures it: one, a folder, a slide."""

import time
from pathlib import Path

import numpy as np

from benchmarks.loader import HEIGHT, WIDTH, draw_jpeg
from benchmarks.network import make_config, make_detector, make_image
from frcnn.inference import transform
from frcnn.inference.stream import suitable_batch_size
from frcnn.shards.inputs import find_items
from frcnn.shards.store import Store
from frcnn.shards.worker import Task, Worker
from frcnn.weights.checkpoint import save_weights


def prepare(folder, side, images):
    """Writes a checkpoint, a folder of JPEGs and a tiled TIFF of 4×6 tiles of `side` pixels."""
    import tifffile

    folder = Path(folder)
    config = make_config(side, precision="auto")
    save_weights(make_detector("inference", config).keras_model, folder / "weights.h5")
    (folder / "images").mkdir()
    draw_jpeg(folder / "images/0000.jpg")
    for number in range(1, images):
        (folder / f"images/{number:04d}.jpg").hardlink_to(folder / "images/0000.jpg")
    tifffile.imwrite(folder / "slide.tif", make_image(4 * side, 6 * side), photometric="rgb",
                     tile=(256, 256), compression="deflate")
    return config.to_json()


def measure(folder, side, images):
    """Seconds of the network alone and with everything around it, in one process.

    Returns:
        Dict: a row's name → seconds, images (or tiles), pixels, and `network`: the seconds that the
        network alone takes for as many molded images.
    """
    folder = Path(folder)
    config = make_config(side, precision="auto")
    model = make_detector("inference", config)
    model.load_weights(folder / "weights.h5")
    batch = min(images, suitable_batch_size(side, side))
    alone = _network_alone(model, side, batch)
    rows = {}
    path = folder / "images/0000.jpg"
    one = _network_alone(model, side, 1)
    rows["one image"] = _timed(lambda: list(model.detect_stream([path])), 1, WIDTH * HEIGHT, one)
    items = find_items([str(folder / "images")])
    rows["a folder"] = _timed(lambda: _shard(folder, items, model), len(items),
                              len(items) * WIDTH * HEIGHT, alone * len(items))
    slide = folder / "slide.tif"
    rows["a slide"] = _timed(
        lambda: model.detect_tiled(slide, size=side, overlap=0, all_tiles=True, level=0), 24,
        24 * side**2, alone * 24)
    return rows


def measure_ray(folder, images, workers, config_json):
    """Seconds of the shards on Ray's workers, without and with the start of Ray."""
    from frcnn.shards import ray_engine

    folder = Path(folder)
    items = find_items([str(folder / "images")])
    store = Store(folder / f"ray{workers}")
    shards = store.begin(items, max(1, len(items) // (4 * workers)), {})
    task = Task(str(store.folder), str(folder / "weights.h5"), config_json)
    began = time.time()
    for _ in ray_engine.run(task, shards, ray_engine.Cluster(workers=workers)):
        pass
    # When its file was written: Ray passes on the ends of several shards at once.
    moments = sorted((shard.path.stat().st_mtime, len(shard.items)) for shard in shards)
    # The first shards also start the workers: the rate is that of the others.
    first, last = moments[workers - 1], moments[-1]
    counted = sum(count for _, count in moments[workers:])
    return {"seconds": last[0] - first[0], "images": counted,
            "pixels": counted * WIDTH * HEIGHT, "start": first[0] - began}


def _network_alone(model, side, batch):
    """Seconds for an image, of molded batches from and to arrays."""
    images = [make_image(side, seed=number) for number in range(batch)]
    molded, metas, _ = transform.mold_inputs(images, model.config)
    inputs = np.stack(molded), np.stack(metas).astype(np.float32)
    return min(_seconds(lambda: model.detect_molded(*inputs)) for _ in range(4)) / batch


def _shard(folder, items, model):
    store = Store(folder / f"out{time.monotonic_ns()}")
    (shard,) = store.begin(items, len(items), {})
    Worker(Task(str(store.folder), "", ""), model).run(shard)


def _timed(work, images, pixels, network):
    work()
    seconds = min(_seconds(work) for _ in range(2))
    return {"seconds": seconds, "images": images, "pixels": pixels, "network": network}


def _seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
