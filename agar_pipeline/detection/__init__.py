"""The detector: built, fitted to the data, fed, asked, trained. No artifact store, no Dagster, no FiftyOne.

In the order of the data: `models`, `fitting`, `loading`, `inference`, `training`.
"""
