"""Reads text from outside (files, names, messages) and makes it safe to show.

- `text_files`: encodings, JSON, YAML and XML.
- `yaml_faults`: explains errors in a YAML file.
- `ids`: ids of COCO files.
- `unplaced_error`: errors of these readers, without the file's name.
- `secrets`: finds and hides passwords and keys.
- `powers_of_ten`: writes numbers as laboratories do.
- `plurals`: a count with its noun.
- `name_list`: the first of many names, for a message.
- `safe_text`: makes names safe for a terminal, a spreadsheet or a shell.
"""
