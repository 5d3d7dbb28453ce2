"""Text that others wrote: files, names and messages, read in one place and shown safely.

`secrets`: passwords and keys, found and hidden. `safe_text`: names on their way to a terminal or a spreadsheet.
`yaml_faults`: what is wrong in a YAML file. `text_files`: encodings, JSON and YAML. `ids`: ids of COCO files.
"""
