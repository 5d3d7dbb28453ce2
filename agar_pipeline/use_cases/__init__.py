"""Commands that do more than one step of the chain.

`export_folder`, `export`: `agar export-coco`. `viewing`: `agar view`. `backup_file`, `backup`: `agar backup` and
`agar restore`. `count_files`: `agar predict --out-dir`. `sample_files`: `--sheet`.
`project`: `agar init`.
"""
