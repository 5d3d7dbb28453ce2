"""What is asked of the operating system's files, whatever they hold.

`disk`: locks, fsync, errors of storage in words. `file_system`: which one a folder is on. `private_files`: files that
no other user can open.
"""
