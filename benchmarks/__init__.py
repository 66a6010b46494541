"""Measurements of the queue against the raw driver; ``python -m benchmarks``."""
