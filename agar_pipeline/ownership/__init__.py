"""What is ours: the one place that decides whether something may be changed or removed.

The rule: only what this software made is ever changed or removed, and only while it is still as it was written. It is
known by a marker, and by a list that was kept when it was made. What a person edited afterwards is that person's.
Everything is checked before anything is done; what is not ours is refused, and the error names it and the next step.
Original photos and the inputs of a command are protected wherever they lie: by real path, and by device and inode.

`home_place`: where a home may lie. `beside_photos`: folders beside whose photos nothing is written.
`insertions`: samples that we inserted.
`folders`: files written into a folder of the user's. `single_files`: the same for a file that is given by its path.
`draft`: files on their way there. `made`: the list that such a folder keeps. `originals`: the files that must survive.
`home`: the folder that holds everything that the pipeline writes, and scratch folders in it.
`labels`: what an import wrote onto a sample, and whether a person has been there since.
Not here: what the files mean.
"""
