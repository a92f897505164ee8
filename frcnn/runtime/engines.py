"""Engines that run exported files: one function of molded images and windows for each."""

import contextlib
import importlib
import os
import queue
import threading
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from frcnn.arrays import Array, FloatArray
from frcnn.errors import ArgumentError, BackendError, ExportError
from frcnn.files import expanded
from frcnn.runtime.metadata import FILE_NAME, KEY, FileMetadata
from frcnn.runtime.openvino_core import openvino_core
from frcnn.runtime.parts import split

DETECTIONS = "detections"


class Engine(Protocol):
    """An exported file, ready to run. Threads may call it at the same time.

    Attributes:
        PRECISIONS: of Config's, those that the engine computes in beside "auto".
        metadata: FileMetadata.
    """

    PRECISIONS: ClassVar[tuple[str, ...]]
    metadata: FileMetadata

    def __call__(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Runs the graph: arrays by input name → arrays by output name."""


class OnnxEngine:
    """An ONNX file in ONNX Runtime, on the CPU.

    Args:
        path: of the file.
        threads: of the processor; None for one a core.
        precision: one of PRECISIONS or "auto", all of which are float32.
    """

    PRECISIONS: ClassVar[tuple[str, ...]] = ("float32",)

    def __init__(self, path: Path, threads: int | None = None,
                 precision: str = "float32") -> None:
        onnxruntime = _imported("onnxruntime", "onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        if threads is not None:
            options.intra_op_num_threads = threads
        with _reading(path):
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"])
        entries = self._session.get_modelmeta().custom_metadata_map
        self.metadata = _metadata(entries.get(KEY), path)
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))


class OpenVinoEngine:
    """OpenVINO's `.xml` and `.bin` on the CPU.

    Args:
        path, threads: as of OnnxEngine.
        precision: "float32", "mixed_bfloat16" or "auto": the network in bfloat16 and the boxes in
            float32, "auto" where the processor has instructions for it.
    """

    PRECISIONS: ClassVar[tuple[str, ...]] = ("float32", "mixed_bfloat16")

    def __init__(self, path: Path, threads: int | None = None,
                 precision: str = "float32") -> None:
        _imported("openvino", "openvino")  # says how to install it
        core = openvino_core()
        if not path.with_suffix(".bin").is_file():
            raise ExportError(f"{path}: the weights, {path.with_suffix('.bin').name}, are not "
                              "beside it; an OpenVINO model is both files.")
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        with _reading(path):
            model = core.read_model(path)
        self.metadata = _metadata(
            model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None, path)
        if precision == "auto":
            has_it = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            precision = "mixed_bfloat16" if has_it else "float32"
        parts = [("f32", model)]
        if precision == "mixed_bfloat16":
            parts = list(zip(("bf16", "f32"), split(model, str(path)), strict=True))
        with _reading(path):
            self._parts = [_Part(core.compile_model(part, "CPU", {
                **settings, "INFERENCE_PRECISION_HINT": hint})) for hint, part in parts]

    def __call__(self, inputs: dict[str, Array]) -> dict[str, Array]:
        with contextlib.ExitStack() as stack:
            tensors: dict[str, Any] = dict(inputs)
            for part in self._parts:
                tensors.update(stack.enter_context(part.run(tensors)))
            # Copies: the next call writes into the same memory.
            return {DETECTIONS: np.array(tensors[DETECTIONS].data)}


class _Part:
    """A compiled OpenVINO graph with its requests, of which each is for one call at a time."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._names = {name for entry in compiled.inputs for name in entry.get_names()}
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @contextlib.contextmanager
    def run(self, tensors: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The graph's outputs by name, as tensors that are valid inside the context.

        Args:
            tensors: arrays and tensors by name, of which the graph takes its inputs.
        """
        try:
            request = self._free.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            request.infer({name: tensors[name] for name in self._names if name in tensors},
                          share_inputs=True)
            yield {name: request.get_tensor(port) for port in self._compiled.outputs
                   for name in port.get_names()}
        finally:
            self._free.put(request)


class LiteRtEngine:
    """A LiteRT file; images go through it one by one, threads in turn.

    Args: as of OnnxEngine.
    """

    PRECISIONS: ClassVar[tuple[str, ...]] = ("float32",)

    def __init__(self, path: Path, threads: int | None = None,
                 precision: str = "float32") -> None:
        self.metadata = _metadata(_from_archive(path), path)
        interpreter = _imported("ai_edge_litert.interpreter", "ai-edge-litert")
        with _reading(path):
            self._interpreter = interpreter.Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        # Of the inputs only the number of axes tells which is which: converters rename them.
        self._places = {len(entry["shape"]): entry["index"]
                        for entry in self._interpreter.get_input_details()}
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._lock = threading.Lock()

    def __call__(self, inputs: dict[str, Array]) -> dict[str, Array]:
        rows = []
        with self._lock:
            for number in range(len(inputs["image"])):
                for value in inputs.values():
                    self._interpreter.set_tensor(self._places[value.ndim],
                                                 value[number:number + 1])
                self._interpreter.invoke()
                rows.append(self._interpreter.get_tensor(self._output))
        return {DETECTIONS: np.concatenate(rows)}


class SavedModelEngine:
    """A SavedModel in TensorFlow, which this one engine needs.

    Args:
        path: of the folder.
        threads: not used: TensorFlow's are those of the process.
        precision: as of OnnxEngine.
    """

    PRECISIONS: ClassVar[tuple[str, ...]] = ("float32",)

    def __init__(self, path: Path, threads: int | None = None,
                 precision: str = "float32") -> None:
        text = path / "assets" / FILE_NAME
        self.metadata = _metadata(text.read_text("utf-8") if text.is_file() else None, path)
        tensorflow = _imported("tensorflow", "tensorflow")
        with _reading(path):
            self._loaded = tensorflow.saved_model.load(str(path))
            self._run = self._loaded.signatures["molded"]
        self._tensor = tensorflow.convert_to_tensor

    def __call__(self, inputs: dict[str, Array]) -> dict[str, Array]:
        found = self._run(**{name: self._tensor(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}


ENGINES: dict[str, type[OnnxEngine | OpenVinoEngine | LiteRtEngine]] = {
    ".onnx": OnnxEngine, ".xml": OpenVinoEngine, ".tflite": LiteRtEngine}


def is_exported(path: str | Path) -> bool:
    """Whether a path is that of an exported file, by its ending, or of a SavedModel's folder."""
    path = expanded(path)
    return path.suffix.lower() in ENGINES or (path / "saved_model.pb").is_file()


def open_engine(path: str | Path, threads: int | None = None,
                precision: str = "float32") -> Engine:
    """Opens an exported file in its engine.

    Args:
        path: `.onnx`, `.xml`, `.tflite`, or a SavedModel's folder.
        threads: of the processor; None for one a core.
        precision: "float32"; for `.xml` also "mixed_bfloat16"; "auto" is the faster of those that
            the file and the processor have.

    Raises:
        ArgumentError: the file's engine does not compute in `precision`.
        FileNotFoundError: there is no such file.
        ExportError: it is no export, of a newer format, or damaged.
        BackendError: its engine is not installed; it is a SavedModel, and this process was forked
            from one that has opened one.
    """
    path = expanded(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    status = path.stat()
    key = os.path.realpath(path), status.st_mtime_ns, status.st_size, threads, precision
    engine = _opened.get(key)
    if engine is None:
        engine = _opened[key] = _open(path, threads, precision)
    return engine


# Engines in use: one that is open is not opened once more, which takes its time and memory again.
_opened: "weakref.WeakValueDictionary[tuple[Any, ...], Engine]" = weakref.WeakValueDictionary()
_inherited: list[Engine] = []  # of the process that this one was forked from


def _begin_anew() -> None:
    """In a forked process: its parent's engines have threads that do not exist here.

    They are not used again, and kept, since freeing them would wait for these threads.
    """
    global _opened
    _inherited.extend(_opened.values())
    _opened = weakref.WeakValueDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _open(path: Path, threads: int | None, precision: str) -> Engine:
    kind = _kind_of(path)
    if kind is SavedModelEngine and any(isinstance(engine, kind) for engine in _inherited):
        raise BackendError(f"{path} cannot be opened in a forked process, since TensorFlow's "
                           "threads are in its parent: start processes by 'spawn' "
                           "(multiprocessing.set_start_method), or use another format.")
    if precision not in (*kind.PRECISIONS, "auto"):
        raise ArgumentError(
            f"{path} does not run in {precision!r}: its engine computes in "
            f"{' or '.join(kind.PRECISIONS)}. Of the formats, 'openvino' also has mixed_bfloat16.")
    return kind(path, threads, precision)


def _kind_of(path: Path) -> type[OnnxEngine | OpenVinoEngine | LiteRtEngine | SavedModelEngine]:
    if path.is_dir():
        if not is_exported(path):
            raise ExportError(f"{path} is a folder without saved_model.pb; name an .onnx, .xml or "
                              ".tflite file, or a SavedModel's folder.")
        return SavedModelEngine
    if path.suffix.lower() not in ENGINES:
        raise ExportError(f"{path} is no exported detector; name an .onnx, .xml or .tflite file, "
                          "or a SavedModel's folder, which 'frcnn export' writes.")
    return ENGINES[path.suffix.lower()]


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(f"The engine {package} is not installed, or cannot be imported "
                           f"({error}): pip install {package}") from error


class _reading:
    """A context in which an engine's errors become an ExportError that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, MemoryError):
            raise ExportError(f"{self.path} cannot be read by its engine; it is damaged, or of "
                              f"another kind ({_short(error)}).") from error


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text[:200]


def _metadata(text: str | None, path: Path) -> FileMetadata:
    return FileMetadata.from_json("{}" if text is None else text, str(path))


def _from_archive(path: Path) -> str | None:
    """The metadata in the archive behind a LiteRT model; None without one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(FILE_NAME).decode("utf-8")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        return None


def as_rows(found: dict[str, Array]) -> FloatArray:
    """The detections `[B, N, 6]` of a graph's outputs."""
    rows: FloatArray = found[DETECTIONS]
    return rows
