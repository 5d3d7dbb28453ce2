"""The detector: models, fitting to the data, data loading, inference and training, on torch.

The modules here do not use the artifact store, Dagster or FiftyOne. In the order of the data: `models`, `fitting`,
`loading`, `inference`, `training`.
"""
