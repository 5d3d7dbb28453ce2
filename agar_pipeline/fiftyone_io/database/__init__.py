"""The MongoDB behind FiftyOne: ours, the user's, or one at an address.

`settings`: FiftyOne's own. `trusted_documents`, `class_guard`: what a database may make FiftyOne load. `mongod`,
`mongod_keeper`: a server of ours and the process that owns it. `embedded_service`, `fiftyone_service`: the two kinds
of it. `connection`: any of them reached. `revision`: which FiftyOne it belongs to. `dump`, `dump_conflicts`: all of
it as files.
"""
