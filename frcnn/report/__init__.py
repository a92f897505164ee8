"""A page about a trained detector: `report.html`, a single file that needs no network.

Modules: `statistics` (contents of a data set), `examples` (which images to show, and their
pictures), `figures` (plots as embedded pictures), `content` (everything on the page, as plain
values), `page` (the values as HTML). Nothing here loads Keras.
"""

from frcnn.report.content import Run, read_history
from frcnn.report.examples import choose_examples, score_images
from frcnn.report.page import write_report
from frcnn.report.statistics import describe_dataset

__all__ = [
    "Run",
    "choose_examples",
    "describe_dataset",
    "read_history",
    "score_images",
    "write_report",
]
