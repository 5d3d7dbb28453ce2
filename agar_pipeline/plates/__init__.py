"""Generated photos of agar plates with their labels: what the demo, the tests and the benchmarks run on.

`colony_paint`, `plate_paint`: pixels. `generate`: photos and labels in AGAR's own format.
"""
