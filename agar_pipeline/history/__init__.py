"""What was made from what, long after it was.

`lineage`: an artifact followed back to its snapshot. `photo_history`: one photo through all artifacts.
`run_comparison`: two evaluations side by side.
"""
