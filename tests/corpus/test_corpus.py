"""Malformed input: each case of `bad_input` has its exact message, or is repaired as it says.

None ends in a stack trace, and none passes silently.
"""

import importlib
import re

import bad_input
import pytest
from places import PROJECT

KINDS = ("coco", "voc", "images", "weights", "settings", "commands", "arrays", "changing")
CASES = {kind: importlib.import_module(f"bad_input.{kind}").CASES for kind in KINDS}
ALL = [pytest.param(case, id=f"{kind}: {case.name}") for kind, cases in CASES.items()
       for case in cases]


@pytest.mark.parametrize("case", ALL)
def test_case(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bad_input.lines_of(case.act, tmp_path) == list(case.says)


@pytest.mark.parametrize("kind", KINDS)
def test_no_case_passes_silently(kind):
    silent = [case.name for case in CASES[kind] if case.harmless == bad_input.is_said(case.says)]
    assert not silent


def test_the_page_has_the_numbers_of_cases():
    page = (PROJECT / "docs" / "robustness.md").read_text(encoding="utf-8")
    stated = {kind: int(count) for kind, count in
              re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", page, re.MULTILINE)}
    counts = {kind: len(cases) for kind, cases in CASES.items()}
    assert stated == counts
    assert sum(counts.values()) >= 200 and f"{sum(counts.values())} cases" in page


def test_names_are_distinct():
    names = [(kind, case.name) for kind, cases in CASES.items() for case in cases]
    assert len(set(names)) == len(names)
