"""Pictures on images: instances, boxes before and after refinement, grids of images."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcnn.arrays import (
    Array,
    ArrayLike,
    Boxes,
    ClassIds,
    DetectionResult,
    FloatArray,
    Image,
    IntArray,
    Shape,
)
from frcnn.compatibility import without_masks
from frcnn.evaluate.coco import boxes_of
from frcnn.visualize.canvas import (
    MAX_HEIGHT,
    NEUTRAL,
    Annotator,
    LegendEntry,
    add_legend,
    class_color,
    image_axes,
    new_figure,
    random_colors,
    show_if_window,
    show_image,
)

CROWD = " (crowd)"
# Inches: width of an image of a grid, space above it for a title, space between two.
PANEL, TITLE, GAP = 4.0, 0.35, 0.2
MAX_TALLNESS = 3  # height / width of a row of a grid; a taller image is drawn narrower
LEGEND_FROM = 50  # with as many objects or more, a legend explains the class colors


def display_images(images: Sequence[Image], titles: Sequence[str] | None = None, cols: int = 4,
                   cmap: Any = None, norm: Any = None, interpolation: str | None = None) -> Figure:
    """Images side by side, `cols` in a row.

    Args:
        images: `[H, W, 3]` or `[H, W]` arrays, of any sizes.
        titles: a str an image, or None.
        cols: images in a row.
        cmap, norm, interpolation: as of `Axes.imshow`.

    Returns:
        Figure.
    """
    titles = [""] * len(images) if titles is None else titles
    cols = max(min(cols, len(images)), 1)
    tallness = [np.shape(image)[0] / np.shape(image)[1] for image in images]
    heights = [PANEL * min(max(tallness[start:start + cols]), MAX_TALLNESS) + TITLE
               for start in range(0, len(images), cols)]
    figure = new_figure((cols * (PANEL + GAP), sum(heights) or PANEL))
    options = {"cmap": cmap, "norm": norm, "interpolation": interpolation}
    options = {name: value for name, value in options.items() if value is not None}
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(index, cols)
        ax = panel(figure, column * (PANEL + GAP), sum(heights[:row]) + TITLE, PANEL,
                   heights[row] - TITLE)
        ax.set_anchor("N")
        show_image(ax, image, str(title), **options)
    show_if_window(True)
    return figure


@without_masks(1, 2)
def display_instances(image: Image, boxes: ArrayLike, class_ids: ArrayLike,
                      class_names: Sequence[str], scores: ArrayLike | None = None,
                      title: str = "", figsize: tuple[float, float] = (16, 16),
                      ax: Axes | None = None, *, captions: Sequence[str | None] | None = None,
                      colors: Sequence[Any] | None = None,
                      styles: Sequence[str] | Array | None = None,
                      legend: bool | None = None, show_bbox: bool = True) -> Axes:
    """An image with its objects: boxes in the color of their class, names and scores.

    Args:
        image: `[H, W, 3]`.
        boxes: `[N, 4]` `(y1, x1, y2, x2)` in pixels of the image.
        class_ids: `[N]` int; negative for a crowd region, which is drawn dotted.
        class_names: names by class id, the background's first.
        scores: `[N]` float, or None.
        title: text above the image.
        figsize: (width, height) in inches within which a new figure fits; it has the image's
            proportions.
        ax: axes to draw on, or None for a new figure.
        captions: `[N]` str in place of name and score; for an empty str or None nothing is drawn.
        colors: `[N]` colors in place of the classes'.
        styles: `[N]` line styles in place of solid, and dotted for a crowd region.
        legend: whether to add a legend of the classes; None: on a new figure with 50 objects or
            more.
        show_bbox: whether to draw the boxes, or only their labels.

    Returns:
        Axes.
    """
    boxes, class_ids = np.asarray(boxes).reshape(-1, 4), np.asarray(class_ids, int)
    made, ax = ax is None, image_axes(image, figsize, ax)
    show_image(ax, image, title)
    annotator = Annotator(ax, len(boxes))
    if captions is None:
        shown = [None] * len(boxes) if scores is None else np.asarray(scores)
        captions = [caption(class_names, class_id, shown[i])
                    for i, class_id in enumerate(class_ids)]
    colors = [class_color(class_id) for class_id in class_ids] if colors is None else colors
    if styles is None:
        styles = ["dotted" if class_id < 0 else "solid" for class_id in class_ids]
    for box, color, style in zip(boxes, colors, styles, strict=True) if show_bbox else ():
        annotator.box(box, color, style)
    for box, text, color in _joined(boxes, captions, colors):
        annotator.label(box, text, color)
    if legend or (legend is None and made and len(boxes) >= LEGEND_FROM):
        add_legend(ax, _class_entries(class_ids, class_names))
    show_if_window(made)
    return ax


def _has_masks_before_captions(*args: Any, **kwargs: Any) -> bool:
    """Whether `draw_boxes` is called as in the reference, with masks before the captions.

    That is so where captions, visibilities or the title are one place further than here, or given
    by name.
    """
    if "captions" in kwargs:
        return True
    captions, visibilities, title = (*args[4:7], None, None, None)[:3]
    texts = captions if isinstance(captions, (list, tuple)) else ()
    return any(isinstance(text, str) for text in texts) \
        or not isinstance(visibilities, (str, type(None))) or isinstance(title, str)


@without_masks(1, 3, none_is_masks=_has_masks_before_captions)
def draw_boxes(image: Image, boxes: ArrayLike | None = None, refined_boxes: ArrayLike | None = None,
               captions: Sequence[str | None] | None = None,
               visibilities: Sequence[int] | IntArray | None = None, title: str = "",
               ax: Axes | None = None, *, colors: Sequence[Any] | None = None) -> Axes:
    """Boxes on an image, before refinement (dashed) and after (solid), a line between the two.

    Args:
        image: `[H, W, 3]`.
        boxes: `[N, 4]` pixels, or None. Alone they are solid.
        refined_boxes: `[N, 4]` pixels, the same boxes refined, or None.
        captions: `[N]` str, or None.
        visibilities: `[N]` of 0 (dim, gray, dotted), 1 (bright, dashed), 2 (bright, solid).
        title: str above the image.
        ax: axes to draw on, or None for a new figure.
        colors: `[N]` colors in place of random ones.

    Returns:
        Axes.
    """
    made, ax = ax is None, image_axes(image, (12, 12), ax)
    show_image(ax, image, title)
    before, after = (np.zeros((0, 4)) if given is None else np.asarray(given).reshape(-1, 4)
                     for given in (boxes, refined_boxes))
    count = max(len(before), len(after))
    annotator = Annotator(ax, count)
    colors = random_colors(count, bright=False, seed=0) if colors is None else colors
    default = "dashed" if len(after) else "solid"
    styles = {0: ("dotted", 0.6), 1: ("dashed", 1.0), 2: ("solid", 1.0)}
    labels = []
    for i in range(count):
        style, alpha = (default, 1.0) if visibilities is None else styles[int(visibilities[i])]
        color = NEUTRAL if visibilities is not None and visibilities[i] == 0 else colors[i]
        start, end = _box_at(before, i), _box_at(after, i)
        if start is not None:
            annotator.box(start, color, style, alpha)
        if end is not None:
            annotator.box(end, color)
        if start is not None and end is not None:
            ax.plot([start[1], end[1]], [start[0], end[0]], color=color,
                    linewidth=annotator.linewidth / 2)
        labelled = end if end is not None else start
        text = captions[i] if captions is not None else None
        if labelled is not None and text:
            labels.append((labelled, text, color))
    for label in labels:
        annotator.label(*label)
    show_if_window(made)
    return ax


def _box_at(boxes: FloatArray, index: int) -> FloatArray | None:
    """A box, or None for padding and where there are no boxes."""
    return boxes[index] if len(boxes) and np.any(boxes[index]) else None


@without_masks(1, 3)
def draw_rois(image: Image, rois: ArrayLike, refined_rois: ArrayLike, class_ids: ArrayLike,
              class_names: Sequence[str], limit: int | None = 10, ax: Axes | None = None, *,
              seed: int | None = None) -> Axes:
    """RoIs as the head gets them: positive ones with their target boxes, negative ones dim.

    Args:
        image: `[H, W, 3]`.
        rois: `[T, 4]` pixels; rows of zeros are padding.
        refined_rois: `[T, 4]` pixels, the RoIs with their deltas applied.
        class_ids: `[T]` int, 0 for a negative RoI.
        class_names: names by class id.
        limit: how many to draw, chosen at random; None draws all.
        ax: axes to draw on, or None for a new figure.
        seed: of the choice.

    Returns:
        Axes; the title has the numbers of positive and negative RoIs.
    """
    rois, refined_rois = np.asarray(rois), np.asarray(refined_rois)
    class_ids = np.asarray(class_ids, int)
    real = np.flatnonzero(np.any(rois != 0, axis=1))
    shown = real
    if limit and limit < len(real):
        shown = np.sort(np.random.default_rng(seed).choice(real, limit, replace=False))
    positive = class_ids[shown] > 0
    refined = np.where(positive[:, None], refined_rois[shown], 0)  # negative RoIs have no target
    total = int(np.count_nonzero(class_ids[real] > 0))
    share = f" ({total / len(real):.0%})" if len(real) else ""
    title = (f"{len(shown)} of {len(real)} RoIs; {total} positive{share}, "
             f"{len(real) - total} negative")
    return draw_boxes(
        image, rois[shown], refined if positive.any() else None,
        captions=[class_names[i] if i > 0 else "" for i in class_ids[shown]],
        visibilities=np.where(positive, 1, 0), title=title, ax=ax,
        colors=[class_color(i) for i in class_ids[shown]])


def draw_detections_beside_truth(images: Sequence[Image], truths: Sequence[tuple[Boxes, ClassIds]],
                                 results: Sequence[DetectionResult], class_names: Sequence[str], *,
                                 titles: Sequence[str] | None = None, score_threshold: float = 0.5,
                                 width: float = 16) -> Figure:
    """A grid: each row an image with its true boxes on the left, with its detections on the right.

    Args:
        images: list of `[H, W, 3]`.
        truths: list of (boxes `[G, 4]` pixels, class ids `[G]`, negative for a crowd region).
        results: list of `detect`'s dicts.
        class_names: names by class id.
        titles: list of str, a name an image, or None.
        score_threshold: detections with a lower score are left out.
        width: inches across, at most; images that would be higher than MAX_HEIGHT together are
            drawn smaller.

    Returns:
        Figure, for `save_figure`.
    """
    side, heights = _rows_of_two([np.shape(image)[:2] for image in images], (width - GAP) / 2)
    figure = new_figure((2 * side + GAP, sum(heights) or side))
    for row, (image, (boxes, class_ids), result) in enumerate(
            zip(images, truths, results, strict=True)):
        axes = [panel(figure, left, sum(heights[:row]) + TITLE, side, heights[row] - TITLE)
                for left in (0, side + GAP)]
        name = f"{titles[row]}: " if titles is not None else ""
        objects = counted(int(np.sum(np.asarray(class_ids) > 0)), "object")
        display_instances(image, boxes, class_ids, class_names, ax=axes[0],
                          title=f"{name}truth, {objects}")
        kept = np.asarray(result["scores"]) >= score_threshold
        display_instances(
            image, boxes_of(result)[kept], np.asarray(result["class_ids"])[kept], class_names,
            np.asarray(result["scores"])[kept], ax=axes[1],
            title=f"{name}{counted(int(kept.sum()), 'detection')}, "
                  f"score {score_threshold:g} or more")
    return figure


def _rows_of_two(shapes: Sequence[Shape], side: float) -> tuple[float, list[float]]:
    """Inches: the width of an image's panel, at most `side`, and the heights of the rows.

    The highest rows are cut to one height at which all fit into MAX_HEIGHT.
    """
    tallness = [height / width for height, width in shapes]
    natural = sorted(side * ratio for ratio in tallness)
    space = MAX_HEIGHT - len(shapes) * TITLE
    limit = max([*natural, TITLE])
    for place, height in enumerate(natural):
        if height * (len(natural) - place) > space:
            limit = max(space / (len(natural) - place), TITLE)
            break
        space -= height
    heights = [min(side * ratio, limit) for ratio in tallness]
    widest = max((min(side, height / ratio) for height, ratio in zip(heights, tallness)),
                 default=side)
    return widest, [height + TITLE for height in heights]


def caption(class_names: Sequence[str], class_id: int, score: float | None = None) -> str:
    """The label of an object: its class name, and its score if there is one."""
    name = class_names[abs(int(class_id))] + (CROWD if class_id < 0 else "")
    return name if score is None else f"{name} {score:.2f}"


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a position of a figure, in inches from its upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across,
                            height / down))


def _joined(boxes: FloatArray, captions: Sequence[str | None], colors: Sequence[Any]
            ) -> Iterator[tuple[FloatArray, str, Any]]:
    """(box, caption, color) of each label; objects with equal boxes share a label.

    A region that could not be annotated is often a crowd region of every class.
    """
    groups: dict[tuple[float, ...], list[tuple[str, Any]]] = {}
    for box, text, color in zip(boxes, captions, colors, strict=True):
        if text:
            groups.setdefault(tuple(box), []).append((text, color))
    for box, entries in groups.items():
        texts = list(dict.fromkeys(text for text, _ in entries))
        if all(text.endswith(CROWD) for text in texts):
            texts = [text.removesuffix(CROWD) for text in texts[:-1]] + texts[-1:]
        one = len({matplotlib.colors.to_hex(color) for _, color in entries}) == 1
        yield np.array(box), ", ".join(texts), entries[0][1] if one else NEUTRAL


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _class_entries(class_ids: IntArray, class_names: Sequence[str]) -> list[LegendEntry]:
    ids, counts = np.unique(np.abs(class_ids), return_counts=True)
    return [LegendEntry(class_color(class_id), f"{class_names[class_id]} ({count})", "solid")
            for class_id, count in zip(ids, counts, strict=True)]
