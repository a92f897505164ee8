"""Rows: a forward pass or training step measured in a process of its own, and its figures."""

from dataclasses import asdict, dataclass, field

from benchmarks import children
from benchmarks.matrix_product import MULTIPLY_ADDS, SIDE, is_steady, unit_seconds
from benchmarks.measure import median

PRECISIONS = ("float32", "mixed_bfloat16")
SHORT = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16",
         "auto": "auto"}
WORKS = {"detect": "detection", "train": "training step"}


@dataclass(frozen=True)
class Row:
    """What is measured; the fields are the arguments of `network.measure_row`."""

    task: str
    side: int
    batch: int = 1
    precision: str = "float32"
    train_bn: bool = False
    jit_compile: bool | None = None
    settings: dict = field(default_factory=dict)
    weights_change: bool = False

    def __str__(self):
        images = f"{self.batch} image{'s' if self.batch > 1 else ''}"
        work = {"detect": "forward pass", "train": "training step"}[self.task]
        extra = ", BatchNorm trained" if self.train_bn else ""
        extra += ", XLA" if self.jit_compile else ""
        extra += ", weights may change" if self.weights_change else ""
        extra += "".join(f", {name}={value}" for name, value in self.settings.items())
        return f"{work}, {images}, {self.side}²{extra}"


@dataclass(frozen=True)
class Result:
    """A measured row.

    Attributes:
        row: the Row.
        data: what `network.measure_row` returned.
    """

    row: Row
    data: dict

    @property
    def seconds(self):
        """Median of the runs."""
        return median(self.data["seconds"])

    @property
    def unit(self):
        """Seconds of the matrix product in the same process."""
        return unit_seconds(self.data)

    @property
    def units(self):
        """The median in units."""
        return self.seconds / self.unit

    @property
    def steady(self):
        """Whether the unit was the same before and after."""
        return is_steady(self.data)

    def share(self, product=SIDE):
        """The arithmetic rate as a share of the float32 matrix product's."""
        return self.data["multiply_adds"] / self.seconds / (product**3 / self.unit)

    def to_dict(self):
        """The row and its data, for JSON."""
        return {"row": asdict(self.row), **self.data}


def shrink_side(side, shrink):
    """A side for a trial run: divided, and a multiple of 64, as the pyramid requires."""
    return max(64, side // shrink // 64 * 64)


def measure_all(rows, options, progress=children.progress):
    """Measures rows one after another, each in a new process.

    Args:
        options: with `runs`, `warmup` and `shrink`.
        progress: called with a line of progress after each row.

    Returns:
        results: list of Result, None for a row that failed.
        errors: list of str, one for each of those.
    """
    results, errors = [], []
    for number, row in enumerate(rows, start=1):
        name = f"{row}, {SHORT[row.precision]}"
        try:
            data = children.run("network:measure_row", **asdict(row), runs=options.runs,
                                warmup=options.warmup, product=SIDE // options.shrink)
        except children.ChildError as error:
            progress(f"[{number}/{len(rows)}] {name}: failed")
            results.append(None)
            errors.append(f"Failed: {name}. {error}")
            continue
        results.append(Result(row, data))
        progress(f"[{number}/{len(rows)}] {name}: {results[-1].seconds:.3f} s")
    return results, errors


def ideal_units(multiply_adds):
    """How many units the multiply-adds would take at the matrix product's rate."""
    return multiply_adds / MULTIPLY_ADDS
