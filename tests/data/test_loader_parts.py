"""Parts of batches, which the processes of one training make."""

import numpy as np
import pytest
from model_tools import Rectangles, small_config

from frcnn.data.loader import DetectionSequence


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_make_up_the_batch_and_read_no_other_image(workers):
    """Also in the last batch, which is filled up from the start of the order."""
    config = small_config(IMAGES_PER_GPU=6)
    whole = DetectionSequence(Rectangles([(128, 128)] * 8), config, seed=5, augmentation="flip")
    for epoch in range(2):
        for index in range(2):
            read, parts = [], []
            for rank in range(3):
                data = Rectangles([(128, 128)] * 8)
                load, of_rank = data.load_image, []
                data.load_image = lambda i, load=load, of=of_rank: of.append(int(i)) or load(i)
                part = DetectionSequence(data, config, seed=5, augmentation="flip",
                                         initial_epoch=epoch, part=(rank, 3), workers=workers,
                                         max_queue_size=1)
                assert len(part) == len(whole) == 2 and part.batch_size == 6
                parts.append(part[index][0])
                read.append(of_rank)
            expected = whole._batch(epoch, index)
            for name, value in expected.items():
                np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), value)
            places = whole.image_order(epoch)[np.arange(6 * index, 6 * index + 6) % 8]
            if workers == 1:
                assert read == [list(map(int, places[2 * r:2 * r + 2])) for r in range(3)]
