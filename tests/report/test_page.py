"""The report: its figures are the measured ones, and it needs no other file."""

import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from evaluate_tools import A, B, C, perfect, random_set, result
from PIL import Image
from report_tools import Page, Slides, write

from frcnn import evaluate
from frcnn.config import Config
from frcnn.report import Run, write_report

HISTORY = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.5], "val_loss": [3.1, 2.2, 2.4],
           "mrcnn_bbox_loss": [1.0, 0.5, 0.25], "val_mrcnn_bbox_loss": [1.1, None, 0.3]}


@pytest.fixture(scope="module")
def random_page(tmp_path_factory):
    """Data set, detections, figures and page of random objects with crowds."""
    truth, found = random_set(np.random.default_rng(1))
    dataset = Slides(truth)
    run = Run(title="ury: epoch 2", checkpoint="logs/a.h5", epoch=2, config=Config(NUM_CLASSES=4),
              history=HISTORY, others={"train": Slides(truth[:3])}, facts={"command": "train.py"})
    return dataset, found, *write(tmp_path_factory.mktemp("page"), dataset, found, run)


def figure(value, digits=3):
    return "–" if value is None else f"{value:.{digits}f}"


def test_the_figures_are_those_of_the_evaluation(random_page):
    _, _, metrics, page = random_page
    for key in ("AP", "AP50", "AP75", "AR100"):
        assert page.by_id[key] == figure(metrics[key])
    sizes = {row[0]: row for row in page.tables["by-size"][1:]}
    assert [sizes[name][3] for name in ("small", "medium", "large")] == \
        [figure(metrics[key]) for key in ("APs", "APm", "APl")]
    assert sum(int(row[2]) for row in sizes.values()) == metrics["settings"]["objects"]
    rows = page.tables["by-class"]
    assert [row[:4] for row in rows[1:-1]] == [
        [name, str(own["objects"]), figure(own["AP"]), figure(own["AP50"])]
        for name, own in metrics["per_class"].items()]
    assert rows[-1][:4] == ["all", str(metrics["settings"]["objects"]), figure(metrics["AP"]),
                            figure(metrics["AP50"])]


def test_the_matrix_is_that_of_the_data_set(random_page):
    dataset, found, _, page = random_page
    counts = evaluate.confusion_matrix(dataset, found)
    order = [1, 2, 3, 0]
    head, *rows = page.tables["matrix"]
    assert head == ["truth", "cast", "cryst", "eryth", "missed", "objects"]
    for i, row in zip(order, rows):
        shown = [int(cell.split()[0]) if cell else 0 for cell in row[1:5]]
        assert shown == counts[i, order].tolist()
        assert row[5] == (str(counts[i].sum()) if i else "")
    detections = counts[:, 1:].sum(axis=0)
    for class_id, row in enumerate(page.tables["by-class"][1:4], start=1):
        hits = counts[class_id, class_id]
        assert row[4:6] == [figure(hits / detections[class_id - 1], 2),
                            figure(hits / counts[class_id].sum(), 2)]


def test_the_best_threshold_of_a_class_reaches_its_f1(random_page):
    dataset, found, _, page = random_page
    for class_id, row in enumerate(page.tables["by-class"][1:4], start=1):
        threshold = float(row[7]) - 0.005  # it is written to two digits
        # one class alone: nothing is taken for another
        only = {image_id: {key: values[own["class_ids"] == class_id]
                           for key, values in own.items()} for image_id, own in found.items()}
        counts = evaluate.confusion_matrix(dataset, only, score_threshold=threshold)
        hits = counts[class_id, class_id]
        f1 = 2 * hits / (counts[class_id].sum() + counts[:, class_id].sum())
        assert float(row[6]) == pytest.approx(f1, abs=0.03)  # recalls are whole percents


def test_training_data_and_settings_are_on_the_page(random_page):
    _, _, _, page = random_page
    assert page.titles == ["Results", "Classes", "Confusion", "Examples", "Training", "Data",
                           "Configuration", "How it was made"]
    assert page.tables["losses"] == [
        ["loss after epoch 2", "training", "validation"],
        ["total", "2.000", "2.200"], ["head box", "0.500", "–"]]
    assert "validation loss was lowest after epoch 2" in page.text
    assert "The run had 3 epochs" in page.text
    for expected in ("NUM_CLASSES 4", "command train.py", "weights logs/a.h5", "frcnn 0.",
                     "score 0.05 or more, NMS at IoU 0.3", "100 × 100 pixels"):
        assert expected in page.text, expected
    for anchor in [attributes["href"] for tag, attributes in page.tags if tag == "a"]:
        assert anchor[1:] in page.by_id  # each link leads to a section


def test_ap_while_training_is_on_the_page(tmp_path):
    dataset, found = Slides([([A], [1])]), {0: result([A], [1], [0.9])}
    history = {**HISTORY, "val_AP": [0.25, None, 0.125], "val_AP50": [0.5, None, 0.25]}
    _, page = write(tmp_path, dataset, found, Run(epoch=1, history=history))
    assert "2 epochs evaluated while training; AP was highest after epoch 1: 0.250." in page.text
    alternatives = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert "AP by epoch" in alternatives
    _, without = write(tmp_path, dataset, found, Run(epoch=1, history={
        **HISTORY, "val_AP": [None] * 3}))
    assert "while training" not in without.text
    assert len(page.pictures()) == len(without.pictures()) + 1


def test_the_page_needs_no_other_file(random_page):
    page = random_page[3]
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "poster"):
            assert attributes.get(name, "#").startswith(("data:image/", "#"))
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page.style and "@import" not in page.style
    assert not re.search(r"https?:", re.sub(r'src="data:[^"]*"', "", page.source))
    policy = [attributes["content"] for tag, attributes in page.tags
              if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0].startswith("default-src 'none';")
    assert len(page.source) < 3_000_000


def test_pictures_are_whole_and_need_no_other_file(random_page):
    pictures = random_page[3].pictures()
    kinds = [kind for kind, _ in pictures]
    # curves, losses, two histograms; three images twice
    assert kinds.count("image/svg+xml") == 4 and kinds.count("image/jpeg") == 6
    for kind, content in pictures:
        if kind == "image/jpeg":
            Image.open(io.BytesIO(content)).load()
        else:
            for element in ElementTree.fromstring(content).iter():
                for name, value in element.attrib.items():
                    if name.endswith("href"):
                        assert value.startswith(("#", "data:"))


def test_names_of_users_are_text_and_not_html(tmp_path):
    evil = "<script>alert('x')</script>"
    dataset = Slides([([A], [1])], names=(evil,), files=[f"/slides/<b>&amp;{evil[:-9]}.png"])
    run = Run(title=evil, checkpoint=f"{evil}.h5", subset=evil, config=Config(NAME="<i>"),
              facts={evil: '"><img src=x onerror=alert(1)>'}, others={evil: dataset})
    _, page = write(tmp_path, dataset, perfect(dataset), run)
    assert not [tag for tag, _ in page.tags if tag in ("script", "b>", "i>")]
    assert all(attributes["src"].startswith("data:") for tag, attributes in page.tags
               if tag == "img")
    assert page.tables["by-class"][1][0] == evil
    assert page.text.count(evil) >= 6 and '"><img src=x onerror=alert(1)>' in page.text
    assert "<b>&amp;" in page.text and "NAME <i>" in page.text


def test_names_with_dollars_are_no_formulas(tmp_path):
    dataset = Slides([([A, B], [1, 2])], names=(r"$\frac$", "_hidden"), files=["/a/$x^$.png"])
    _, page = write(tmp_path, dataset, {0: result([A], [1], [0.9])})
    assert [row[0] for row in page.tables["by-class"][1:3]] == [r"$\frac$", "_hidden"]


def test_numbers_agree_with_those_of_the_evaluation(tmp_path):
    truth, found = random_set(np.random.default_rng(4), 60)
    dataset = Slides([*truth, ([A], [1])])
    counts = evaluate.evaluate_counts(dataset, found)
    _, page = write(tmp_path, dataset, found, counts=counts)
    assert page.titles == ["Results", "Classes", "Confusion", "Counts", "Examples", "Data",
                           "How it was made"]
    assert "#counts" in [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
    rows = page.tables["agreement"][1:]
    assert len(rows) == 6
    for (name, figures), counted, expected in zip(counts["per_class"].items(), rows[::2],
                                                  rows[1::2]):
        assert counted[:3] == [name, "counted", str(figures["objects"])]
        assert expected[0] == expected[2] == "" and expected[1] == "expected"
        for kind, row in (("counted", counted), ("expected", expected)):
            agreement = figures[kind]
            assert row[3].replace("−", "-") == f"{agreement['bias']:+.2f}"
            assert row[4:6] == [f"{agreement['mean_absolute_error']:.2f}",
                                f"{agreement['correlation']:.3f}"]
            assert row[6].replace("−", "-") == "{:+.2f} to {:+.2f}".format(*agreement["limits"])
        assert counted[7] == "" and expected[7] == f"{figures['coverage']:.0%}"
    alternatives = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert sum("against their means" in text for text in alternatives) == 3
    assert sum("expected and true numbers of cast" in text for text in alternatives) == 1


def test_numbers_of_classes_with_too_few_objects(tmp_path):
    dataset = Slides([([A, B], [1, 1]), ([A], [1])], names=("cast", "<b>"))
    counts = evaluate.evaluate_counts(dataset, perfect(dataset))
    _, page = write(tmp_path, dataset, perfect(dataset), counts=counts)
    assert [row[:3] for row in page.tables["agreement"][1:]] == [
        ["cast", "counted", "3"], ["<b>", "counted", "0"]]
    assert "cast has 3 objects in 2 images; calibration needs at least 20" in page.text
    alternatives = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert sum("counted and true numbers of cast" in text for text in alternatives) == 1
    assert not any("numbers of <b>" in text for text in alternatives)  # there are none


def test_a_bare_checkpoint_has_no_training_and_no_configuration(tmp_path):
    dataset = Slides([([A, B], [1, 2])])
    for run in (None, Run(history={"epoch": []}), Run(history={"epoch": [1], "other": [2.0]})):
        _, page = write(tmp_path, dataset, perfect(dataset), run)
        assert page.titles == ["Results", "Classes", "Confusion", "Examples", "Data",
                               "How it was made"]
        assert not {"#training", "#configuration"} & {
            attributes.get("href") for _, attributes in page.tags}


def test_a_data_set_without_objects(tmp_path):
    dataset = Slides([([], []), ([A], [-1])])
    for found in ({}, {0: result([A], [2], [0.9])}):
        metrics, page = write(tmp_path, dataset, found)
        assert metrics["AP"] is None and page.by_id["AP"] == "–"
        assert "There are no objects, so there are no curves" in page.text
        assert page.tables["by-class"][1][1:4] == ["0", "–", "–"]
    assert page.tables["matrix"][-1][1:4] == ["", "1", ""]


def test_one_class_has_no_mean(tmp_path):
    dataset = Slides([([A, B], [1, 1])], names=("cell",))
    metrics, page = write(tmp_path, dataset, {0: result([A, C], [1, 1], [0.9, 0.8])})
    assert metrics["AP50"] == pytest.approx(0.505, abs=0.001)
    assert "mean of the classes" not in page.text
    assert page.tables["matrix"][1:] == [["cell", "1 50%", "1 50%", "2"],
                                         ["no object", "1", "", ""]]


def test_sizes_of_images_may_be_unknown(tmp_path):
    dataset = Slides([([A, B], [1, 2])])
    for info in dataset.image_info:
        del info["width"], info["path"]
    _, page = write(tmp_path, dataset, perfect(dataset), Run(config=Config()))
    assert "resized for the network" not in page.text and "100 ×" not in page.text
    assert "100 F1 1.00: 2 hits, 0 missed, 0 false" in page.text  # the source's id for a name


def test_only_the_evaluated_images_count(tmp_path):
    dataset = Slides([([A], [1]), ([B, C], [2, 2])])
    metrics = evaluate.evaluate_detections(dataset, perfect(dataset), [0])
    path = write_report(tmp_path / "deep" / "report.html", dataset, perfect(dataset),
                               metrics, image_ids=[0])
    page = Page(path)
    assert page.tables["matrix"][1] == ["cast", "1 100%", "", "", "", "1"]
    assert page.tables["matrix"][2][-1] == "0" and "slide1" not in page.text
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
