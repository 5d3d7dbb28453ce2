"""Commands that do more than one step of the chain.

`export_folder`, `export`: `agar export-coco`. `predicted_plates`, `counted_folder`: plates with predictions, for
`viewing`, `viewing_counted`: `agar view`, and for `corrections`, `corrected_counts`, `corrected_samples`: `agar count`.
`backup_file`, `backup`: `agar backup` and `agar restore`. `count_files`: `agar predict --out-dir`. `counted_sheet`,
`sample_files`: its `--sheet`. `project`: `agar init`. `model_list`, `model_check`: `agar models`.
`reviewed_photos`, `reviewing`, `accepted_suspects`, `accepting`: `agar review` in FiftyOne. `proposals`,
`joined_proposals`: its `--unlabelled` and `--join`.
"""
