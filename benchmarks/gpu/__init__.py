"""Benchmarks of one card: `make bench-gpu`. Neither FiftyOne nor Dagster is needed."""
