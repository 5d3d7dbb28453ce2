"""All Dagster wiring: assets, checks, jobs, resources, sensors. It computes nothing."""
