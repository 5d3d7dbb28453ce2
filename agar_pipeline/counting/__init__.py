"""From detections to the count of a plate: what counts, from which score, and how certain the count is.

`threshold` chooses the score on val from which a detection counts, `intervals` says how far the count may be off.
"""
