"""What a run writes when it ends: COCO metrics, loss curves, detections, and a report on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frcnn import evaluate, visualize
from frcnn.cli.options import command
from frcnn.cli.program import shows_progress
from frcnn.config import Config
from frcnn.data.dataset import Dataset
from frcnn.report import Run, write_report
from frcnn.startup import start_backend

if TYPE_CHECKING:  # loads Keras
    from frcnn.model.mask_rcnn import MaskRCNN

PICTURES = 6
PICTURE_MIN_CONFIDENCE = 0.5


def evaluate_checkpoint(checkpoint: str | Path, config: Config, dataset: Dataset, folder: Path,
                        limit: int | None = None, run: Run | None = None) -> dict[str, Any]:
    """Detects on a data set; writes `metrics.json`, `detections.png`, `report.html` into a folder.

    Args:
        checkpoint: path of the weights.
        config: their Config; its DETECTION_MIN_CONFIDENCE is the lowest score that counts.
        dataset: a prepared Dataset.
        folder: Path to write to.
        limit: how many of the first images to take, None for all.
        run: what the report says besides the metrics; None: what checkpoint and config say.

    Returns:
        metrics: as `frcnn.evaluate.evaluate_detections` gives them.
    """
    image_ids = [int(image_id) for image_id in dataset.image_ids[:limit]]
    model = inference_model(checkpoint, config, folder)
    results = evaluate.detect_dataset(model, dataset, image_ids, progress=shows_progress())
    metrics = evaluate.evaluate_detections(
        dataset, results, image_ids, min(100, config.DETECTION_MAX_INSTANCES),
        score_threshold=config.DETECTION_MIN_CONFIDENCE,
        nms_threshold=config.DETECTION_NMS_THRESHOLD)
    metrics["settings"]["checkpoint"] = str(checkpoint)
    evaluate.write_metrics(metrics, folder / "metrics.json")
    draw_detections(dataset, results, folder / "detections.png")
    write_report(folder / "report.html", dataset, results, metrics,
                 run or describe_run(checkpoint, config), image_ids,
                 score_threshold=PICTURE_MIN_CONFIDENCE)
    return metrics


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
    facts = {"data set": data, "command": command()}
    return Run(title=f"{path.parent.name}: " + (f"epoch {epoch}" if epoch else path.name),
               checkpoint=path, epoch=epoch, config=config, history=dict(history or {}),
               subset=f"{subset} (the first {limit})" if limit else subset,
               others=dict(others or {}),
               facts={name: value for name, value in facts.items() if value})


def inference_model(checkpoint: str | Path, config: Config, logs: str | Path) -> "MaskRCNN":
    """A MaskRCNN in inference mode with the checkpoint's weights."""
    start_backend()
    from frcnn.model.mask_rcnn import MaskRCNN

    model = MaskRCNN(mode="inference", config=config, model_dir=str(logs))
    model.load_weights(str(checkpoint), by_name=True)
    return model


def draw_losses(history: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Writes the loss curves as a PNG; `history` is `MaskRCNN.history`."""
    values = {name: np.array(line, float) for name, line in history.items() if name != "epoch"}
    axes = visualize.plot_losses(values, epochs=history.get("epoch"))
    visualize.save_figure(axes, path)


def draw_detections(dataset: Dataset, results: Mapping[int, Any], path: Path) -> None:
    """Writes a PNG of a few images, spread over the data set, with ground truth and detections."""
    image_ids = sorted(results)
    chosen = np.linspace(0, len(image_ids) - 1, min(PICTURES, len(image_ids))).round().astype(int)
    image_ids = [image_ids[place] for place in chosen]
    figure = visualize.draw_detections_beside_truth(
        [dataset.load_image(image_id) for image_id in image_ids],
        [dataset.load_boxes(image_id) for image_id in image_ids],
        [results[image_id] for image_id in image_ids],
        dataset.class_names,
        titles=[str(dataset.image_info[image_id]["id"]) for image_id in image_ids],
        score_threshold=PICTURE_MIN_CONFIDENCE)
    visualize.save_figure(figure, path)
