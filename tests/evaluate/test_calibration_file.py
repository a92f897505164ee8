"""The file of a calibration: what it holds comes back, and nothing else is believed."""

import json

import numpy as np
import pytest
from counts_tools import calibration

from frcnn.config import Config
from frcnn.errors import CalibrationError
from frcnn.evaluate.calibration import calibrate
from frcnn.evaluate.calibration_file import Calibration, calibration_path, score_settings


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "calibration_a.json"
    calibration().save(path)
    return path


def test_it_lies_beside_the_weights(tmp_path):
    assert calibration_path(tmp_path / "mask_rcnn_ury_0010.h5") == \
        tmp_path / "calibration_mask_rcnn_ury_0010.json"
    assert calibration_path("run/detector.onnx").name == "calibration_detector.json"


def test_what_was_written_is_read(saved):
    made, again = calibration(), Calibration.load(saved)
    for name in ("checkpoint", "sha256", "settings", "min_score", "score_limit", "data"):
        assert getattr(again, name) == getattr(made, name)
    assert list(again.class_names) == list(made.class_names)
    for ours, theirs in zip(again.classes, made.classes):
        for image, other in zip(ours, theirs):
            np.testing.assert_allclose(image.scores, other.scores, atol=1e-6)
            assert image.right.tolist() == other.right.tolist() and image.objects == other.objects
    scores = [np.array([0.3, 0.8])]
    assert again.calibrations()[0][0].interval(scores) == made.calibrations()[0][0].interval(scores)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]  # no draft is left


def test_it_is_made_for_detections_of_a_least_score():
    """Objects found with lower scores alone are missed then."""
    made = calibration()
    low, high = (made.calibrations(score)[0][0] for score in (0.0, 0.6))
    expected = calibrate([image.above(0.6) for image in made.classes[0]])
    assert high.found == expected.found < low.found
    np.testing.assert_array_equal(high.edges, expected.edges)


def test_a_class_with_too_few_objects_has_none():
    made, notes = calibration(objects=0.1).calibrations()
    assert made[0] is None and len(notes) == 1
    assert notes[0].startswith("bar has ") and "at least 20 objects" in notes[0]


@pytest.mark.parametrize(("change", "message"), [
    (lambda content: "{", "cannot be read as a calibration"),
    (lambda content: json.dumps([content]), "is no calibration of counts of format 1"),
    (lambda content: json.dumps({**content, "format": 2}), "is no calibration of counts"),
    (lambda content: json.dumps({"annotations": []}), "is no calibration of counts"),
    (lambda content: changed(content, "sha256"), r"is damaged \('sha256' is missing\)"),
    (lambda content: changed(content, "checkpoint", 3), r"damaged \(checkpoint is '3'\)"),
    (lambda content: changed(content, "min_score", 2), r"min_score is '2'"),
    (lambda content: changed(content, "min_score", True), "min_score is 'True'"),
    (lambda content: changed(content, "settings", []), r"settings is '\[\]'"),
    (lambda content: changed(content, "class_names", ["BG"]), "has 1 classes, and names of 0"),
    (lambda content: changed(content, "classes", [3]), "classes is '3'"),
    (lambda content: changed(content, "classes", 3), "is damaged"),
    (lambda content: image(content, scores=[2.0], right=[1]), r"a score is '2.0'"),
    (lambda content: image(content, scores=["x"], right=[1]), r"a score is 'x'"),
    (lambda content: image(content, scores=[0.5], right=[]), "1 scores have other marks"),
    (lambda content: image(content, scores=[0.5], right=[2]), "other marks than 0 and 1"),
    (lambda content: image(content, scores=[0.5], right=["1"]), "other marks than 0 and 1"),
    (lambda content: image(content, objects=-1), "has '-1' objects"),
    (lambda content: image(content, objects=10**400), "has '10000"),
    (lambda content: image(content, scores=[0.5, 0.5], right=[[1], [1, 0]]), "is damaged"),
    (lambda content: image(content, objects=1.5), "has '1.5' objects"),
    (lambda content: image(content, objects=0, scores=[0.5], right=[1]),
     "0 objects and 1 right detections"),
    (lambda content: changed(content, "classes", [[{"objects": 1}]]), "'scores' is missing"),
])
def test_a_damaged_file_is_refused_in_a_sentence(saved, change, message):
    saved.write_text(change(json.loads(saved.read_text())))
    with pytest.raises(CalibrationError, match=message) as caught:
        Calibration.load(saved)
    assert str(caught.value).startswith(str(saved))
    assert "make it again with frcnn count --calibrate DATA" in str(caught.value)


def changed(content, name, value=None):
    if value is None:
        content.pop(name)
    else:
        content[name] = value
    return json.dumps(content)


def image(content, **values):
    content["classes"][0][0] = {"objects": 5, "scores": [], "right": [], **values}
    return json.dumps(content)


def test_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such calibration; make it again with"):
        Calibration.load(tmp_path / "none.json")
    with pytest.raises(CalibrationError, match="cannot be read as a calibration"):
        Calibration.load(tmp_path)


def test_it_belongs_to_weights_and_settings():
    made = calibration()
    made.check_belongs("c.json", "a.h5", made.sha256, made.settings)
    made.check_belongs("c.json", "a.h5", made.sha256, {})  # settings that only one of them has
    with pytest.raises(CalibrationError, match=r"c\.json is a calibration of other weights "
                                               r"\(a\.h5, SHA-256 aaaaaaaaaaaa…\) than b\.h5 "
                                               r"\(bbbbbbbbbbbb…\); make it again"):
        made.check_belongs("c.json", "b.h5", "b" * 64, made.settings)
    other = score_settings(Config(DETECTION_FLIPS=("horizontal",)))
    with pytest.raises(CalibrationError, match=r"was made with DETECTION_FLIPS \[\], and "
                                               r'detections with \["horizontal"\] have other'):
        made.check_belongs("c.json", "a.h5", made.sha256, other)


@pytest.mark.parametrize("settings", [
    {"DETECTION_SOFT_NMS_SIGMA": 0.5}, {"IMAGE_MAX_DIM": 1280}, {"DETECTION_BOX_VOTING": 0.8},
    {"IMAGE_INTENSITY_RANGE": (0, 4095)}, {"DETECTION_ALL_CLASSES": True}])
def test_settings_that_change_scores_are_compared(settings):
    made = calibration()
    with pytest.raises(CalibrationError, match=next(iter(settings))):
        made.check_belongs("c.json", None, made.sha256, score_settings(Config(**settings)))


def test_settings_that_do_not_change_scores_are_not_compared():
    made = calibration()
    other = Config(IMAGES_PER_GPU=7, LEARNING_RATE=1, DETECTION_MIN_CONFIDENCE=0.1)
    made.check_belongs("c.json", "a.h5", made.sha256, score_settings(other))
