"""Finds labels that are probably wrong, and photos to annotate next, from predictions of photos that were not learnt.

`overlaps`: boxes of two sets that overlap. `evidence`: how strongly annotations and detections disagree, kind by kind.
`trial_errors`: errors made on purpose in a copy of the labels. `probability`: from the evidence to the probability of
an error. `suspects`: the ranked table, and how many labels are wrong. `reasons`: one sentence for each suspect.
`suspect_ids`: their names. `acquisition`: which photos to annotate next.
"""
