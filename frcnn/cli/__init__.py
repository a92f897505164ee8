"""The `frcnn` command; each subcommand is a module."""
