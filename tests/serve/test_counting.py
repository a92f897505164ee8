"""The calibration beside the weights: what it gives, and what does not belong to it."""

import dataclasses

import numpy as np
import pytest
from counts_tools import calibration
from serve_tools import CLASSES

from frcnn.config import Config
from frcnn.errors import CalibrationError
from frcnn.evaluate.calibration_file import calibration_path, score_settings
from frcnn.serve import counting

CONFIG = Config(DETECTION_MIN_CONFIDENCE=0.05)


@pytest.fixture
def stored(tmp_path):
    """Of the class red with enough objects, and of white with too few; beside the weights."""
    made = calibration(("red", "white"), settings=score_settings(CONFIG))
    made = dataclasses.replace(made, classes=[made.classes[0], made.classes[1][:3]])
    made.save(calibration_path(tmp_path / "a.h5"))
    return made


def load(folder, config=CONFIG, sha256="a" * 64, names=("BG", "red", "white")):
    return counting.load_calibration(folder / "a.h5", sha256, config, names)


def test_without_one_nothing_is_expected(tmp_path):
    calibration(("red",)).save(calibration_path(tmp_path / "of_another.h5"))
    assert load(tmp_path).classes == {}


def test_expected_numbers_are_those_of_the_calibration(stored, tmp_path):
    with pytest.warns(UserWarning, match="white has .* objects in 3 images"):
        found = load(tmp_path)
    assert found.least == 0.05 and list(found.classes) == [1]
    known = stored.calibrations(0.05)[0][0]
    random = np.random.default_rng(1)
    scores, class_ids = random.uniform(0.01, 1, 30), random.integers(1, 3, 30)
    red, white = counting.counts(class_ids, scores, 0.5, CLASSES, found)
    kept = scores[(class_ids == 1) & (scores >= 0.05)]
    assert red.detected == np.count_nonzero(kept >= 0.5)
    assert red.expected == known.expected(kept) > 0
    assert red.interval == known.interval([kept], 0.9)
    assert white.expected is white.interval is None
    total = counting.totals([(class_ids, scores)] * 3, found)
    assert list(total) == [1] and total[1].interval == known.interval([kept] * 3, 0.9)
    assert total[1].expected == pytest.approx(3 * red.expected)


@pytest.mark.parametrize("change, text", [
    ({"sha256": "b" * 64}, "other weights"),
    ({"config": CONFIG.replaced(DETECTION_NMS_THRESHOLD=0.6)}, "DETECTION_NMS_THRESHOLD"),
    ({"names": ("BG", "red", "green")}, "has the classes red, white")])
def test_one_of_something_else_is_refused(stored, tmp_path, change, text):
    with pytest.raises(CalibrationError, match=text):
        load(tmp_path, **change)


def test_one_that_was_made_in_tiles_is_refused(stored, tmp_path):
    tiled = dataclasses.replace(stored, settings={**stored.settings, "tile": 512})
    tiled.save(calibration_path(tmp_path / "a.h5"))
    with pytest.raises(CalibrationError, match="made with tile"):
        load(tmp_path)


def test_a_damaged_one_is_refused(tmp_path):
    calibration_path(tmp_path / "a.h5").write_text("{")
    with pytest.raises(CalibrationError, match="cannot be read"):
        load(tmp_path)
