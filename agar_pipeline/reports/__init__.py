"""Writes HTML pages and pictures for people from computed results; no result is computed a second time here."""
