"""`python -m frcnn.cli` is the command `frcnn`."""

from frcnn.cli.main import entry

entry()
