"""Measurements of the promises in the README: ``python -m benchmarks`` prints them as tables."""
