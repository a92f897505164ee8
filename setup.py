"""Installation of frcnn: its metadata, what it needs, and what each extra adds."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "frcnn/__init__.py").read_text()).group(1)
REQUIREMENTS = [
    line
    for line in (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
# A kernel for Jupyter or an editor, and what executes notebooks without one.
NOTEBOOKS = ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"]
# Reads regions of slides and of large TIFFs, and TIFFs of more channels than pictures have.
SLIDES = ["tiffslide>=3.0", "tifffile>=2024.8"]
# Results of many images as Parquet, and files of remote stores.
SHARDS = ["pyarrow>=17", "fsspec>=2024.10"]
# ROI files of ImageJ and Fiji.
FORMATS = ["roifile>=2024.5"]
# The page in the browser and its HTTP interface, with all formats of files.
SERVE = ["fastapi>=0.115", "starlette>=0.40", "pydantic>=2.9", "uvicorn>=0.30",
         "python-multipart>=0.0.18", "prometheus-client>=0.21", *SHARDS, *FORMATS]
RAY = ["ray[data]>=2.50", *SHARDS]
# What the tests import or, as build and import-linter, run.
TEST = ["pytest>=8.0", "pytest-xdist>=3.6", "hypothesis>=6.100", "jax>=0.4.34",
        "import-linter>=2.3", "build>=1.2", "playwright>=1.50", "httpx>=0.27", "jsonschema>=4.20",
        *NOTEBOOKS, *SLIDES, *RAY, *FORMATS, *SERVE]
DOCS = ["pdoc>=15.0"]
# The engines that frcnn.runtime runs exported files in; each is needed for its own files only.
RUNTIME = ["onnxruntime>=1.32", "openvino>=2026.4", "ai-edge-litert>=2.3"]
# What writes them; nncf for 8 bits.
EXPORT = ["onnx>=1.23", "tf2onnx>=1.17", "nncf>=3.4", *RUNTIME]
# What .ci/run needs beside the tests.
DEV = ["ruff>=0.9", "mypy>=1.15", "twine>=6.1", "pre-commit>=4.0"]

setup(
    name="frcnn",
    version=VERSION,
    description="Faster R-CNN with a feature pyramid, on Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="frcnn contributors",
    license="MIT",
    keywords=[
        "object detection", "Faster R-CNN", "feature pyramid network", "Keras", "TensorFlow",
        "COCO", "Pascal VOC", "microscopy", "urine sediment",
    ],
    packages=find_packages(include=["frcnn", "frcnn.*"]),
    package_data={"frcnn": ["py.typed"], "frcnn.report": ["*.html", "*.css"],
                  "frcnn.serve": ["page/*"]},
    entry_points={"console_scripts": ["frcnn = frcnn.cli.main:entry"]},
    python_requires=">=3.11",
    install_requires=REQUIREMENTS,
    extras_require={
        "notebooks": NOTEBOOKS,
        "formats": FORMATS,
        "ray": RAY,
        "serve": SERVE,
        "shards": SHARDS,
        "slides": SLIDES,
        "test": TEST,
        "docs": DOCS,
        "runtime": RUNTIME,
        "export": EXPORT,
        "dev": [*TEST, *DOCS, *DEV, *EXPORT],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
