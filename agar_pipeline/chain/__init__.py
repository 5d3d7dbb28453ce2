"""The chain of assets as data, without Dagster: what there is, what is stale, how one is built.

`nodes`: assets, their configs, what each is made from. `agreement`: inputs that must come from the same ancestors.
`current`: the artifact that today's config names. `plan`, `reasons`: what would run again, and why. `build`: one asset
built, or found built. `observation`: whether the dataset changed.
"""
