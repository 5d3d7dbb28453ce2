"""From detections to the count of a plate: what counts, from which score, and how certain the count is."""
