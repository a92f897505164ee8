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
# What the tests import or, as build and import-linter, run.
TEST = ["pytest>=8.0", "hypothesis>=6.100", "jax>=0.4.34", "import-linter>=2.3", "build>=1.2",
        *NOTEBOOKS]
DOCS = ["pdoc>=15.0"]
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
    package_data={"frcnn": ["py.typed"], "frcnn.report": ["*.html", "*.css"]},
    entry_points={"console_scripts": ["frcnn = frcnn.cli.main:entry"]},
    python_requires=">=3.11",
    install_requires=REQUIREMENTS,
    extras_require={
        "notebooks": NOTEBOOKS,
        "test": TEST,
        "docs": DOCS,
        "dev": [*TEST, *DOCS, *DEV],
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
