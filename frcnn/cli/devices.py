"""The options of `frcnn train` for several devices and processes, and the life of such a job."""

import argparse
import contextlib
import os
from collections.abc import Iterator

from frcnn.cli import options as opts
from frcnn.errors import ConfigError, FrcnnError
from frcnn.startup import import_quietly, watched
from frcnn.training import distributed
from frcnn.training.interruption import TrainingInterrupted
from frcnn.training.job import BACKEND, GO_ON, Job, exit_at_once

_FAILED = 2  # the exit code, as for any input that cannot be used

# Shows its argument where its input ends without a sign, as when this process is killed.
_SAY = """
import sys
if not sys.stdin.buffer.read(1):
    sys.stderr.write(sys.argv[1] + "\\n")
"""


def add_options(group: opts.OptionGroup) -> None:
    """Adds the options to a parser's group."""
    group.add_argument("--devices", type=opts.positive_integer_or_all, metavar="N",
                       help="train on N of this machine's devices, or on 'all' of them, by JAX; "
                            "they share each batch, whose size they must divide (default: one, by "
                            "Keras's own backend)")
    group.add_argument("--distributed", action="store_true",
                       help="this is one of several processes that train one model by JAX, started "
                            "by srun, mpirun or Kubernetes; see docs/distributed.md")
    group.add_argument("--coordinator", metavar="HOST:PORT",
                       help="where process 0 is, for several processes that are started by hand; "
                            "with --processes and --process-id")
    group.add_argument("--processes", type=opts.positive_integer, metavar="N",
                       help="number of all processes")
    group.add_argument("--process-id", type=opts.whole_number, metavar="I",
                       help="number of this process, from 0")


@contextlib.contextmanager
def job(options: argparse.Namespace) -> Iterator[Job]:
    """A context in which this process belongs to the job that the options ask for.

    In a process other than the first, nothing is printed but errors.
    """
    if not _is_asked_for(options):
        yield Job()
        return
    cluster = options.distributed and options.coordinator is None
    places = (options.coordinator, options.processes, options.process_id)
    distributed.check_places(options.devices, options.distributed, *places)
    distributed.select_backend()
    import_quietly(program=True)
    started = distributed.start(options.devices, cluster=cluster, coordinator=places[0],
                                processes=places[1], process_id=places[2])
    with contextlib.ExitStack() as stack:
        if not started.is_main:
            stack.enter_context(contextlib.redirect_stdout(
                stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        if started.processes > 1:
            stack.enter_context(_ends_together(started))
        print(f"backend       {BACKEND}, which training on several devices needs")
        print(f"processes     {started.processes}, with {started.devices} devices", flush=True)
        yield started


def finish(started: Job) -> bool:
    """Leaves the job when the model is trained; returns whether this process has more to do."""
    if started.devices > 1:
        distributed.finish()
    return started.is_main


def _is_asked_for(options: argparse.Namespace) -> bool:
    places = (options.coordinator, options.processes, options.process_id)
    if options.coordinator is not None and ":" not in options.coordinator:
        raise ConfigError(f"--coordinator is {options.coordinator}; it must be HOST:PORT.")
    return options.distributed or (options.devices or 1) != 1 \
        or any(value is not None for value in places)


@contextlib.contextmanager
def _ends_together(started: Job) -> Iterator[None]:
    """If this process fails, it ends at once, so that the others notice; it never waits for them.

    JAX ends a process whose job has lost another one, from within, with no Python code run.
    """
    text = (f"Process {started.process} of {started.processes} was ended from outside, or by JAX "
            f"because another process of the job no longer answers. {GO_ON}")
    with watched(_SAY, text):
        try:
            yield
        except TrainingInterrupted:  # on which all have agreed
            raise
        except BaseException as error:
            exit_at_once(
                _FAILED if isinstance(error, (FrcnnError, OSError)) else 1)
            raise
