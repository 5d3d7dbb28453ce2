"""All Dagster wiring: assets, checks, jobs, resources. No computing here."""
