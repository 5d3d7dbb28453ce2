"""Content-addressed artifact folders: a published artifact is complete and verified, or it does not exist.

`content`: hashes of artifacts, and manifests. `faults`: what is wrong with a published folder. `key`: the names and
paths of an artifact. `drafts`: publishing by rename. `folders`: building once per fingerprint, `latest`, one writer per
artifact. `shared_store`: a store that several homes use; each home is a cache of it. `fetch_and_share`: fetching from
and publishing to the shared store. `remote_files`: the file system of the shared store. `signing`: signatures of what
is published there. `quarantine`: damaged artifacts and foreign files that were moved aside. `verify`: verifying a whole
home. `clean`: removing artifacts that nothing refers to. `unfinished`: the files of an interrupted build.
Not here: what the files mean (`artifacts`).
"""

from agar_pipeline.store.content import Content, KnownFiles, MadeBy, describe_files, fingerprint
from agar_pipeline.store.faults import find_faults
from agar_pipeline.store.folders import Store
from agar_pipeline.store.key import Built, Key
