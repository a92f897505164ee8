"""Training steps on one and two devices and processes of this machine, and in one order of sums."""

import socket
from concurrent.futures import ThreadPoolExecutor

from benchmarks import children, report
from benchmarks.measure import median
from benchmarks.rows import shrink_side

HELP = "training on several devices and processes of the processor, and --deterministic"
SIDE, BATCH, STEPS = 256, 2, 10
# name, processes, and arguments of `devices_rows.measure`
ROWS = [
    ("TensorFlow", 1, {"backend": "tensorflow"}),
    ("TensorFlow, --deterministic", 1, {"backend": "tensorflow", "deterministic": True}),
    ("JAX, one device", 1, {"backend": "jax"}),
    ("JAX, --deterministic", 1, {"backend": "jax", "deterministic": True}),
    ("JAX, two devices of one process", 1, {"backend": "jax", "devices": 2}),
    ("JAX, two processes", 2, {"backend": "jax"}),
]
ONE_DEVICE = {"tensorflow": "TensorFlow", "jax": "JAX, one device"}


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("devices")
    group.add_argument("--steps", type=int, default=STEPS, help="timed in each (%(default)s)")


def run(options):
    """Measures; returns sections, data for JSON, and errors."""
    side, found, errors = shrink_side(SIDE, options.shrink), {}, []
    for name, processes, arguments in ROWS:
        children.progress(name)
        try:
            found[name] = together(processes, side=side, batch=BATCH, steps=options.steps,
                                   **arguments)
        except children.ChildError as error:
            errors.append(f"Failed: {name}. {error}")
    return [section(found, side)], {"side": side, "seconds": found}, errors


def together(processes, **arguments):
    """Seconds of the steps, as the first of so many processes of a job sees them."""
    jobs = [None]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        jobs = [{"coordinator": address, "processes": processes, "process_id": number}
                for number in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        runs = [pool.submit(children.run, "devices_rows:measure", job=job, **arguments)
                for job in jobs]
    return runs[0].result()


def section(found, side):
    """The table: a line for each row, and its rate beside that of one device of its backend."""
    lines = []
    for name, _, arguments in ROWS:
        if name not in found:
            continue
        step, alone = median(found[name]), median(found.get(ONE_DEVICE[arguments["backend"]], []))
        lines.append([name, report.figure(step), report.span(found[name]),
                      report.figure(BATCH / step), f"{alone / step:.2f}" if alone else "–"])
    return report.Section(
        f"Training, ResNet-50, {BATCH} images of {side}² a step, float32, processor",
        ["what", "s", "range", "images/s", "of one device's rate"], lines,
        ["All devices are the same processor's, and one uses all of its cores already: the figures "
         "say what several cost, not what they gain."])
