"""What a run writes when it ends: COCO metrics, loss curves, detections, and a report on them."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frcnn import evaluate, runs, visualize
from frcnn.cli.options import command
from frcnn.cli.outputs import concerns_one_file
from frcnn.cli.program import explain, shows_progress
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.data.image_name import ImageName
from frcnn.errors import ImageError
from frcnn.evaluate.coco import boxes_of
from frcnn.evaluate.recipes import detection_recipes
from frcnn.files import escaped
from frcnn.inference.tiled import TiledModel
from frcnn.report import Run, write_report
from frcnn.runtime.detector import Detector
from frcnn.runtime.engines import is_exported
from frcnn.startup import start_backend
from frcnn.visualize.canvas import new_figure
from frcnn.visualize.reduction import reduced, reduction

if TYPE_CHECKING:  # loads Keras
    from frcnn.model.mask_rcnn import MaskRCNN

PICTURES = 6
PICTURE_MIN_CONFIDENCE = 0.5


def evaluate_checkpoint(checkpoint: str | Path, config: Config, dataset: Dataset, folder: Path,
                        limit: int | None = None, run: Run | None = None,
                        tiled: Callable[["MaskRCNN | Detector"], TiledModel] | None = None,
                        ) -> dict[str, Any]:
    """Detects on a data set; writes `metrics.json`, `detections.png`, `report.html` into a folder.

    If one of the last two cannot be written, that is a warning: see `or_warning`.

    Args:
        checkpoint: path of the weights.
        config: their Config; its DETECTION_MIN_CONFIDENCE is the lowest score that counts.
        dataset: a prepared Dataset.
        folder: Path to write to.
        limit: how many of the first images to take, None for all.
        run: what the report says besides the metrics; None: what checkpoint and config say.
        tiled: makes a model that detects in tiles of the detector.

    Returns:
        metrics: as `frcnn.evaluate.evaluate_detections` gives them, with what `evaluate_counts`
            gives as `counts`.
    """
    image_ids = [int(image_id) for image_id in dataset.image_ids[:limit]]
    model = inference_model(checkpoint, config, folder)
    detector = tiled(model) if tiled else model
    recipes = detection_recipes(config)
    if isinstance(detector, TiledModel):
        recipes.update(tile=detector.tiling.size, overlap=detector.tiling.overlap)
    results = evaluate.detect_dataset(detector, dataset, image_ids, progress=shows_progress())
    metrics = evaluate.evaluate_detections(
        dataset, results, image_ids, min(100, config.DETECTION_MAX_INSTANCES),
        score_threshold=config.DETECTION_MIN_CONFIDENCE,
        nms_threshold=config.DETECTION_NMS_THRESHOLD,
        recipes=recipes)
    metrics["settings"]["checkpoint"] = escaped(checkpoint)
    metrics["counts"] = evaluate.evaluate_counts(dataset, results, image_ids,
                                                 score_threshold=PICTURE_MIN_CONFIDENCE)
    evaluate.write_metrics(metrics, folder / "metrics.json")
    with or_warning(folder / "detections.png") as path:
        draw_detections(dataset, results, path)
    with or_warning(folder / "report.html") as path:
        write_report(path, dataset, results, metrics, run or describe_run(checkpoint, config),
                     image_ids, score_threshold=PICTURE_MIN_CONFIDENCE)
    return metrics


@contextlib.contextmanager
def or_warning(path: Path) -> Iterator[Path]:
    """Yields the path of a file to be written; if that fails, warns, and removes an older file.

    So a picture that cannot be drawn does not cost the results of a training. What the next file
    would meet too, such as a full disk, is raised.
    """
    try:
        with visualize.default_style():
            yield path
    except Exception as error:
        if not concerns_one_file(error):
            raise
        with contextlib.suppress(OSError):  # it would be taken for the new one
            path.unlink(missing_ok=True)
        warnings.warn(f"{path} could not be written: {explain(error) or error}", stacklevel=3)


def print_files(folder: Path, names: Mapping[str, str]) -> bool:
    """Prints the paths of the files that were written.

    Args:
        folder: their folder.
        names: what each has, and its name.

    Returns:
        Whether all were written.
    """
    for text, name in names.items():
        if (folder / name).exists():
            print(f"{text:13} {folder / name}")
    return all((folder / name).exists() for name in names.values())


def describe_run(checkpoint: str | Path, config: Config, *, epoch: int = 0,
                 history: Mapping[str, Sequence[Any]] | None = None, subset: str = "val",
                 limit: int | None = None, others: Mapping[str, Dataset] | None = None,
                 data: Any = None) -> Run:
    """What the report says of a run besides the metrics.

    Args:
        checkpoint: path of the weights, in the run's folder.
        config: their Config.
        epoch: of the checkpoint; 0 if unknown.
        history: dict of lists, the losses by epoch; or None.
        subset: name of the evaluated images.
        limit: how many of the first images of the subset they are; None: all.
        others: dict of further Datasets by name; or None.
        data: the data set's folder.
    """
    path = Path(checkpoint)
    title = f"{path.parent.name}: " + (f"epoch {epoch}" if epoch else path.name)
    if epoch and runs.is_best(path):
        title += ", the best by AP while training"
    facts = {"data set": data, "command": command()}
    return Run(title=title, checkpoint=path, epoch=epoch, config=config,
               history=dict(history or {}), others=dict(others or {}),
               subset=f"{subset} (the first {limit})" if limit else subset,
               facts={name: value for name, value in facts.items() if value})


def inference_model(checkpoint: str | Path, config: Config,
                    logs: str | Path) -> "MaskRCNN | Detector":
    """A MaskRCNN in inference mode with the checkpoint's weights; a Detector of an exported file.
    """
    if is_exported(checkpoint):
        return Detector.configured(checkpoint, config)
    return checkpoint_model(checkpoint, config, logs)


def checkpoint_model(checkpoint: str | Path, config: Config, logs: str | Path) -> "MaskRCNN":
    """A MaskRCNN in inference mode with the checkpoint's weights."""
    start_backend(program=True)
    from frcnn.model.mask_rcnn import MaskRCNN

    model = MaskRCNN(mode="inference", config=config, model_dir=str(logs))
    model.load_weights(str(checkpoint), by_name=True)
    return model


def draw_losses(history: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Writes the curves of the losses, and of AP if there is one, as a PNG.

    Args:
        history: `MaskRCNN.history`.
        path: of the picture.
    """
    values = {name: np.array(line, float) for name, line in history.items() if name != "epoch"}
    epochs = history.get("epoch")
    if not np.isfinite(values.get("val_AP", np.nan)).any():
        visualize.save_figure(visualize.plot_losses(values, epochs=epochs), path)
        return
    figure = new_figure((9, 9.5))
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 2), gridspec_kw={"hspace": 0.3})
    visualize.plot_losses(values, upper, epochs=epochs)
    visualize.plot_ap_by_epoch(values, lower, epochs=epochs)
    visualize.save_figure(figure, path)


def draw_detections(dataset: Dataset, results: Mapping[int, Any], path: Path) -> None:
    """Writes a PNG of a few images, spread over the data set, with ground truth and detections."""
    image_ids = sorted(results)
    chosen = np.linspace(0, len(image_ids) - 1, min(PICTURES, len(image_ids))).round().astype(int)
    examples = []
    for image_id in (image_ids[place] for place in chosen):
        with _image_or_warning(dataset, image_id):
            examples.append(_example(dataset, image_id, results[image_id]))
    images, truths, found, titles = zip(*examples) if examples else ((), (), (), ())
    figure = visualize.draw_detections_beside_truth(
        images, truths, found, dataset.class_names, titles=titles,
        score_threshold=PICTURE_MIN_CONFIDENCE)
    visualize.save_figure(figure, path)


@contextlib.contextmanager
def _image_or_warning(dataset: Dataset, image_id: int) -> Iterator[None]:
    """Warns if an image cannot be read any more."""
    try:
        yield
    except (ImageError, OSError, MemoryError) as error:
        warnings.warn(f"{ImageName(dataset, image_id)} is left out of the pictures: "
                      f"{explain(error)}", stacklevel=4)


def _example(dataset: Dataset, image_id: int, result: Any) -> tuple[Any, ...]:
    """An image, its true boxes, its detections and its title; the image made smaller if large."""
    image = dataset.load_image(image_id)
    factor = reduction(image.shape)
    boxes, class_ids = dataset.load_boxes(image_id)
    found = {"boxes": boxes_of(result) / factor, "class_ids": result["class_ids"],
             "scores": result["scores"]}
    return (reduced(image, factor), (boxes / factor, class_ids), found,
            str(dataset.image_info[image_id]["id"]))
