"""Content-addressed folders: a published artifact is complete and verified, or absent.

`content`: hashes, and what is wrong with a folder. `key`: what names an artifact. `drafts`: publishing by rename.
`folders`: building once, `latest`, one writer per artifact. `shared`: a store of several homes, which are its caches;
`sharing`: what goes there and comes from there; `remote_files`: the file system that it is on; `signing`: whether what
is there is the lab's own. `quarantine`: what was moved out of the way. `upkeep`: verifying everything. `dropping`:
what nobody refers to. `unfinished`: what an interrupted builder left.
Not here: what the files mean (`artifacts`).
"""

from agar_pipeline.store.content import Content, KnownFiles, MadeBy, describe_files, find_faults, fingerprint
from agar_pipeline.store.folders import Store
from agar_pipeline.store.key import Built, Key

__all__ = ["Built", "Content", "Key", "KnownFiles", "MadeBy", "Store", "describe_files", "find_faults", "fingerprint"]
