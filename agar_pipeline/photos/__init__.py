"""Reads photos, as files and as pixels: which ones a folder has, where they are, how they are rotated and decoded.

- `formats`: which files are photos, and which of them can be read.
- `folder_walk`: the files below a folder.
- `image_paths`: where an image of a COCO file is, and whether it may be opened.
- `name_spellings`, `missing_photos`: file names that differ from a listed name only in spelling.
- `exif_orientation`: reads the EXIF orientation.
- `eight_bits`: any photo as 8-bit RGB, upright.
- `load_and_resize`: one photo at the size that the model sees.
- `jpeg_copy`: the JPEG of a training copy.
"""
