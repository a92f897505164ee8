"""`frcnn anchors`: how well the anchors fit a data set's objects, and which would fit better."""

import argparse
from pathlib import Path

import numpy as np

from frcnn.arrays import FloatArray
from frcnn.cli.options import positive_integer, setting
from frcnn.cli.outputs import check_plot
from frcnn.cli.program import Parser, program
from frcnn.cli.sample import ANY_FOLDER
from frcnn.data.anchor_fit import (
    COVERED_IOU,
    AnchorShapes,
    Objects,
    best_ious,
    coverage,
    fit_anchors,
    molded_objects,
)
from frcnn.data.folders import open_folder
from frcnn.errors import DatasetError
from frcnn.files import expanded

DESCRIPTION = """\
Compares the sizes and shapes of a data set's objects with the anchors of the five pyramid levels,
and recommends scales and ratios (RPN_ANCHOR_SCALES, RPN_ANCHOR_RATIOS) that fit better. The
objects are measured as the network sees them: after resizing.

An object that no anchor meets with an IoU of at least 0.5 is learned late or never.
"""


def build_parser(prog: str = "frcnn anchors") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("folder", metavar="DIR", help="data set in COCO's or Pascal VOC's layout")
    parser.add_argument("--subset", default="train", metavar="NAME",
                        help="which of its subsets (default: train)")
    parser.add_argument("--image-size", type=positive_integer, metavar="PIXELS",
                        help="longer side of the resized images, as in training (default: "
                             f"{ANY_FOLDER.config.IMAGE_MAX_DIM})")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
                        dest="settings",
                        help="any other setting of frcnn.config.Config, such as "
                             "RPN_ANCHOR_STRIDE=1; may be repeated")
    parser.add_argument("--output", metavar="FILE",
                        help="also write a plot of sizes and IoU to this .png")
    return parser


@program
def main(argv: list[str] | None = None, prog: str = "frcnn anchors") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv))


def run(options: argparse.Namespace) -> int:
    """Compares as the options of `build_parser` say; returns the exit code."""
    sides = {} if options.image_size is None else {
        "IMAGE_MIN_DIM": options.image_size, "IMAGE_MAX_DIM": options.image_size}
    config = ANY_FOLDER.config.replaced(**{**sides, **dict(options.settings)})
    dataset = open_folder(expanded(options.folder), options.subset, skip_bad=True)
    if options.output:
        check_plot("--output", options.output, (info.get("path") for info in dataset.image_info))
    objects = molded_objects(dataset, config)
    if not len(objects):
        raise DatasetError(f"The subset {options.subset!r} of {options.folder} has no objects to "
                           "compare anchors with.")
    present = AnchorShapes.from_config(config)
    fitted = fit_anchors(objects, present)
    ious = [best_ious(objects, anchors) for anchors in (present, fitted)]
    print(f"{len(objects)} objects in {dataset.num_images} images, resized to "
          f"{config.IMAGE_MAX_DIM} pixels, an anchor at every "
          f"{'cell' if present.anchor_stride == 1 else f'{present.anchor_stride}nd cell'}\n")
    print(format_levels(objects, present, ious[0]) + "\n")
    print(format_classes(objects, dataset.class_names, ious) + "\n")
    print(recommendation(present, fitted, [coverage(each) for each in ious]))
    if options.output:
        path = draw(objects, dataset.class_names, (present, fitted), ious, options.output)
        print(f"plot          {path}")
    return 0


def format_levels(objects: Objects, anchors: AnchorShapes, ious: FloatArray) -> str:
    """A table of the levels: scale, distance between anchors, and the objects they fit best."""
    best = ious.max(axis=2)
    level_of = best.argmax(axis=1)
    lines = ["level  scale  distance  objects  covered"]
    for level, (scale, stride) in enumerate(zip(anchors.scales, anchors.strides)):
        own = level_of == level
        covered = f"{(best[own, level] >= COVERED_IOU).mean():8.1%}" if own.any() else "       -"
        lines.append(f"P{level + 2:<4} {scale:6g} {stride * anchors.anchor_stride:9} "
                     f"{int(own.sum()):8} {covered}")
    return "\n".join(lines)


def format_classes(objects: Objects, class_names: list[str], ious: list[FloatArray]) -> str:
    """A table of the classes: size, and the share of objects with an anchor, present and fitted."""
    sides = np.sqrt((objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(axis=1))
    width = max(5, *(len(name) for name in class_names))
    lines = [f"{'class':{width}}  objects  size (5 to 95 %)  covered  recommended"]
    rows = [(class_names[class_id], objects.class_ids == class_id)
            for class_id in np.unique(objects.class_ids)]
    for name, own in [*rows, ("all", np.ones(len(objects), bool))]:
        low, high = np.percentile(sides[own], [5, 95])
        shares = "".join(f"{coverage(each[own]):{space}.1%}" for each, space in zip(ious, (9, 13)))
        lines.append(f"{name:{width}} {int(own.sum()):8} {low:9.0f} to {high:4.0f}{shares}")
    return "\n".join(lines)


def recommendation(present: AnchorShapes, fitted: AnchorShapes, shares: list[float]) -> str:
    """What to set, with the gain; or that there is nothing better."""
    if fitted == present:
        return "No other scales and ratios that were tried fit better."

    def values(numbers: tuple[float, ...]) -> str:
        return ",".join(f"{number:g}" for number in numbers)

    return (f"recommended   --set RPN_ANCHOR_SCALES={values(fitted.scales)} "
            f"--set RPN_ANCHOR_RATIOS={values(fitted.ratios)}\n"
            f"covered       {shares[0]:.1%} of the objects now, {shares[1]:.1%} with these")


def draw(objects: Objects, class_names: list[str], anchors: tuple[AnchorShapes, AnchorShapes],
         ious: list[FloatArray], path: str) -> Path:
    """Writes the plot; returns its path."""
    from frcnn.visualize.anchors import plot_anchor_fit
    from frcnn.visualize.canvas import save_figure

    shapes = [np.array([(scale / ratio**0.5, scale * ratio**0.5)
                        for scale in each.scales for ratio in each.ratios]) for each in anchors]
    figure = plot_anchor_fit(objects.boxes.astype(np.float32), objects.class_ids, class_names,
                             shapes, [each.max(axis=(1, 2)) for each in ious])
    return save_figure(figure, path)
