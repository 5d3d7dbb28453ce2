"""From detections to the count of a plate: what counts, from which score, and how certain the count is.

<<<<<<< HEAD
`threshold` chooses the score on val from which a detection counts, `intervals` says how far the count may be off.

`dish` finds the dish on a photo, and `region` says whether only what lies inside counts. `photo_features` measures a
photo, and `likeness` says in which respect it is unlike the training photos.

From the counts of plates to a sample: `sheet`, with the cells of `sheet_cells`, says what is on which plate; `cfu`
computes colony-forming units from `plate_count`s, and `agreement` finds counts that contradict each other; `samples`
joins them.
=======
`calibration`: all that a count needs besides the detector.
>>>>>>> cb316ef (The evaluation calibrates counts on val: which classes count, from which score; agar predict --experiment counts by it, and nothing is trained again when it changes)
"""
