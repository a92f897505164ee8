"""Numbers by image and sample, and by area, volume and field: worked by hand."""

import numpy as np
import pytest
from counts_tools import drawn
from hypothesis import given
from hypothesis import strategies as st

from frcnn.errors import ArgumentError
from frcnn.evaluate.calibration import calibrate
from frcnn.evaluate.sample_counts import COLUMNS, CountedImage, Counter, Scale

NAMES = ["BG", "rbc", "wbc"]


def images(*areas):
    return [CountedImage(f"{place}.png", np.array([1, 1, 2]), np.array([0.9, 0.4, 0.8]), area)
            for place, area in enumerate(areas)]


def test_areas_volumes_and_fields_by_hand():
    """1000 × 2000 pixels of half a micron are 0.5 mm of 1 mm; 100 µm below that are 0.05 µl."""
    scale = Scale(mpp=0.5, depth=100, field_area=0.2)
    assert scale.area((1000, 2000)) == pytest.approx(0.5)
    assert scale.area((1000, 2000), mpp=9) == pytest.approx(0.5)  # what is given counts
    assert scale.sizes(0.5) == {"per_mm2": 0.5, "per_ul": pytest.approx(0.05),
                                "per_hpf": pytest.approx(2.5)}
    assert Scale().area((10, 10)) is None and Scale(mpp=1).area(None) is None
    assert Scale().area((1000, 1000), mpp=1) == pytest.approx(1)
    assert Scale(mpp=1).sizes(2.0) == {"per_mm2": 2.0, "per_ul": None, "per_hpf": None}
    assert Scale(depth=1, field_area=1).sizes(None) == dict.fromkeys(scale.sizes(1))


@pytest.mark.parametrize("name", ["mpp", "depth", "field_area"])
@pytest.mark.parametrize("value", [0, -1.5, float("nan"), float("inf")])
def test_a_scale_is_above_0(name, value):
    with pytest.raises(ArgumentError, match=f"{name} is .*; it must be a number above 0"):
        Scale(**{name: value})


def test_rows_without_a_calibration():
    counter = Counter(NAMES, [], Scale(depth=100), 0.9, 0.5)
    rows = list(counter.rows(images(0.5, 1.5), {"a": [0, 1]}))
    assert [(row["kind"], row["name"], row["class"], row["images"], row["counted"])
            for row in rows] == [
        ("sample", "a", "rbc", 2, 2), ("sample", "a", "wbc", 2, 2),
        ("image", "0.png", "rbc", 1, 1), ("image", "0.png", "wbc", 1, 1),
        ("image", "1.png", "rbc", 1, 1), ("image", "1.png", "wbc", 1, 1)]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert rows[0]["area_mm2"] == 2 and rows[0]["per_mm2"] == 1
    assert rows[0]["per_ul"] == pytest.approx(10)  # 2 in 0.2 µl
    assert rows[0]["per_ul_low"] is None and rows[0]["per_hpf"] is None
    assert rows[0]["expected"] is None and rows[0]["low"] is None


def test_an_area_is_that_of_all_images_or_none():
    counter = Counter(NAMES, [], Scale(), 0.9, 0.5)
    row = next(counter.rows(images(0.5, None), None))
    assert (row["kind"], row["name"], row["area_mm2"], row["per_mm2"]) == ("all", "", None, None)
    assert list(counter.rows([], {})) == []
    assert next(counter.rows([], None))["counted"] == 0


def test_rows_with_a_calibration():
    made = calibrate(drawn(np.random.default_rng(0), 60))
    counter = Counter(NAMES, [made, None], Scale(field_area=0.25), 0.9, 0.5, min_score=0.45)
    row, other, *_ = counter.rows(images(0.5, 1.5), None)
    assert row["expected"] == pytest.approx(made.expected([0.9, 0.9]))  # 0.4 is below the least
    assert (row["low"], row["high"]) == made.interval([np.array([0.9])] * 2)
    assert row["per_mm2"] == pytest.approx(row["expected"] / 2)
    assert row["per_hpf"] == pytest.approx(row["expected"] / 8)
    assert row["per_hpf_low"] == row["low"] / 8 and row["per_hpf_high"] == row["high"] / 8
    assert other["expected"] is None and other["counted"] == 2


@given(st.lists(st.lists(st.floats(0, 1), max_size=8), min_size=1, max_size=6),
       st.integers(1, 3))
def test_samples_are_the_sums_of_their_images(scores, count):
    """Whatever the grouping, counted and expected numbers and areas add up."""
    made = calibrate(drawn(np.random.default_rng(1), 40))
    found = [CountedImage(str(place), np.ones(len(part), int), np.array(part), 0.5)
             for place, part in enumerate(scores)]
    samples = {str(number): list(range(number, len(found), count)) for number in range(count)}
    counter = Counter(NAMES[:2], [made], Scale(), 0.9, 0.5)
    rows = list(counter.rows(found, samples))
    for name in ("images", "counted", "expected", "area_mm2"):
        parts = [sum(row[name] or 0 for row in rows if row["kind"] == kind)
                 for kind in ("sample", "image")]
        assert parts[0] == pytest.approx(parts[1])
        assert next(counter.rows(found, None))[name] == pytest.approx(parts[0])
