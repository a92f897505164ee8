"""Speed of the implementations of RoI align and of suppression."""

from benchmarks import children, report
from benchmarks.matrix_product import unit_seconds
from benchmarks.measure import median

HELP = "the implementations of RoI align and suppression"
PRECISIONS = ("float32", "bfloat16")
MILLISECONDS = 1e-3


def add_options(parser):
    """Options of this subject alone: none."""


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    try:
        found = children.run("variant_parts:measure_variants", precisions=PRECISIONS,
                             runs=options.runs, warmup=options.warmup, shrink=options.shrink)
    except children.ChildError as error:
        return [], {}, [f"Failed: variants. {error}"]
    unit = unit_seconds(found)
    sections = [section(f"RoI align, {precision}", cases, unit)
                for precision, cases in found["align"].items()]
    sections.append(section("Suppression", found["suppression"], unit))
    return sections, found, []


def section(title, cases, unit):
    """One comparison: a line for each case and variant, the fastest of a case marked."""
    lines = []
    for case, variants in cases.items():
        best = min(variants, key=lambda name: median(variants[name]["seconds"]))
        for number, (name, data) in enumerate(variants.items()):
            seconds = median(data["seconds"])
            lines.append([
                "" if number else case, name + (" *" if name == best else ""),
                report.figure(seconds / MILLISECONDS), report.span(data["seconds"], MILLISECONDS),
                report.figure(seconds / unit, 2), f"{data['difference']:.1e}"])
    return report.Section(
        title, ["case", "variant", "ms", "range, ms", "units", "difference"], lines,
        ["* The fastest. Difference is the largest one from the first variant's result, divided by "
         "that result's largest magnitude."])
