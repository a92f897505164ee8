"""What is imported is named in requirements.txt or an extra, and what is named is imported."""

import ast
import importlib.util
import re
import sys

import pytest
from places import PROJECT

# Packages whose module has another name.
MODULES = {"scikit-image": "skimage", "pillow": "PIL", "import-linter": "importlinter",
           "ai-edge-litert": "ai_edge_litert", "python-multipart": "python_multipart",
           "prometheus-client": "prometheus_client", "pytest-xdist": "xdist"}
# Named without an import: Keras's callback imports TensorBoard; tests run build and import-linter
# as programs; notebooks need a kernel, which Jupyter starts; pytest loads xdist.
NOT_IMPORTED = {"tensorboard", "build", "importlinter", "ipykernel", "xdist"}
# Imported only where it is installed.
OPTIONAL = {"IPython", "albumentations", "torch", "torchvision"}
ENGINES = {"onnxruntime", "ai_edge_litert"}
# Backends of Keras besides TensorFlow, which users choose.
BACKENDS = {"jax"}
# pooch downloads with it; a test replaces its connection.
WITH_POOCH = {"requests"}
WITH_SCIKIT_IMAGE = {"tifffile"}
WITH_TIFFSLIDE = {"imagecodecs"}
# Functions that import a module by its name.
BY_NAME = ("importorskip", "import_module")
REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[a-z]+\])?>=[0-9][0-9.]*")


def modules_of(requirements):
    names = [REQUIREMENT.fullmatch(line)[1] for line in requirements]
    return {MODULES.get(name, name) for name in names}


def required():
    text = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    return modules_of(line for line in text.splitlines() if line and not line.startswith("#"))


def extras():
    """`{extra: modules}` of setup.py, without running a set-up."""
    tree = ast.parse((PROJECT / "setup.py").read_text(encoding="utf-8"))
    lists = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            lists[node.targets[0].id] = [
                text for item in node.value.elts for text in
                (lists[item.value.id] if isinstance(item, ast.Starred) else [item.value])]
    return {name: modules_of(requirements) for name, requirements in lists.items()}


def imported(*folders):
    """Names of the modules from elsewhere that the files of these folders import."""
    found = set()
    for path in (path for folder in folders for path in (PROJECT / folder).rglob("*.py")
                 if "scripts" not in path.parts):  # those import the reference
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in BY_NAME \
                    and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value.split(".")[0])
    ours = {path.stem for folder in ("tests/tools", "tests/golden", "notebooks")
            for path in (PROJECT / folder).iterdir()
            if path.suffix == ".py" or (path / "__init__.py").is_file()}
    ours |= {"frcnn", "samples", "benchmarks", "notebooks"}
    return found - ours - OPTIONAL - sys.stdlib_module_names


def test_the_package_and_its_samples_import_what_is_required():
    used = imported("frcnn", "samples")
    of_extras = set().union(*(modules for name, modules in extras().items()
                              if name not in ("TEST", "DOCS", "DEV", "NOTEBOOKS")))
    assert used - of_extras - BACKENDS == required() - NOT_IMPORTED
    # The engines are imported by name, where a file of theirs is opened.
    assert extras()["EXPORT"] - ENGINES <= used


def test_tensorboard_is_used_through_keras():
    assert any("TensorBoard(" in path.read_text(encoding="utf-8")
               for path in (PROJECT / "frcnn").rglob("*.py"))


def test_tests_import_what_the_extra_brings():
    allowed = required() | extras()["TEST"] | extras()["EXPORT"] | WITH_POOCH \
        | WITH_SCIKIT_IMAGE | WITH_TIFFSLIDE
    used = imported("tests", "benchmarks", "notebooks")
    assert used <= allowed, used - allowed
    # What the extra brings is needed by the tests, or by what they test.
    assert extras()["TEST"] - NOT_IMPORTED <= used | imported("frcnn")


def test_docs_import_what_the_extra_brings():
    assert imported("docs") == extras()["DOCS"]


def test_the_lowest_versions_are_read_from_requirements(tmp_path):
    path = PROJECT / ".ci" / "lowest.py"
    spec = importlib.util.spec_from_file_location("lowest", path)
    lowest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lowest)
    assert lowest.constraints("# what\nnumpy>=1.26.0  # an array\n\nh5py>=3.11.0\n") == [
        "numpy==1.26.0", "h5py==3.11.0"]
    with pytest.raises(ValueError, match="'numpy' is not of the form"):
        lowest.constraints("numpy\n")
    text = lowest.REQUIREMENTS.read_text(encoding="utf-8")
    assert len(lowest.constraints(text)) == len(required())
