"""The MongoDB server that FiftyOne uses: our embedded one, the user's own, or one at an address.

`settings`: FiftyOne's own settings. `trusted_documents`, `class_guard`: which classes a database may make FiftyOne
load. `mongod_client`, `mongod_keeper`: a mongod that we start, and the process that owns it. `embedded_service`,
`fiftyone_service`: the two data folders it can serve. `connection`: opens any of the three databases. `revision`: which
version of FiftyOne wrote the database. `dump`, `dump_conflicts`: saves a whole database as files and compares them.
"""
