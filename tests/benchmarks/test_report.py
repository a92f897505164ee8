"""Tables of the benchmarks, and the command that prints them."""

import json

import pytest

from benchmarks import __main__ as program
from benchmarks import children, report, variants

SECTION = report.Section("Speed", ["work", "s"], [["forward", "1.23"], ["a | b", "–"]], ["Note."])


def test_text_is_aligned():
    assert report.as_text(SECTION) == (
        "Speed\n"
        "\n"
        "work        s\n"
        "-------------\n"
        "forward  1.23\n"
        "a | b       –\n"
        "\n"
        "Note.")


def test_markdown():
    assert report.as_markdown(SECTION) == (
        "### Speed\n"
        "\n"
        "| work | s |\n"
        "| --- | ---: |\n"
        "| forward | 1.23 |\n"
        "| a \\| b | – |\n"
        "\n"
        "Note.")


@pytest.mark.parametrize(("value", "text"), [
    (1.2345, "1.23"), (0.012345, "0.0123"), (12.345, "12.3"), (123.45, "123"), (1234.5, "1,234"),
    (0.9999, "1.00"), (-1.2345, "-1.23"), (0, "0"), (None, "–")])
def test_figures(value, text):
    assert report.figure(value) == text


def test_other_figures():
    assert report.figure(0.31234, digits=2) == "0.31"
    assert report.span([0.31, 0.29, 0.33]) == "0.290–0.330"
    assert report.span([0.31, 0.29], scale=1e-3) == "290–310"
    assert report.span([]) == report.gigabytes(None) == report.percent(None) == "–"
    assert report.gigabytes(2_840_000_000) == "2.84"
    assert report.percent(0.876) == "88 %"


# --- the command ------------------------------------------------------------------------------


def fake_variants(seconds):
    case = {"one way": {"seconds": [seconds], "difference": 0.0},
            "another": {"seconds": [2 * seconds], "difference": 1e-6}}
    return {"align": {"float32": {"a case": case}}, "suppression": {"a case": case},
            "unit_before": [0.5], "unit_after": [0.5]}


def test_a_subject_as_text_markdown_and_json(monkeypatch, tmp_path, capsys):
    given = []
    monkeypatch.setattr(children, "run", lambda work, **arguments: given.append(
        (work, arguments)) or fake_variants(0.25))
    path = tmp_path / "figures.json"
    assert program.main(["variants", "--runs", "3", "--markdown", "--json", str(path)]) == 0
    assert given == [("variant_parts:measure_variants", {
        "precisions": variants.PRECISIONS, "runs": 3, "warmup": 2, "shrink": 1})]
    text = capsys.readouterr().out
    assert "| a case | one way * | 250 | 250–250 | 0.50 | 0.0e+00 |" in text
    assert "|  | another | 500 | 500–500 | 1.0 | 1.0e-06 |" in text
    figures = json.loads(path.read_text())
    assert figures["options"]["runs"] == 3 and figures["machine"]["cores"] >= 1
    assert figures["variants"] == fake_variants(0.25) and figures["date"]


def test_a_failure_is_printed_and_ends_with_1(monkeypatch, capsys):
    def fail(work, **arguments):
        raise children.ChildError("no memory left")

    monkeypatch.setattr(children, "run", fail)
    assert program.main(["variants"]) == 1
    assert "Failed: variants. no memory left" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["speed"], "there is no subject 'speed'; choose one of table, stages,"),
    (["table", "--runs", "0"], "0 is less than 1"),
    (["variants", "--only", "x"], "unrecognized arguments: --only"),
])
def test_wrong_arguments_are_named(capsys, arguments, message):
    with pytest.raises(SystemExit):
        program.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("subject", [*program.SUBJECTS, "loader"])
def test_every_subject_has_help(capsys, subject):
    with pytest.raises(SystemExit) as end:
        program.main([subject, "--help"])
    assert end.value.code == 0
    assert "--runs" in capsys.readouterr().out


def test_the_commands_help_lists_the_subjects(capsys):
    with pytest.raises(SystemExit):
        program.main(["--help"])
    words = capsys.readouterr().out.replace(",", " ").replace(".", " ").split()
    assert {*program.SUBJECTS, "loader"} <= set(words)
