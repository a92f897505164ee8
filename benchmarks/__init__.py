"""Programs that measure the library's speed; `python -m benchmarks --help` lists them."""
