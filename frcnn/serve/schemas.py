"""The JSON of the HTTP interface."""

from typing import Annotated

from pydantic import BaseModel, Field

MOST_IMAGES, MOST_DETECTIONS, MAX_SIDE = 10_000, 100_000, 2**20

Coordinate = Annotated[float, Field(ge=-MAX_SIDE, le=2 * MAX_SIDE, allow_inf_nan=False)]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Error(BaseModel):
    """What every answer is that is not the one asked for."""

    error: str = Field(description="One sentence: what is wrong, and what to do.")


class ImageInfo(BaseModel):
    """An image."""

    name: str
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")


class Detection(BaseModel):
    """An object that was found."""

    box: list[float] = Field(description="y1, x1, y2, x2 in pixels of the image as it is shown; "
                                         "y2 and x2 lie outside of the box.")
    class_id: int
    class_name: str
    score: float


class Count(BaseModel):
    """The number of objects of one class."""

    class_id: int
    class_name: str
    detected: int = Field(description="Detections from min_score on.")
    expected: float | None = Field(description="The number to expect, by the scores of all "
                                               "detections; null without a calibration.")
    interval: tuple[float, float] | None = Field(
        description="Contains the true number in nine of ten images; null without a calibration.")


class ModelName(BaseModel):
    """Which detector answered."""

    digest: str = Field(description="SHA-256 of the file.")
    classes: list[str]


class DetectAnswer(BaseModel):
    """What was found in an image."""

    image: ImageInfo
    detections: list[Detection] = Field(description="Best first.")
    counts: list[Count] = Field(description="One a class.")
    model: ModelName
    doubt: str | None = Field(None, description="Why the image's values may have been read with "
                                                "the wrong range; null without a doubt.")
    preview: str | None = Field(None, description="The image as a data URL, if asked for.")


class ClassInfo(BaseModel):
    """A class of the detector."""

    id: int
    name: str
    color: str = Field(description="#rrggbb, as in the files.")


class FormatInfo(BaseModel):
    """A format of `/v1/export`."""

    name: str
    ending: str
    text: str
    by_image: bool = Field(description="Whether each image has a file of its own; several come as "
                                       "a ZIP.")
    available: bool = Field(description="Whether the library that writes it is installed.")


class LimitInfo(BaseModel):
    """What the server accepts."""

    max_bytes: int
    max_pixels: int
    queue: int
    requests_per_minute: int


class ModelAnswer(BaseModel):
    """The detector, and what the server accepts."""

    name: str
    digest: str
    classes: list[ClassInfo]
    lowest_score: float = Field(description="Below it, nothing is found.")
    default_score: float = Field(description="The default of min_score.")
    calibrated: bool = Field(description="Whether expected numbers are given.")
    level: float = Field(description="Share of the intervals that contain the true number.")
    formats: list[FormatInfo]
    limits: LimitInfo


class ExportDetection(BaseModel):
    """An object to write; more fields, as `/v1/detect` gives them, are ignored."""

    box: Annotated[list[Coordinate], Field(min_length=4, max_length=4)]
    class_id: Annotated[int, Field(ge=1)]
    score: Score


class ExportImage(BaseModel):
    """An image with its objects."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    width: Side
    height: Side
    detections: Annotated[list[ExportDetection], Field(max_length=MOST_DETECTIONS)]


class ExportRequest(BaseModel):
    """The detections to write as a file."""

    images: Annotated[list[ExportImage], Field(min_length=1, max_length=MOST_IMAGES)]


class TotalDetection(BaseModel):
    """An object to count; more fields are ignored."""

    class_id: int
    score: Score


class TotalImage(BaseModel):
    """The objects in an image."""

    detections: Annotated[list[TotalDetection], Field(max_length=MOST_DETECTIONS)]


class TotalRequest(BaseModel):
    """The detections in several images, those of low scores too."""

    images: Annotated[list[TotalImage], Field(min_length=1, max_length=MOST_IMAGES)]


class Total(BaseModel):
    """The number to expect in several images together."""

    expected: float
    interval: tuple[float, float]


class TotalAnswer(BaseModel):
    """By class id."""

    counts: dict[int, Total]


class Health(BaseModel):
    """Whether the server detects."""

    status: str
