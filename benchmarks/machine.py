"""The machine and the software that a measurement ran on."""

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("keras", "tensorflow", "jax", "torch", "torchvision", "numpy")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
# Environment variables that change the speed; those that are set are printed.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "KERAS_BACKEND", "LD_PRELOAD", "MALLOC_ARENA_MAX",
             "OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTEROP_THREADS",
             "TF_NUM_INTRAOP_THREADS", "TF_XLA_FLAGS", "XLA_FLAGS")
BUSY = 0.3  # load per core above which other work disturbs the times


def describe():
    """The machine as a dict of plain values, for JSON."""
    information = _read("/proc/cpuinfo")
    flags = set(_field(information, "flags").split())
    return {
        "processor": _field(information, "model name") or platform.processor(),
        "cores": cores(),
        "features": [name for name in FEATURES if name in flags],
        "memory_gib": _memory_gib(_read("/proc/meminfo")),
        "system": " ".join([platform.system(), *platform.release().split(".")[:1]]),
        "python": platform.python_version(),
        "packages": _versions(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def sentences(machine):
    """The description as lines of text."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    features = f" ({', '.join(machine['features'])})" if machine["features"] else ""
    lines = [f"{machine['processor']}, {machine['cores']} cores{features}{memory}; "
             f"{machine['system']}; Python {machine['python']}, {packages}."]
    if machine["environment"]:
        lines.append("Set in the environment: " + ", ".join(
            f"{name}={value}" for name, value in machine["environment"].items()) + ".")
    if machine["load"] is not None and machine["load"] > BUSY * machine["cores"]:
        lines.append(f"Other work was running at the start (load {machine['load']:.1f}): "
                     "times are upper bounds.")
    return lines


def _read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _field(text, name):
    """The first value of a line `name : value`, or an empty text."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def cores():
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_gib(text):
    kilobytes = _field(text, "MemTotal").split()
    return round(int(kilobytes[0]) / 2**20) if kilobytes else None


def _versions():
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
