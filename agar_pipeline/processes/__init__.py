"""Processes that we start, and the machine that they run on.

`world`: rank and world size. `exit_reasons`: how a process ended, in words. `child`: a child's side of the boundary.
`environment`: the variables that a child gets. `launch`: the parent's side. `machine`: cores, GPUs and network
interfaces, seen without torch, and the leases of GPUs. `garbage_collection` and `library_warnings`: what every process
of ours sets when it begins.
"""
