"""Parts of a report: statistics of a data set, the choice of examples, a run's history."""

import json

import numpy as np
import pytest
from evaluate_tools import A, B, C, result, shift
from report_tools import Slides

from frcnn.config import Config
from frcnn.report import choose_examples, describe_dataset, read_history, score_images
from frcnn.report.examples import Score


def test_a_data_set_is_counted_and_measured():
    big = [0, 0, 100, 100]
    found = describe_dataset(Slides([([A, B, big], [1, 1, 3]), ([], []), ([A, C], [1, -2])]))
    assert {key: found[key] for key in ("images", "empty", "objects", "crowds")} == \
        {"images": 3, "empty": 1, "objects": 4, "crowds": 1}
    assert found["per_image"] == (pytest.approx(4 / 3), 3)
    assert found["image_sizes"] == [(100, 100, 3)] and found["by_size"] == [3, 0, 1]
    np.testing.assert_allclose(found["sides"], [10, 20, 100, 10])
    assert found["class_ids"].tolist() == [1, 1, 3, 1] and found["resized"] is None
    cast, cryst, eryth = found["classes"]
    assert cast == {"class_id": 1, "name": "cast", "objects": 3, "images": 2,
                    "sides": (10, 10, 19)}
    assert cryst["objects"] == 0 and cryst["sides"] is None
    assert eryth["sides"] == (100, 100, 100)


@pytest.mark.parametrize("settings, scale", [
    ({"IMAGE_RESIZE_MODE": "none"}, 1), ({"IMAGE_MIN_DIM": 320, "IMAGE_MAX_DIM": 320}, 3.2),
    ({"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 150}, 1.5)])
def test_sides_are_also_given_for_resized_images(settings, scale):
    found = describe_dataset(Slides([([A, B], [1, 1])]), config=Config(**settings))
    np.testing.assert_allclose(found["resized"], [10 * scale, 20 * scale])


def test_a_part_of_a_data_set_and_an_empty_one():
    dataset = Slides([([A], [1]), ([B, C], [1, 2])])
    assert describe_dataset(dataset, [0])["objects"] == 1
    nothing = describe_dataset(Slides([]), config=Config())
    assert nothing["images"] == nothing["objects"] == 0 and nothing["per_image"] == (0, 0)


def test_images_are_scored():
    crowd = [100, 100, 200, 200]
    dataset = Slides([([A, B, C, crowd], [1, 2, 3, -1]), ([], []), ([], []), ([A], [1])])
    found = {0: result([A, B, [110, 110, 120, 120], shift(C, 60)], [1, 3, 1, 3], [.9, .8, .7, .6]),
             2: result([A], [1], [0.9]), 3: result([A], [1], [0.4])}
    scores, counts = score_images(dataset, found)
    assert [(score.hits, score.missed, score.false) for score in scores] == [
        (1, 2, 2), (0, 0, 0), (0, 0, 1), (0, 1, 0)]
    assert [score.f1 for score in scores] == [pytest.approx(1 / 3), None, 0, 0]
    assert counts[1].tolist() == [1, 1, 0, 0] and counts.sum() == 6
    low, _ = score_images(dataset, found, [3], score_threshold=0.3)
    assert [score.f1 for score in low] == [1]


def test_examples_are_the_best_the_worst_and_others():
    scores = [Score(0, 1, 0, 0), Score(1, 5, 0, 0), Score(2, 0, 1, 0), Score(3, 0, 3, 3),
              Score(4, 2, 2, 2), Score(5, 0, 0, 0), Score(6, 1, 1, 1), Score(7, 3, 1, 1)]
    chosen = choose_examples(scores, 2)
    assert [score.image_id for score in chosen["best"]] == [1, 0]
    assert [score.image_id for score in chosen["worst"]] == [3, 2]
    others = {score.image_id for score in chosen["random"]}
    assert len(others) == 2 and others <= {4, 5, 6, 7}
    assert chosen == choose_examples(scores, 2) != choose_examples(scores, 2, seed=1)


@pytest.mark.parametrize("count, kinds", [(0, (0, 0, 0)), (1, (1, 0, 0)), (4, (3, 1, 0)),
                                          (7, (3, 3, 1))])
def test_no_image_is_an_example_twice(count, kinds):
    chosen = choose_examples([Score(i, i, 1, 1) for i in range(count)])
    assert tuple(len(scores) for scores in chosen.values()) == kinds
    ids = [score.image_id for scores in chosen.values() for score in scores]
    assert len(set(ids)) == len(ids)


def test_a_history_is_read(tmp_path):
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"epoch": [1, 2], "loss": [2, None]}))
    assert read_history(tmp_path) == {"epoch": [1, 2], "loss": [2.0, None]}


@pytest.mark.parametrize("text", [
    None, "[", "[1]", "{}", '{"loss": [1]}', '{"epoch": [1], "loss": [1, 2]}', '{"epoch": 3}',
    '{"epoch": ["one"]}', '{"epoch": [null]}'])
def test_a_history_that_is_missing_or_damaged_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / "history.json").write_text(text)
    assert read_history(tmp_path) == {}
