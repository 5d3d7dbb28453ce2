"""Generates synthetic images of agar plates with annotations, for the demo, the tests and the benchmarks.

`colony_paint`, `plate_paint`: pixels. `generate`: images and annotations in AGAR's own format, or
with a COCO file.
"""
