"""Content-addressed folders: a published artifact is complete and verified, or absent.

`content`: hashes, and what is wrong with a folder. `folders`: publishing by rename, `latest`, one writer per key.
`upkeep`: verifying everything, dropping what nobody refers to. `unfinished`: what an interrupted builder left.
Not here: what the files mean (`artifacts`).
"""

from agar_pipeline.store.content import Content, KnownFiles, describe_files, find_faults, fingerprint
from agar_pipeline.store.folders import Built, Key, Store

__all__ = ["Built", "Content", "Key", "KnownFiles", "Store", "describe_files", "find_faults", "fingerprint"]
