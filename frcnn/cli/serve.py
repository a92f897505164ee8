"""`frcnn serve`: a trained detector as a page in the browser, and as an HTTP interface."""

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frcnn.cli import options as opts
from frcnn.cli import ranges, starts
from frcnn.cli.program import Parser, explain, one_line, program
from frcnn.cli.settings import detection_config
from frcnn.config import Config
from frcnn.errors import ArgumentError, BackendError, FrcnnError, MissingExtraError
from frcnn.files import expanded, sha256_of
from frcnn.formats.detections import Classes
from frcnn.inference.stream import suitable_batch_size

if TYPE_CHECKING:
    from frcnn.serve.batching import StreamDetector
    from frcnn.serve.service import Service

DESCRIPTION = """\
Opens a page in which images are dropped and objects are counted, and an HTTP interface beside it:
POST /v1/detect takes an image and answers with JSON; /docs describes it, /healthz says whether the
model is loaded, /metrics has figures for Prometheus.

Only programs on this machine reach it, unless --host names another address. Then every request
needs a token, which the environment variable FRCNN_TOKEN or --token-file has.

SIGTERM and Ctrl-C finish what is under way; a second one ends at once.
"""

TOKEN_VARIABLE = "FRCNN_TOKEN"
SHORTEST_TOKEN = 16
# Detections of lower scores are of no use, and would fill the page.
LOWEST_SCORE = 0.05
_NEEDS = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_HOW_TO_TOKEN = ("python -c \"import secrets; print(secrets.token_urlsafe(32))\" makes one")


def build_parser(prog: str = "frcnn serve") -> Parser:
    """The command line's parser."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    opts.add_checkpoint_options(parser)
    parser.add_argument("--min-confidence", type=opts.fraction, metavar="SCORE",
                        help="the score from which on objects are counted at first (default: the "
                             "configuration's DETECTION_MIN_CONFIDENCE); the page has a slider")
    opts.add_range(parser, "the checkpoint's")
    _add_address(parser.add_argument_group("address"))
    _add_limits(parser.add_argument_group("limits"))
    return parser


def _port(text: str) -> int:
    """argparse type: the number of a port."""
    value = opts.whole_number(text)
    if value >= 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**16 - 1}")
    return value


def _add_address(group: opts.OptionGroup) -> None:
    group.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                       help="address to listen at (default: 127.0.0.1, this machine alone); "
                            "0.0.0.0 is all of its addresses")
    group.add_argument("--port", type=_port, default=8000, metavar="N",
                       help="default: 8000; 0 is any that is free")
    group.add_argument("--token-file", metavar="FILE",
                       help=f"file with the token that requests have to bring (default: "
                            f"{TOKEN_VARIABLE} of the environment)")
    group.add_argument("--allow-host", action="append", default=[], metavar="NAME",
                       help="a further name by which the server is reached, such as that of a "
                            "proxy in front of it; may be repeated")


def _add_limits(group: opts.OptionGroup) -> None:
    group.add_argument("--max-megabytes", type=opts.positive_integer, default=50, metavar="N",
                       help="of an image file (default: 50)")
    group.add_argument("--max-megapixels", type=opts.positive_integer, default=50, metavar="N",
                       help="of an image (default: 50)")
    group.add_argument("--queue", type=opts.positive_integer, default=32, metavar="N",
                       help="requests for detection at a time; more are told to try again later "
                            "(default: 32)")
    group.add_argument("--rate", type=opts.positive_integer, default=600, metavar="N",
                       help="requests a minute that one address may send (default: 600)")


@program
def main(argv: Sequence[str] | None = None, prog: str = "frcnn serve") -> int:
    """Runs the program; returns its exit code."""
    return run(build_parser(prog).parse_args(argv), prog)


def run(options: argparse.Namespace, prog: str = "frcnn serve") -> int:
    """Serves until SIGTERM or Ctrl-C; returns the exit code."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDS):
        raise MissingExtraError("The page and its interface", "serve")
    from frcnn.serve import server
    from frcnn.serve.app import make_app

    token = read_token(options)
    start = starts.trained_of(options)
    assert start.path is not None
    opened = server.listening(options.host, options.port)
    try:
        print(f"weights       {start.path}", flush=True)
        service = make_service(start, options, token)
        running = server.make_server(make_app(service))
        service.batcher.start(when_failed=lambda: setattr(running, "should_exit", True))
        print(f"page          {server.url_of(opened)}", flush=True)
        server.run(running, opened)
    finally:
        opened.close()
    if service.batcher.failure is not None:
        error = service.batcher.failure
        raise BackendError(f"{start.path}: detection in a blank image failed: "
                           f"{explain(error) or one_line(error)}") from error
    print(f"{prog}: stopped; all requests that were under way have been answered.")
    return 0


def read_token(options: argparse.Namespace) -> str | None:
    """The token that requests have to bring, or None.

    Raises:
        ArgumentError: the server listens to other machines and there is none, or it is too short.
    """
    from frcnn.serve.guard import is_loopback

    token, source = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
    if options.token_file is not None:
        path = expanded(options.token_file)
        try:
            token, source = path.read_text(encoding="utf-8").strip(), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise FrcnnError(f"--token-file {path}: cannot be read ({error}).") from error
        if not token:
            raise ArgumentError(f"--token-file {path} is empty; {_HOW_TO_TOKEN}.")
    if not token:
        if is_loopback(options.host):
            return None
        raise ArgumentError(f"--host {options.host} lets other machines send requests: set a token "
                            f"in {TOKEN_VARIABLE} or with --token-file ({_HOW_TO_TOKEN}).")
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() \
            or " " in token:
        raise ArgumentError(f"The token in {source} must be {SHORTEST_TOKEN} or more ASCII letters "
                            f"and digits; {_HOW_TO_TOKEN}.")
    return token


def make_service(start: starts.Start, options: argparse.Namespace, token: str | None) -> "Service":
    """The detector, with its weights loaded, and the bounds of the options."""
    from frcnn.serve.batching import Batcher
    from frcnn.serve.counting import load_calibration
    from frcnn.serve.guard import Access
    from frcnn.serve.limits import MEGABYTE, Limits
    from frcnn.serve.metrics import Metrics
    from frcnn.serve.service import Service

    assert start.path is not None and start.config is not None
    default = options.min_confidence
    if default is None:
        default = start.config.DETECTION_MIN_CONFIDENCE
    least = min(LOWEST_SCORE, default)
    if start.is_exported:  # there are none below its own
        least = max(least, start.config.DETECTION_MIN_CONFIDENCE)
    config = ranges.for_detection(
        detection_config(start, options, DETECTION_MIN_CONFIDENCE=least), options, None)
    classes = Classes(starts.class_names(start), starts.category_ids(start))
    digest = sha256_of(start.path)
    calibration = load_calibration(start.path, digest, config, classes.names)
    detector, warm_up, size = _detector(start, config, options)
    metrics = Metrics()
    return Service(
        batcher=Batcher(detector, metrics, options.batch_size, warm_up, size), classes=classes,
        name=start.path.name, digest=digest, default_score=max(default, least),
        limits=Limits(options.max_megabytes * MEGABYTE, options.max_megapixels * MEGABYTE,
                      options.queue, options.rate),
        metrics=metrics, access=Access.for_address(options.host, token, options.allow_host),
        calibration=calibration)


def _detector(start: starts.Start, config: Config,
              options: argparse.Namespace,
              ) -> "tuple[StreamDetector, list[int], tuple[int, int] | None]":
    """The detector, and how many images of which size to warm it up with; see Batcher."""
    assert start.path is not None
    on_accelerator, size = False, None
    if start.is_exported:
        from frcnn.runtime.detector import Detector

        exported = Detector.configured(start.path, config)
        size = exported.metadata.shape
        detector: StreamDetector = exported
    else:
        from frcnn.cli.run_report import checkpoint_model
        from frcnn.network import ops as frcnn_ops

        detector = checkpoint_model(start.path, config, Path(options.logs))
        on_accelerator = frcnn_ops.has_accelerator()
    side = config.IMAGE_MAX_DIM
    most = options.batch_size or suitable_batch_size(side, side, on_accelerator)
    return detector, [2 ** power for power in range(most.bit_length())], size
