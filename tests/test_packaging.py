"""The package as others install it: built, and used where there is no checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from cli_tools import TINY
from places import PROJECT

import frcnn

pytestmark = pytest.mark.slow
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "requirements.txt")


def run(*command, folder):
    """What a command prints to stdout, run in a folder where only installed packages are found."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the sdist, and the wheel that was built from it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PROJECT / "frcnn", source / "frcnn",
                    ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--outdir", target, source, folder=source)
    return target


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of programs of a new environment that has the wheel.

    What the wheel depends on is taken from the running environment, by a path that does not bring
    along an editable installation.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    (packages,) = map(Path, run(python, "-c", "import sysconfig; print(sysconfig.get_path("
                                "'purelib'))", folder=folder).splitlines())
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, folder=folder)
    place = Path(run(python, "-c", "import frcnn; print(frcnn.__file__)", folder=folder).strip())
    assert place.resolve().is_relative_to(packages.resolve())
    return programs


def files_of_the_package():
    """All files of the checkout's package, relative to the project."""
    return {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "frcnn").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def test_the_wheel_holds_the_whole_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        content = Parser().parsestr(archive.read(metadata).decode())
    assert {name for name in names if ".dist-info/" not in name} == files_of_the_package()
    assert {"frcnn/py.typed", "frcnn/report/report.html", "frcnn/report/report.css",
            "frcnn/cli/main.py", "frcnn/network/ops/__init__.py"} <= set(names)
    assert content["Version"] == frcnn.__version__
    required = [text.split(";")[0] for text in content.get_all("Requires-Dist")
                if "extra ==" not in text]
    listed = [line for line in (PROJECT / "requirements.txt").read_text().splitlines()
              if line and not line.startswith("#")]
    assert sorted(required) == sorted(listed)


def test_the_sdist_holds_what_a_build_needs(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(SOURCES) | files_of_the_package() <= names
    assert not [name for name in names if name.startswith("tests/")]  # they need the checkout


def test_the_command_works_without_a_checkout(installed, coco_folder, tmp_path):
    command, folder = installed / "frcnn", tmp_path / "work"
    folder.mkdir()
    assert run(command, "--version", folder=folder) == f"frcnn {frcnn.__version__}\n"
    assert run(command, "check", coco_folder, folder=folder) == ""
    printed = run(command, "train", "--dataset", coco_folder, "--epochs", 1, "--steps", 2, *TINY,
                  folder=folder)
    (logs,) = (folder / "logs").iterdir()
    assert f"report        logs/{logs.name}/report.html" in printed.replace("\\", "/")
    for name in ("mask_rcnn_frcnn_0001.h5", "config_mask_rcnn_frcnn_0001.json", "options.json",
                 "plan.json", "metrics.json", "report.html"):
        assert (logs / name).is_file(), name
    printed = run(command, "detect", coco_folder / "val", "--min-confidence", 0, "--pictures",
                  "shown", folder=folder)
    assert "in 3 of 3 images" in printed and (folder / "results.json").is_file()
    assert len(list((folder / "shown").glob("*.png"))) == 3
    printed = run(command, "evaluate", "--dataset", coco_folder, folder=folder)
    assert "AP50" in printed and (logs / "evaluate_val" / "report.html").is_file()


# --- the runtime alone ----------------------------------------------------------------------------

BLOCKED = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
import frcnn
assert frcnn.__file__.startswith(sys.argv[1]), frcnn.__file__
from frcnn.cli import main
sys.exit(main.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def runtime_wheel(tmp_path_factory):
    """The wheel of the distribution in runtime/."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for folder in ("frcnn", "runtime"):
        shutil.copytree(PROJECT / folder, source / folder,
                        ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    shutil.copy(PROJECT / "requirements.txt", source)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", target,
        source / "runtime", folder=source)
    (path,) = target.glob("frcnn_runtime-*.whl")
    return path


def test_the_runtime_requires_neither_keras_nor_tensorflow(runtime_wheel):
    with zipfile.ZipFile(runtime_wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        content = Parser().parsestr(archive.read(metadata).decode())
    assert {name for name in names if ".dist-info/" not in name} == files_of_the_package()
    required = {text.split(">=")[0] for text in content.get_all("Requires-Dist")
                if "extra ==" not in text}
    assert required == {"numpy", "pillow", "platformdirs", "tqdm"}
    assert set(content.get_all("Provides-Extra")) == {"onnx", "openvino", "litert"}


def test_the_runtime_detects_with_nothing_else(runtime_wheel, exports, coco_folder, tmp_path):
    required = [line for line in (PROJECT / "requirements.txt").read_text().splitlines()
                if line and not line.startswith("#")]
    modules = {"scikit-image": "skimage", "pillow": "PIL"}
    blocked = {modules.get(name, name) for name in (line.split(">=")[0] for line in required)}
    blocked -= {"numpy", "PIL", "platformdirs", "tqdm"}
    place = tmp_path / "installed"
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", place,
        runtime_wheel, folder=tmp_path)
    code = BLOCKED.replace("{blocked}", repr(blocked | {"jax", "torch"}))
    code = f"import sys; sys.path.insert(0, {str(place)!r})\n{code}"
    for format in ("onnx", "openvino", "litert"):
        printed = run(sys.executable, "-c", code, place, "detect", coco_folder / "val", "--model",
                      exports(format)[0], "--output", tmp_path / f"{format}.json", folder=tmp_path)
        assert "in 3 of 3 images" in printed
