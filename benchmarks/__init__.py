"""Measurements of npcsdk, each against its floor in the same run. `python -m benchmarks --help`."""
