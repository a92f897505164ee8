"""Installation of frcnn; what it needs and the lowest versions it is written for."""

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

setup(
    name="frcnn",
    version=VERSION,
    description="Faster R-CNN with a feature pyramid, on Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="frcnn contributors",
    license="MIT",
    packages=find_packages(include=["frcnn", "frcnn.*"]),
    package_data={"frcnn": ["py.typed"], "frcnn.report": ["*.html", "*.css"]},
    entry_points={"console_scripts": ["frcnn = frcnn.cli.main:entry"]},
    python_requires=">=3.11",
    install_requires=REQUIREMENTS,
    extras_require={
        "notebooks": NOTEBOOKS,
        "test": ["pytest>=8.0", "hypothesis>=6.100", "ruff>=0.9", "jax>=0.4.34", "build>=1.2",
                 *NOTEBOOKS],
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
