"""Programs that measure how long things take; start one with `python -m benchmarks.<name>`."""
