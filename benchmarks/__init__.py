"""How fast, beside how exact: `python -m benchmarks`."""
