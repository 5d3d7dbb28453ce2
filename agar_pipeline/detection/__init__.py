"""Boxes, images, models and metrics: the core of the detector. No artifact store, no Dagster, no FiftyOne."""
