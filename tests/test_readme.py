"""README.md: its code runs, its files, links, options and settings exist, its numbers are true."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from readme_tools import (
    PROJECT,
    TEXT,
    Workspace,
    blocks,
    commands,
    missing_modules,
    runnable,
)

from frcnn.cli import (
    check,
    convert,
    count,
    detect,
    detections,
    evaluate,
    export,
    migrate,
    pretraining,
    serve,
    starts,
    tile,
    train,
)
from frcnn.cli.options import setting
from frcnn.config import BACKBONES, Config
from frcnn.geometry.anchors import pyramid_anchors
from samples.urinary.config import SyntheticConfig, UrinaryConfig
from samples.urinary.urinary import SAMPLE

PARSERS = {"train.py": train.build_parser(sample=SAMPLE), "detect.py": detect.build_parser(),
           "evaluate.py": evaluate.build_parser(sample=SAMPLE),
           "pretrain.py": pretraining.build_parser(SAMPLE),
           "frcnn check": check.build_parser(), "frcnn convert": convert.build_parser(),
           "frcnn tile": tile.build_parser(), "frcnn detections": detections.build_parser(),
           "frcnn serve": serve.build_parser(), "frcnn count": count.build_parser(),
           "frcnn migrate": migrate.build_parser(),
           "frcnn train": train.build_parser(), "frcnn detect": detect.build_parser(),
           "frcnn evaluate": evaluate.build_parser(), "frcnn export": export.build_parser()}
INSTALLATION = ['pip install -e . && python samples/urinary/train.py\n',
                'pip install -e ".[test]" && python -m pytest -n auto --dist loadfile\n']
INLINE = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))


def name_of(index, language, content):
    return f"{index}-{language}-{content.split(maxsplit=2)[1]}"


RUNNABLE = [pytest.param(i, id=name_of(i, *block)) for i, block in enumerate(runnable())]


# --- what it names ------------------------------------------------------------------------------


def headings():
    """The anchors that the page's headings get."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(targets) > 10
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in headings(), target
        else:
            assert (PROJECT / target).is_file(), target


def test_pictures_are_small():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert pictures
    for picture in pictures:
        assert (PROJECT / picture).stat().st_size < 200_000
        with Image.open(PROJECT / picture) as image:
            assert min(image.size) > 300


def test_files_that_it_names_exist():
    places = [PROJECT, PROJECT / "samples" / "urinary",
              *(folder for folder in (PROJECT / "frcnn").rglob("*") if folder.is_dir())]
    pattern = (r"[\w./]+(\.py|\.md|/run)|notebooks/[\w.]+|"
               r"(frcnn|samples|notebooks|benchmarks|docs)/[\w./]*")
    paths = {word for text in INLINE for word in text.split() if re.fullmatch(pattern, word)}
    assert {"frcnn/model/", "samples/cells/train.py", ".ci/run", "schedules.py"} <= paths
    for path in paths:
        assert any((place / path).exists() for place in places), path


def test_parts_of_the_network_are_files():
    (line,) = re.findall(r"^\| `frcnn/network/` \|.*$", TEXT, re.MULTILINE)
    parts = re.search(r"one file a part: (.+?);", line)[1].split(", ")
    assert len(parts) == 11
    for part in parts:
        assert (PROJECT / "frcnn" / "network" / f"{part.strip('`')}.py").is_file(), part


def options_of(parser):
    names = set(parser._option_string_actions)
    for action in parser._actions:
        for inner in (getattr(action, "choices", None) or {}).values() if isinstance(
                getattr(action, "choices", None), dict) else ():
            names |= options_of(inner)
    return names


def test_options_that_it_names_exist():
    others = {"--logdir", "--dist"}  # TensorBoard's, pytest-xdist's
    known = others.union(*map(options_of, PARSERS.values()))
    named = {option for text in [*INLINE, *(content for _, content in blocks())]
             for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    assert {"--dataset", "--set", "--skip-bad", "--first-pixel", "--pictures"} <= named
    assert named <= known, named - known


@pytest.mark.parametrize("line", commands())
def test_commands_are_understood(line):
    words = shlex.split(line)
    script = Path(words[1]).name if words[0] == "python" else " ".join(words[:2])
    if script in PARSERS:
        PARSERS[script].parse_args(words[2:])
    else:
        assert words[0] == "python" and (PROJECT / words[1]).is_file()


def test_settings_that_it_names_exist():
    code = [content for language, content in blocks() if language in ("python", "bash")]
    named = {word for text in [*INLINE, *code]
             for word in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bNAME\b|\bBACKBONE\b", text)}
    assert len(named) > 12
    assert named <= set(Config.setting_names()), named - set(Config.setting_names())
    for text in re.findall(r"--set\s+([A-Z_]+=[^\s`]+)", TEXT):
        if text != "NAME=VALUE":
            name, value = setting(text)
            Config(**{name: value})


# --- what it says -------------------------------------------------------------------------------


def test_the_two_commands_stand_as_they_are_called():
    indented = [content for language, content in blocks() if language == ""]
    assert indented == INSTALLATION
    assert {language for language, _ in blocks()} == {"", "text", "bash", "python", "mermaid"}


def test_words_for_weights_and_backbones():
    rows = re.findall(r"^\| `(\w+)`(?: \(default\))? \| .+\|$", TEXT, re.MULTILINE)
    assert set(starts.WORDS) <= set(rows)
    for backbone in BACKBONES:
        assert f"`{backbone}`" in TEXT


def test_numbers_of_anchors():
    for config, shape in ((Config(), (1024, 1024)), (Config(RPN_ANCHOR_STRIDE=2), (1024, 1024)),
                          (SyntheticConfig(), (320, 320))):
        assert f"{len(pyramid_anchors(config, shape)):,}" in TEXT


def test_defaults_that_it_tells():
    default, ours = Config(), UrinaryConfig()
    assert default.RPN_ANCHOR_RATIOS == [0.5, 1, 2]
    assert (default.RPN_TRAIN_ANCHORS_PER_IMAGE, default.ROI_POSITIVE_RATIO) == (256, 0.33)
    assert (default.PRE_NMS_LIMIT, default.POST_NMS_ROIS_INFERENCE) == (6000, 1000)
    assert (default.RPN_NMS_THRESHOLD, default.POOL_SIZE, ours.RPN_ANCHOR_STRIDE) == (0.7, 7, 2)
    for deviation in (default.RPN_BBOX_STD_DEV, default.BBOX_STD_DEV):
        np.testing.assert_array_equal(deviation, [0.1, 0.1, 0.2, 0.2])
    assert (ours.DETECTION_MAX_INSTANCES, ours.MAX_GT_INSTANCES) == (100, 200)
    assert (ours.DETECTION_NMS_THRESHOLD, ours.PRECISION, ours.BACKBONE) == (0.5, "auto",
                                                                             "resnet50")
    assert ours.PROPOSAL_APPEND_GT is True


# --- what it runs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("readme"))


@pytest.fixture
def run_until(workspace, monkeypatch, reference_weights, golden_dir):
    """Runs the blocks up to one; weights come from a formula, not from the net."""
    def layout(network, classes, backbone_only=False):
        entries = json.loads((golden_dir / f"layout_{network}.json").read_text())
        if backbone_only:
            return [each for each in entries if re.match("conv1|bn|res", each["layer"])]
        widths = {"mrcnn_class_logits": classes, "mrcnn_bbox_fc": 4 * classes,
                  "mrcnn_mask": classes}
        return [{**each, "weights": [
            [name, [*shape[:-1], widths.get(each["layer"], shape[-1])]]
            for name, shape in each["weights"]]} for each in entries]

    def weights(path, *arguments):
        if not path.exists():
            reference_weights.write_checkpoint(path, layout(*arguments))
        return str(path)

    def run(index):
        if any("mask_rcnn_ury_0050.h5" in content for _, content in runnable()[:index + 1]):
            weights(workspace.folder / "mask_rcnn_ury_0050.h5", "resnet101", 8)
        workspace.run_until(index, monkeypatch)
        return workspace.namespaces.get(index)

    monkeypatch.setattr("frcnn.weights.download.get_imagenet_weights", lambda name, **_: weights(
        workspace.folder / f"{name}.h5", name, 0, True))
    return run


@pytest.mark.slow
@pytest.mark.parametrize("index", RUNNABLE)
def test_code_runs(workspace, run_until, index):
    language, content = runnable()[index]
    if missing := missing_modules(content):
        pytest.skip(f"{', '.join(missing)} of the extra 'export' is not installed")
    namespace = run_until(index)
    folder = workspace.folder
    if "--model imagenet" in content:
        check_run(max((folder / "logs").iterdir(), key=lambda path: path.stat().st_mtime))
    elif "--model last" in content:
        (run,) = (folder / "logs").iterdir()
        assert (run / "mask_rcnn_ury_0002.h5").is_file()
    elif "--pictures" in content:
        assert len(list((folder / "shown").rglob("*.png"))) == 3
        assert isinstance(json.loads((folder / "found.json").read_text()), list)
        (metrics,) = folder.glob("logs/ury2*/evaluate_val/metrics.json")
        assert json.loads(metrics.read_text())["settings"]["images"] == 3
    elif "frcnn count" in content:
        assert (folder / "counts.csv").read_text().startswith("kind,name,images,class,")
    elif "migrate" in content:
        assert "import frcnn.model" in (folder / "detect_objects_frcnn.py").read_text()
    elif "frcnn export" in content:
        assert isinstance(json.loads((folder / "found.json").read_text()), list)
    elif "frcnn.runtime" in content:
        assert set(namespace["found"][0]) == {"rois", "boxes", "class_ids", "scores"}
    elif "convert" in content:
        assert (folder / "sediment_coco/annotations/instances_val.json").is_file()
    elif "result =" in content:
        assert set(namespace["result"]) == {"rois", "boxes", "class_ids", "scores"}
        assert namespace["model"].epoch == 2 and namespace["model"].history["epoch"] == [1, 2]
    elif "SmearDataset" in content:
        check_smears(namespace["dataset"])
    elif "old.json" in content and language == "python":
        assert namespace["model"].epoch == 50 and (folder / "old.json").is_file()


def check_run(folder):
    """Everything that the page says a run leaves behind is there."""
    table = TEXT[TEXT.index("| file | what it holds |"):TEXT.index("### Detect and evaluate")]
    names = [name for cell in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
             for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) == 12
    for name in names:
        assert list(folder.glob(name.replace("…", "*"))), name


def check_smears(dataset):
    assert dataset.class_names == ["BG", "red", "white"] and dataset.num_images == 3
    boxes, class_ids = dataset.load_boxes(0)
    np.testing.assert_array_equal(boxes, [[20, 30, 50, 70], [2, 1.5, 40, 30]])
    assert class_ids.tolist() == [2, 1] and dataset.load_boxes(1)[0].shape == (0, 4)
    assert dataset.load_image(0).shape == (90, 120, 3) and dataset.check() == []
