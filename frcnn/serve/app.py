"""The application: routes, the page, errors, and the guard around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from frcnn import __version__
from frcnn.serve import schemas
from frcnn.serve.docs import docs_page
from frcnn.serve.guard import Guard, refused
from frcnn.serve.limits import RateLimiter, Refusal
from frcnn.serve.routes import (
    add_detection,
    add_files,
    add_model,
    described,
    first_fault,
    request_schemas,
)
from frcnn.serve.service import Service

PAGE = Path(__file__).parent / "page"
PAGE_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
              ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
DESCRIPTION = ("Detects objects in images. Boxes are y1, x1, y2, x2 in pixels of the image. Every "
               "error is an object with one sentence under \"error\". If the server was started "
               "with a token, requests to /v1/ and /metrics need the header "
               "'Authorization: Bearer TOKEN'.")


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        description = super().openapi()
        description["components"]["schemas"].update(request_schemas())
        return description


def make_app(service: Service) -> ASGIApp:
    """The ASGI application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.batcher.close)
        service.threads.shutdown()

    app = _Application(title="frcnn", version=__version__, description=DESCRIPTION, docs_url=None,
                  redoc_url=None, lifespan=lifespan)
    _add_errors(app)
    add_detection(app, service)
    add_files(app, service)
    add_model(app, service)
    _add_state(app, service)
    _add_page(app)
    routes = [path for route in app.routes if (path := getattr(route, "path", None))]
    return Guard(app, service.access, RateLimiter(service.limits.rate), service.metrics, routes)


# --- errors ---------------------------------------------------------------------------------------


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def on_refusal(request: Request, error: Refusal) -> Response:
        return refused(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return refused(Refusal(422, first_fault(error.errors())))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        texts = {404: "There is no such page; / is the page, /docs describes the interface.",
                 405: "This method is not allowed here; /docs describes the interface."}
        return JSONResponse({"error": texts.get(error.status_code, str(error.detail))},
                            error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "The server failed with this request; its log says why."},
                            500)


# --- the page and the state -----------------------------------------------------------------------


def _add_page(app: FastAPI) -> None:
    files = {path.name: (path.read_bytes(), PAGE_TYPES[path.suffix])
             for path in sorted(PAGE.iterdir()) if path.suffix in PAGE_TYPES}

    def add(path: str, name: str) -> None:
        content, kind = files[name]

        async def serve() -> Response:
            return Response(content, media_type=kind)

        app.add_api_route(path, serve, methods=["GET", "HEAD"], include_in_schema=False)

    add("/", "index.html")
    add("/favicon.ico", "icon.svg")
    for name in files:
        add(f"/page/{name}", name)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi(), str(request.base_url)))


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_model=schemas.Health, response_description="It is.",
             responses=described(503))
    async def health() -> dict[str, str]:
        """Whether the model is loaded, so that requests are answered."""
        service.check_ready()
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses={
        200: {"description": "Figures.", "content": {"text/plain": {}}}, **described(401)})
    async def metrics() -> Response:
        """Figures for Prometheus: requests, times, batches, images, objects, memory."""
        return Response(service.metrics.text(), media_type=service.metrics.content_type)
