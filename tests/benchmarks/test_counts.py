"""The measurement of coverage: it counts what it says."""

import numpy as np
from counts_tools import drawn

from benchmarks import counts
from frcnn.evaluate.counts import ImageCounts


def test_shares_of_intervals_that_hold():
    random = np.random.default_rng(0)
    known, new = [drawn(random, 60)], [drawn(random, 40)]
    (section,) = counts.sections(["rbc"], known, new, 3, 0.9)
    assert "calibrated on 60, 40 images" in section.title
    (name, objects, *shares), (total, _, *means) = section.rows
    assert (name, total, shares) == ("rbc", "all", means)
    assert objects == str(sum(image.objects for image in new[0]))
    assert all(0.7 <= float(share) <= 1 for share in shares)


def test_how_many_intervals_are_counted():
    random = np.random.default_rng(1)
    known, new = drawn(random, 30), drawn(random, 23)
    assert len(counts.coverage(known, new, 1, 4, 0.9, random)) == 23  # each image once
    assert len(counts.coverage(known, new, 5, 4, 0.9, random)) == 4 * 4
    assert len(counts.coverage(known, None, 1, 4, 0.9, random)) == 4 * 15  # the other half
    few = [ImageCounts(np.zeros(0), np.zeros(0, bool), 1)] * 12
    assert counts.coverage(few, None, 1, 4, 0.9, random) == []
    (section,) = counts.sections(["rbc"], [few], None, 2, 0.9)
    assert section.rows[0][2:] == ["–"] * 3
