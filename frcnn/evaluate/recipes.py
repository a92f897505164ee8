"""The optional steps of a detector, as an evaluation records them."""

from typing import Any

from frcnn.config import Config


def detection_recipes(config: Config) -> dict[str, Any]:
    """The optional steps of a detector that its Config switches on, for `evaluate_detections`.

    Returns:
        A dict with `flips` (list) and `fusion_iou` where there are DETECTION_FLIPS, and
        `box_voting` where DETECTION_BOX_VOTING is not 0. A model's own configuration without these
        settings has none.
    """
    recipes: dict[str, Any] = {}
    if flips := getattr(config, "DETECTION_FLIPS", ()):
        recipes["flips"], recipes["fusion_iou"] = list(flips), config.DETECTION_FUSION_IOU
    if voting := getattr(config, "DETECTION_BOX_VOTING", 0):
        recipes["box_voting"] = voting
    return recipes
