"""The chain of assets as data, without Dagster: which assets exist, which are stale, and how one is built.

`nodes`: assets, their configs and their inputs. `agreement`: inputs must come from the same versions of their
ancestors. `current`: the artifact that matches today's config. `plan`, `reasons`: which assets would be built again,
and why. `build`: builds one asset, or finds it built. `observation`: whether the dataset changed.
"""
