"""From detections to the count of a plate: what counts, from which score, and how certain the count is.

`calibration`: all that a count needs besides the detector, as `counting.json` keeps it.
`threshold` chooses the score on val from which a detection counts, `intervals` says how far the count may be off.

`dish` finds the dish on a photo, and `region` says whether only what lies inside counts. `photo_features` measures a
photo, and `likeness` says in which respect it is unlike the training photos. `photo_study`
reads val and train for both.

From the counts of plates to a sample: `sheet`, with the cells of `sheet_cells`, says what is on which plate; `cfu`
computes colony-forming units from `plate_count`s, and `agreement` finds counts that contradict each other; `samples`
joins them.
"""
