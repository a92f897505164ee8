"""Pictures on images: instances, boxes before and after refinement, grids of images."""

import matplotlib
import numpy as np

from frcnn.visualize.canvas import (
    NEUTRAL,
    Brush,
    add_legend,
    class_color,
    image_axes,
    new_figure,
    random_colors,
    show_if_window,
    show_image,
)

CROWD = " (crowd)"
# inches: across an image of a grid, above it, between two
PANEL, TITLE, GAP = 4.0, 0.35, 0.2
LEGEND_FROM = 50  # with as many objects, class colours are explained below the image


def display_images(images, titles=None, cols=4, cmap=None, norm=None, interpolation=None):
    """Images side by side, `cols` in a row.

    Args:
        images: `[H, W, 3]` or `[H, W]` arrays, of any sizes.
        titles: str for each, or None.
        cols: images in a row.
        cmap, norm, interpolation: as of `Axes.imshow`.

    Returns:
        Figure.
    """
    titles = [""] * len(images) if titles is None else titles
    cols = max(min(cols, len(images)), 1)
    tallness = [np.shape(image)[0] / np.shape(image)[1] for image in images]
    heights = [PANEL * max(tallness[start:start + cols]) + TITLE
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


def display_instances(image, boxes, class_ids, class_names, scores=None, title="",
                      figsize=(16, 16), ax=None, *, captions=None, colors=None, styles=None,
                      legend=None):
    """An image with its objects: boxes in the colour of their class, names and scores.

    Args:
        image: `[H, W, 3]`.
        boxes: `[N, 4]` `(y1, x1, y2, x2)` in pixels of the image.
        class_ids: `[N]` int; a negative one is a crowd's, drawn dotted.
        class_names: names by class id, with the background's.
        scores: `[N]` float, or None.
        title: str above the image.
        figsize: inches that a new figure may take; it has the image's proportions.
        ax: axes to draw on, or None for a new figure.
        captions: `[N]` str in place of name and score; an empty one is left out.
        colors: `[N]` colours in place of the classes'.
        styles: `[N]` line styles in place of solid, and dotted for a crowd.
        legend: whether to name the classes below the image; None does where there are many objects.

    Returns:
        Axes.
    """
    boxes, class_ids = np.asarray(boxes).reshape(-1, 4), np.asarray(class_ids, int)
    made, ax = ax is None, image_axes(image, figsize, ax)
    show_image(ax, image, title)
    brush = Brush(ax, len(boxes))
    if captions is None:
        captions = [caption(class_names, class_id, None if scores is None else scores[i])
                    for i, class_id in enumerate(class_ids)]
    colors = [class_color(class_id) for class_id in class_ids] if colors is None else colors
    if styles is None:
        styles = np.where(class_ids < 0, "dotted", "solid")
    for box, color, style in zip(boxes, colors, styles, strict=True):
        brush.box(box, color, style)
    for box, text, color in _joined(boxes, captions, colors):
        brush.label(box, text, color)
    if legend or (legend is None and made and len(boxes) >= LEGEND_FROM):
        add_legend(ax, _class_entries(class_ids, class_names))
    show_if_window(made)
    return ax


def draw_boxes(image, boxes=None, refined_boxes=None, captions=None, visibilities=None, title="",
               ax=None, *, colors=None):
    """Boxes on an image, before refinement (dashed) and after (solid), a line between the two.

    Args:
        image: `[H, W, 3]`.
        boxes: `[N, 4]` pixels, or None. Alone they are solid.
        refined_boxes: `[N, 4]` pixels, the same boxes refined, or None.
        captions: `[N]` str, or None.
        visibilities: `[N]` of 0 (dim, gray, dotted), 1 (bright, dashed), 2 (bright, solid).
        title: str above the image.
        ax: axes to draw on, or None for a new figure.
        colors: `[N]` colours in place of random ones.

    Returns:
        Axes.
    """
    made, ax = ax is None, image_axes(image, (12, 12), ax)
    show_image(ax, image, title)
    before = [] if boxes is None else np.asarray(boxes)
    after = [] if refined_boxes is None else np.asarray(refined_boxes)
    count = max(len(before), len(after))
    brush = Brush(ax, count)
    colors = random_colors(count, bright=False, seed=0) if colors is None else colors
    default = "dashed" if len(after) else "solid"
    styles = {0: ("dotted", 0.6), 1: ("dashed", 1.0), 2: ("solid", 1.0)}
    labels = []
    for i in range(count):
        style, alpha = (default, 1.0) if visibilities is None else styles[int(visibilities[i])]
        color = NEUTRAL if visibilities is not None and visibilities[i] == 0 else colors[i]
        ends = [boxes[i] if len(boxes) and np.any(boxes[i]) else None for boxes in (before, after)]
        if ends[0] is not None:
            brush.box(ends[0], color, style, alpha)
        if ends[1] is not None:
            brush.box(ends[1], color)
        if ends[0] is not None and ends[1] is not None:
            ax.plot([ends[0][1], ends[1][1]], [ends[0][0], ends[1][0]], color=color,
                    linewidth=brush.linewidth / 2)
        shown = ends[1] if ends[1] is not None else ends[0]
        if shown is not None and captions is not None and captions[i]:
            labels.append((shown, captions[i], color))
    for label in labels:
        brush.label(*label)
    show_if_window(made)
    return ax


def draw_rois(image, rois, refined_rois, class_ids, class_names, limit=10, ax=None, *, seed=None):
    """RoIs as the head gets them: positive ones with what they shall become, negative ones dim.

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
        Axes; its title tells how many RoIs are positive and negative.
    """
    rois, refined_rois = np.asarray(rois), np.asarray(refined_rois)
    class_ids = np.asarray(class_ids, int)
    real = np.flatnonzero(np.any(rois != 0, axis=1))
    shown = real
    if limit and limit < len(real):
        shown = np.sort(np.random.default_rng(seed).choice(real, limit, replace=False))
    positive = class_ids[shown] > 0
    refined = np.where(positive[:, None], refined_rois[shown], 0)  # a negative one has no target
    total = int(np.count_nonzero(class_ids[real] > 0))
    share = f" ({total / len(real):.0%})" if len(real) else ""
    title = (f"{len(shown)} of {len(real)} RoIs; {total} positive{share}, "
             f"{len(real) - total} negative")
    return draw_boxes(
        image, rois[shown], refined if positive.any() else None,
        captions=[class_names[i] if i > 0 else "" for i in class_ids[shown]],
        visibilities=np.where(positive, 1, 0), title=title, ax=ax,
        colors=[class_color(i) for i in class_ids[shown]])


def draw_detections_beside_truth(images, truths, results, class_names, *, titles=None,
                                 score_threshold=0.5, width=16):
    """A grid: each row an image with its true boxes on the left, with its detections on the right.

    Args:
        images: list of `[H, W, 3]`.
        truths: list of (boxes `[G, 4]` pixels, class ids `[G]`, negative for a crowd).
        results: list of `detect`'s dicts.
        class_names: names by class id.
        titles: list of str, a name for each image, or None.
        score_threshold: detections with a lower score are left out.
        width: inches across.

    Returns:
        Figure, to be written by `save_figure`.
    """
    side = (width - GAP) / 2
    heights = [side * np.shape(image)[0] / np.shape(image)[1] + TITLE for image in images]
    figure = new_figure((width, sum(heights) or side))
    for row, (image, (boxes, class_ids), result) in enumerate(
            zip(images, truths, results, strict=True)):
        axes = [panel(figure, left, sum(heights[:row]) + TITLE, side, heights[row] - TITLE)
                for left in (0, side + GAP)]
        name = f"{titles[row]}: " if titles is not None else ""
        objects = counted(np.count_nonzero(np.asarray(class_ids) > 0), "object")
        display_instances(image, boxes, class_ids, class_names, ax=axes[0],
                          title=f"{name}truth, {objects}")
        kept = np.asarray(result["scores"]) >= score_threshold
        found = result["boxes"] if "boxes" in result else result["rois"]
        display_instances(
            image, np.asarray(found)[kept], np.asarray(result["class_ids"])[kept], class_names,
            np.asarray(result["scores"])[kept], ax=axes[1],
            title=f"{name}{counted(np.count_nonzero(kept), 'detection')}, "
                  f"score {score_threshold:g} or more")
    return figure


def caption(class_names, class_id, score=None):
    """Name and score of an object, as its label tells them."""
    name = class_names[abs(int(class_id))] + (CROWD if class_id < 0 else "")
    return name if score is None else f"{name} {score:.2f}"


def panel(figure, left, top, width, height):
    """Axes at a place of a figure, in inches from its upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes([left / across, 1 - (top + height) / down, width / across,
                            height / down])


def _joined(boxes, captions, colors):
    """(box, caption, colour) of each label; what has one and the same box shares a label.

    A region that nobody could name is often a crowd of every class.
    """
    groups = {}
    for box, text, color in zip(boxes, captions, colors, strict=True):
        if text:
            groups.setdefault(tuple(box), []).append((text, color))
    for box, entries in groups.items():
        texts = list(dict.fromkeys(text for text, _ in entries))
        if all(text.endswith(CROWD) for text in texts):
            texts = [text.removesuffix(CROWD) for text in texts[:-1]] + texts[-1:]
        one = len({matplotlib.colors.to_hex(color) for _, color in entries}) == 1
        yield box, ", ".join(texts), entries[0][1] if one else NEUTRAL


def counted(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _class_entries(class_ids, class_names):
    ids, counts = np.unique(np.abs(class_ids), return_counts=True)
    return [(class_color(class_id), f"{class_names[class_id]} ({count})", "solid")
            for class_id, count in zip(ids, counts, strict=True)]
