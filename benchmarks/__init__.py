"""Programs that measure how fast the library is; `python -m benchmarks --help` names them."""
