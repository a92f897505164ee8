"""A parsed page, and data sets to write one for."""

import base64
from html.parser import HTMLParser

from evaluate_tools import Boxes

from frcnn import evaluate, report

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A parsed page, which fails where tags do not close in order.

    Attributes: `tags` (list of (name, attributes)), `text` (all that is shown), `by_id` (id → the
    element's text), `tables` (id → rows of cells' texts), `titles` (of h2), `style`.
    """

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.shown = [], [], []
        self.by_id, self.tables, self.titles, self.style = {}, {}, [], ""
        self._table = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag in VOID:
            return
        self.open.append((tag, attributes.get("id")))
        if tag == "table":
            self._table = self.tables.setdefault(attributes.get("id"), [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
        elif tag == "h2":
            self.titles.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        names = [tag for tag, _ in self.open]
        if "style" in names:
            self.style += data
            return
        self.shown.append(data)
        for _, key in self.open:
            if key:
                self.by_id[key] = self.by_id.get(key, "") + data
        if {"td", "th"} & set(names):
            # a share is in the cell of its count
            self._table[-1][-1] += f" {data}" if names[-1] == "small" else data
        if "h2" in names:
            self.titles[-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.shown).split())

    def pictures(self):
        """(kind, content as bytes) of each embedded picture."""
        found = []
        for tag, attributes in self.tags:
            if tag == "img":
                head, _, content = attributes["src"].partition(";base64,")
                found.append((head.removeprefix("data:"), base64.b64decode(content)))
        return found


class Slides(Boxes):
    """`Boxes` whose images have files' names and sizes."""

    def __init__(self, images, names=("cast", "cryst", "eryth"), files=None):
        super().__init__(images, names)
        for index, info in enumerate(self.image_info):
            info.update(width=100, height=100,
                        path=files[index] if files else f"/slides/slide{index}.png")


def write(folder, dataset, found, run=None, counts=None, **options):
    """Evaluates, writes the report, and returns the figures and the Page."""
    metrics = evaluate.evaluate_detections(dataset, found, score_threshold=0.05, nms_threshold=0.3)
    if counts is not None:
        metrics["counts"] = counts
    options = {"examples": 1, **options}
    path = report.write_report(folder / "report.html", dataset, found, metrics, run, **options)
    return metrics, Page(path)
