"""The MongoDB server that FiftyOne uses: our embedded one, the user's own, or one at an address.

`settings`: FiftyOne's own settings. `trusted_documents`, `class_guard`: which classes a database may make FiftyOne
load. `mongod_client`, `mongod_keeper`: attaches to or starts our mongod, and the process that owns it.
`fiftyone_service`: the database of the user's own FiftyOne. `connection`: opens any of the three databases.
`connection_errors`: why one cannot be used. `revision`: which version of FiftyOne wrote the database. `documents`:
samples and labels as FiftyOne stores them. `dump`, `dump_conflicts`: saves a whole database as files and compares them.
"""
