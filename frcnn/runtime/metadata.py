"""What an exported file says of itself: classes, molding, thresholds, and where it comes from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from frcnn.config import Config
from frcnn.errors import ConfigError, ExportError
from frcnn.files import parse_json, to_plain_json

FORMAT_VERSION = 1
KEY = "frcnn"  # of ONNX's metadata and OpenVINO's rt_info
FILE_NAME = "frcnn.json"  # in a SavedModel's assets, and in the archive behind a LiteRT model

FORMATS = ("savedmodel", "onnx", "openvino", "litert")
# Settings that are functions: a file does not name code.
_CODE = ("BACKBONE", "COMPUTE_BACKBONE_SHAPE")
# The settings that detection with the file depends on.
NEEDED = ("IMAGE_CHANNEL_COUNT", "IMAGE_MAX_DIM", "IMAGE_MIN_DIM", "IMAGE_MIN_SCALE",
          "IMAGE_RESIZE_MODE", "MEAN_PIXEL", "DETECTION_FLIPS", "DETECTION_FUSION_IOU",
          "DETECTION_MAX_INSTANCES", "DETECTION_MIN_CONFIDENCE", "NUM_CLASSES")


@dataclass(frozen=True)
class FileMetadata:
    """The content of an exported file's metadata.

    Attributes:
        format: one of FORMATS.
        class_names: by class id, the background's first.
        source_class_ids: the training data's own category id of each class, None for the
            background; empty if unknown.
        settings: those of the Config, by name, as JSON has them: the molding is in those that
            begin with IMAGE_ and in MEAN_PIXEL, the thresholds in those that begin with DETECTION_.
        precision: "float32" or "int8".
        shape: (height, width) of the only molded size; None for any that the molding gives.
        image_in_graph: whether the graph takes images as they are, and molds them itself.
        weights_sha256: of the values of all weights.
        checkpoint_sha256: of the checkpoint's file; empty if unknown.
        frcnn_version: of the package that wrote the file.
        format_version: of this description.
    """

    format: str
    class_names: list[str]
    settings: dict[str, Any]
    source_class_ids: list[Any] = field(default_factory=list)
    precision: str = "float32"
    shape: tuple[int, int] | None = None
    image_in_graph: bool = False
    weights_sha256: str = ""
    checkpoint_sha256: str = ""
    frcnn_version: str = ""
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The metadata as a JSON text of one line, in ASCII."""
        return json.dumps(to_plain_json(asdict(self)), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> "FileMetadata":
        """The metadata that `to_json` wrote.

        Args:
            text: the JSON.
            name: of the file, for messages.

        Raises:
            ExportError: it is not such a text, or of a newer version.
        """
        try:
            content = parse_json(text)
        except ValueError as error:
            raise ExportError(f"{name}: its metadata is not JSON: {error}.") from error
        version = content.get("format_version") if isinstance(content, dict) else None
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ExportError(f"{name} has no metadata of frcnn's; write such a file with "
                              "'frcnn export'.")
        if version > FORMAT_VERSION:
            raise ExportError(f"{name} is of format version {version}, and this frcnn reads up to "
                              f"{FORMAT_VERSION}; update frcnn, or export the checkpoint with "
                              "this one.")
        known = {item.name for item in fields(cls)}
        try:
            metadata = cls(**{key: value for key, value in content.items() if key in known})
            metadata._check()
        except (TypeError, ValueError) as error:
            raise ExportError(f"{name}: its metadata is damaged: {error}.") from error
        return metadata

    def _check(self) -> None:
        is_names = isinstance(self.class_names, list) and self.class_names \
            and all(isinstance(name, str) for name in self.class_names)
        if not is_names or self.format not in FORMATS or not isinstance(self.settings, Mapping):
            raise ConfigError("class names, format or settings are missing")
        if not isinstance(self.source_class_ids, list) \
                or len(self.source_class_ids) not in (0, len(self.class_names)):
            raise ConfigError("source_class_ids do not fit the class names")
        missing = [name for name in NEEDED if name not in self.settings]
        if missing:
            raise ConfigError(f"the settings lack {', '.join(missing)}")
        if self.shape is not None:
            height, width = (int(side) for side in self.shape)
            object.__setattr__(self, "shape", (height, width))
        if len(self.class_names) != self.config().NUM_CLASSES:
            raise ConfigError("NUM_CLASSES does not fit the class names")

    def config(self) -> Config:
        """The settings as a Config; a network of the user's own is left out."""
        return Config.from_json(json.dumps({name: value for name, value in self.settings.items()
                                            if ":" not in str(value) or name not in _CODE}))


def settings_of(config: Config) -> dict[str, Any]:
    """The settings of a Config that an exported file has: all but functions."""
    settings: dict[str, Any] = json.loads(config.to_json())
    return {name: value for name, value in settings.items()
            if not (name in _CODE and callable(getattr(config, name)))}
