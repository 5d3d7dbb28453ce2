"""What is asked of the operating system's files, whatever they hold.

`disk`: sync, hash, link, replace in one piece. `locks`: held as long as their process lives. `storage_errors`: a full
or broken disk in words. `file_system`: which one a folder is on. `private_files`: files that no other user can open.
"""
