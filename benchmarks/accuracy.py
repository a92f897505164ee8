"""The accuracy table: trainings with one change each, from random weights, evaluated on "val".

    python -m benchmarks accuracy DIR --task bccd --rows anchors,adamw --seeds 1,2,3 --results FILE

DIR holds the folders of the data sets, "bccd" and "umid". Every training is a process of its own,
and adds a line to FILE; those that FILE has already are not repeated. The table is printed at the
end, also of what earlier calls have added.
"""

import argparse
import json
import statistics
from pathlib import Path

from benchmarks import children, machine, report
from benchmarks.accuracy_rows import ROWS, TASKS

DETECTION = "soft"  # the way to detect that the table shows, in `training_run.DETECTIONS`


def main(arguments=None):
    """The program; returns 1 if a training failed."""
    options = make_parser().parse_args(arguments)
    results, failures = load(options.results, options.start), []
    for name in options.rows:
        for seed in options.seeds:
            if find(results, options.task, name, seed):
                continue
            children.progress(f"{options.task}: {name}, seed {seed}")
            try:
                results.append(train(options, name, seed))
            except children.ChildError as error:
                failures.append(f"{name}, seed {seed}: {error}")
                continue
            with open(options.results, "a", encoding="utf-8") as file:
                file.write(json.dumps(results[-1]) + "\n")
    sections = [table(results, task, options.detection) for task in TASKS
                if any(result["task"] == task for result in results)]
    as_text = report.as_markdown if options.markdown else report.as_text
    print("\n\n".join(map(as_text, sections)), *failures, sep="\n")
    return 1 if failures else 0


def make_parser():
    """The program's parser."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks accuracy",
                                     description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path, metavar="DIR", help="folder of the data sets' folders")
    parser.add_argument("--task", choices=TASKS, default="bccd",
                        help="data set, size and length (%(default)s)")
    parser.add_argument("--rows", type=_names, default=["anchors", "recipe"], metavar="NAMES",
                        help="separated by commas: " + ", ".join(ROWS))
    parser.add_argument("--seeds", default=[1, 2, 3], metavar="NUMBERS",
                        type=lambda text: [int(seed) for seed in text.split(",")],
                        help="separated by commas (1,2,3)")
    parser.add_argument("--results", type=Path, default=Path("accuracy.jsonl"), metavar="FILE",
                        help="a line for each training (%(default)s)")
    parser.add_argument("--subset", default="val", help="what is evaluated (%(default)s)")
    parser.add_argument("--detection", default=DETECTION, metavar="NAME",
                        help="'reference', 'all classes' or 'soft' (%(default)s)")
    parser.add_argument("--precision", default="auto", help="as of Config (%(default)s)")
    parser.add_argument("--start", metavar="FILE",
                        help="weights of the same network that every training begins with, without "
                             "the layers that depend on the classes (default: random ones)")
    parser.add_argument("--weights", type=Path, metavar="DIR",
                        help="folder that the trained weights are saved to (default: none are)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    return parser


def _names(text):
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no row {unknown[0]!r}; choose from "
                                         + ", ".join(ROWS))
    return names


def load(path, start=None):
    """The results in a file of trainings that begin with `start`; empty if there is no file."""
    if not path.exists():
        return []
    results = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [result for result in results if result.get("start") == start]


def find(results, task, name, seed):
    """The result of a training, or None."""
    return next((result for result in results
                 if (result["task"], result["row"], result["seed"]) == (task, name, seed)), None)


def train(options, name, seed):
    """Trains one row with one seed in a process of its own; returns its result."""
    task, row = TASKS[options.task], ROWS[name]
    scores = children.run(
        "training_run:measure", data=str(options.data / task.folder), settings=row.on(task),
        seed=seed, epochs=task.epochs, size=task.size, schedule=row.schedule,
        augmentation=row.augmentation, precision=options.precision, subset=options.subset,
        weights=_weights(options, name, seed), start=options.start)
    return {"task": options.task, "row": name, "seed": seed, "subset": options.subset,
            "start": options.start, "machine": machine.describe()["processor"], **scores}


def _weights(options, name, seed):
    if options.weights is None:
        return None
    begin = [f"from-{Path(options.start).stem}"] if options.start else []
    parts = [options.task, *name.split(), *begin, f"seed{seed}"]
    return str(options.weights / ("-".join(parts) + ".h5"))


def table(results, task, detection):
    """The Section of one task: a line for each row with results, in the order of `ROWS`."""
    lines = []
    for name, row in ROWS.items():
        found = [result[detection] for result in results
                 if result["task"] == task and result["row"] == name]
        if found:
            classes = {label: statistics.mean(run["per_class"][label] or 0.0 for run in found)
                       for label in found[0]["per_class"]}
            lines.append([name, row.text, str(len(found)),
                          *(_spread([run[key] for run in found]) for key in ("AP50", "AP", "AP75")),
                          ", ".join(f"{label} {value:.3f}" for label, value in classes.items())])
    about = TASKS[task]
    return report.Section(
        f"{task}: {about.size} pixels, {about.epochs} epochs",
        ["row", "change", "seeds", "AP50", "AP", "AP75", "AP50 of the classes"], lines)


def _spread(values):
    """The mean, and lowest and highest where there are several."""
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f}–{max(values):.3f})"
