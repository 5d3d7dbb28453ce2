"""Follows artifacts back to what they were made from.

`lineage`: an artifact followed back to its snapshot. `photo_history`: one image followed through all artifacts.
`run_comparison`: two evaluations compared.
"""
