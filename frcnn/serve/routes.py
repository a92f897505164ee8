"""The routes under /v1/: detection, files and totals."""

import asyncio
import base64
import io
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image as Pictures
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from frcnn.arrays import DetectionResult, Image
from frcnn.errors import FrcnnError
from frcnn.formats.registry import FORMATS
from frcnn.serve import counting, schemas, uploads
from frcnn.serve.export import MEDIA_TYPES, exported, is_available
from frcnn.serve.limits import Limits, Refusal
from frcnn.serve.service import Service

_REFERENCE = "#/components/schemas/{model}"
MAX_PREVIEW = 2000  # pixels of a side
_ERRORS = {
    400: "The request or its file cannot be read.", 401: "The token is missing or wrong.",
    403: "A page of another site sent the request.", 408: "The body arrived too slowly.",
    413: "The file has too many bytes or pixels.", 415: "The file is of another type.",
    422: "A value is not allowed.", 429: "Too many requests; Retry-After has the seconds to wait.",
    503: "The model is being loaded, or too many requests are under way; see Retry-After."}

Body = TypeVar("Body", bound=BaseModel)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of the errors that a route may answer with."""
    return {status: {"model": schemas.Error, "description": _ERRORS[status]}
            for status in statuses}


def first_fault(faults: Any) -> str:
    """One sentence about the first thing that is wrong with a request."""
    fault = faults[0]
    place = ".".join(str(part) for part in fault["loc"] if part not in ("query", "body"))
    return f"{place or 'The body'}: {fault['msg']}; /docs describes what is allowed."


async def _parsed(request: Request, kind: type[Body], limits: Limits) -> Body:
    """The JSON of a request's body."""
    body = await uploads.read_body(request.stream(), request.headers, limits)
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        raise Refusal(422, first_fault(error.errors())) from None


def _json_body(kind: type[BaseModel]) -> dict[str, Any]:
    """The description of a body that `_parsed` reads."""
    return {"requestBody": {"required": True, "content": {"application/json": {
        "schema": {"$ref": _REFERENCE.format(model=kind.__name__)}}}}}


def request_schemas() -> dict[str, Any]:
    """The JSON that bodies have, by name, for the description; FastAPI knows that of answers."""
    _, schemas_of = models_json_schema(
        [(schemas.ExportRequest, "validation"), (schemas.TotalRequest, "validation")],
        ref_template=_REFERENCE)
    definitions: dict[str, Any] = schemas_of["$defs"]
    return definitions


# --- detection ------------------------------------------------------------------------------------

_UPLOAD = {"requestBody": {"required": True, "content": {
    "multipart/form-data": {"schema": {
        "type": "object", "required": ["file"], "description": "One field, named file.",
        "properties": {"file": {"type": "string", "format": "binary"}}}},
    "image/*": {"schema": {"type": "string", "format": "binary",
                           "description": "The file itself."}}}}}


def add_detection(app: FastAPI, service: Service) -> None:
    """Adds detection."""
    @app.post("/v1/detect", response_model=schemas.DetectAnswer,
              response_description="What was found.", openapi_extra=_UPLOAD,
              responses=described(400, 401, 403, 408, 413, 415, 422, 429, 503))
    async def detect(
        request: Request,
        min_score: Annotated[float | None, Query(
            ge=0, le=1, allow_inf_nan=False, description="Leaves out detections with a lower "
            "score; by default, default_score of /v1/model.")] = None,
        name: Annotated[str | None, Query(
            max_length=uploads.MAX_NAME, description="The image's name, where the body is the "
            "file itself.")] = None,
        preview: Annotated[bool, Query(
            description="Whether the answer has the image, for what cannot show a TIFF.")] = False,
    ) -> JSONResponse:
        """Detects objects in one image: PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000 or AVIF.

        Images of more than 8 bits, and those that are turned by their EXIF orientation, are read
        as `frcnn detect` reads them.
        """
        service.check_ready()
        length = uploads.declared_length(request.headers, service.limits)
        with service.requests.taken(), service.bytes.taken(length):
            body = await uploads.read_body(request.stream(), request.headers, service.limits)
            file = uploads.file_of(body, request.headers, name)
            body.clear()
            config = service.batcher.detector.config
            channels = config.IMAGE_CHANNEL_COUNT
            height, width = await service.in_thread(uploads.size_of, file, channels, service.limits)
            with service.pixels.taken(height * width):
                image, doubt = await service.in_thread(
                    uploads.decode, file, channels, config.IMAGE_INTENSITY_RANGE)
                result = await _detected(service, image)
                picture = await service.in_thread(_preview, image) if preview else None
                least = service.default_score if min_score is None else min_score
                answer = await service.in_thread(_answer, service, file.name, image, result, least)
                return JSONResponse(answer | {"doubt": doubt or None, "preview": picture})


async def _detected(service: Service, image: Image) -> DetectionResult:
    """What is found in an image, in its turn."""
    try:
        return await asyncio.wrap_future(service.batcher.submit(image))
    except (FrcnnError, ValueError) as error:
        raise Refusal(422, " ".join(str(error).split())) from error
    except MemoryError as error:
        raise Refusal(413, "The image takes more memory than the server has; send a smaller "
                           "one.") from error
    except Exception as error:  # logged by the batcher
        raise Refusal(500, "The server failed with this image; its log says why.") from error


def _answer(service: Service, name: str, image: Image, result: DetectionResult,
            least: float) -> dict[str, Any]:
    height, width = image.shape[:2]
    class_ids, scores = result["class_ids"], result["scores"]
    names = [service.classes.name(number) for number in range(len(service.classes.names))]
    service.metrics.images.inc()
    for number in class_ids.tolist():
        service.metrics.objects.labels(names[number]).inc()
    counts = counting.counts(class_ids, scores, least, service.classes, service.calibration)
    return {
        "image": {"name": name, "width": width, "height": height},
        "detections": [
            {"box": box, "class_id": number, "class_name": names[number], "score": score}
            for box, number, score in zip(result["boxes"].tolist(), class_ids.tolist(),
                                          scores.tolist()) if score >= least],
        "counts": [count.model_dump() for count in counts],
        "model": {"digest": service.digest, "classes": names[1:]}}


def _preview(image: Image) -> str:
    """The image as a data URL, at most MAX_PREVIEW pixels a side."""
    picture = Pictures.fromarray(image[..., 0] if image.shape[-1] < 3 else image[..., :3])
    picture.thumbnail((MAX_PREVIEW, MAX_PREVIEW))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


# --- files and totals -----------------------------------------------------------------------------


def add_files(app: FastAPI, service: Service) -> None:
    """Adds files to save, and totals."""
    @app.post("/v1/export", response_class=Response, openapi_extra=_json_body(
        schemas.ExportRequest), responses={
            200: {"description": "The file.", "content": {"application/octet-stream": {}}},
            **described(401, 403, 408, 413, 422, 429, 503)})
    async def export(
        request: Request,
        format: Annotated[str, Query(description="One of the formats of /v1/model.")],
    ) -> Response:
        """Detections as a file; several files come as a ZIP."""
        with service.requests.taken():
            wanted = await _parsed(request, schemas.ExportRequest, service.limits)
            content, name = await service.in_thread(exported, wanted, format, service.classes)
        safe = name.encode("ascii", "replace").decode().translate({ord(x): "_" for x in '"\\?'})
        return Response(content, media_type=MEDIA_TYPES[Path(name).suffix], headers={
            "Content-Disposition": f'attachment; filename="{safe}"'})

    @app.post("/v1/totals", response_model=schemas.TotalAnswer,
              response_description="The numbers.", openapi_extra=_json_body(
                  schemas.TotalRequest), responses=described(401, 403, 408, 413, 422, 429, 503))
    async def totals(request: Request) -> schemas.TotalAnswer:
        """Numbers to expect in several images together, with intervals; empty without calibration.

        Intervals of single images cannot be added; this is the way to join them.
        """
        with service.requests.taken():
            wanted = await _parsed(request, schemas.TotalRequest, service.limits)
            images = [([found.class_id for found in image.detections],
                       [found.score for found in image.detections]) for image in wanted.images]
            return schemas.TotalAnswer(counts=await service.in_thread(
                counting.totals, images, service.calibration))


# --- the model ------------------------------------------------------------------------------------


def add_model(app: FastAPI, service: Service) -> None:
    """Adds the description of the detector."""
    @app.get("/v1/model", response_model=schemas.ModelAnswer,
             response_description="The detector.", responses=described(401, 429))
    async def model() -> schemas.ModelAnswer:
        """The detector's classes and scores, formats of files, and what the server accepts."""
        return _model_answer(service)


def _model_answer(service: Service) -> schemas.ModelAnswer:
    classes, limits = service.classes, service.limits
    return schemas.ModelAnswer(
        name=service.name, digest=service.digest,
        classes=[schemas.ClassInfo(id=number, name=classes.name(number),
                                   color="#{:02x}{:02x}{:02x}".format(*classes.color(number)))
                 for number in range(1, len(classes.names))],
        lowest_score=service.batcher.detector.config.DETECTION_MIN_CONFIDENCE,
        default_score=service.default_score, calibrated=bool(service.calibration.classes),
        level=counting.LEVEL,
        formats=[schemas.FormatInfo(name=name, ending=known.ending, text=known.text,
                                    by_image=known.by_image, available=is_available(known))
                 for name, known in FORMATS.items()],
        limits=schemas.LimitInfo(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels,
                                 queue=limits.queue, requests_per_minute=limits.rate))


