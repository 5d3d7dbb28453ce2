"""Photos as files and as pixels: which ones a folder has, where they are, how they are turned and decoded.

`formats`: which files are photos, and which can be read here. `folder_walk`: the files below a folder. `image_paths`:
where an image of a COCO file is, and whether it may be opened. `name_spellings`, `missing_names`: names that almost
fit. `exif_orientation`: the tag. `pixels`: any photo as 8-bit RGB, upright. `jpeg_copy`: the JPEG of a training copy.
`decoding`: one photo at the size that a model sees.
"""
