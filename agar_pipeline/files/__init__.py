"""Operations on files and folders that do not depend on their content.

- `disk`: syncing, hashing, linking, and replacing files atomically.
- `locks`: file locks that end with their process.
- `storage_errors`: turns errors of a full or broken disk into messages for the user.
- `file_system`: which file system a folder is on, and whether SQLite is safe there.
- `private_files`: files that no other user can open.
"""
