"""Decides whether a file, folder or sample was made by this software, so that it may be changed or removed.

The rule: only what this software made is changed or removed, and only while it is still as it was written. It is
recognised by a marker, and by a list that was written when it was made. If a person edited it afterwards, it belongs to
that person. Everything is checked before anything is done. What is not ours is refused, and the error names it and the
next step. Original photos and the inputs of a command are protected at any path: by real path, and by device and inode.

- `home`: the folder that holds everything that the pipeline writes.
- `scratch_folders`: folders in a home that are swept when their process has ended.
- `home_place`: warns if a home lies where git deletes it.
- `folders`: files that are written into a user's folder.
- `single_files`: the same for a file that is given by its path.
- `draft_files`: files that are being written, before they are moved to their place.
- `made_list`: the list of written files that such a folder has.
- `originals`: the files that must not be lost.
- `beside_photos`: refuses to write files into folders of photos.
- `inserted_samples`: samples that this software inserted into a dataset.
- `imported_labels`: what an import wrote onto a sample, and whether a person changed it since.

Not here: what the files mean (`artifacts`).
"""
