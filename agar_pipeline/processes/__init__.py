"""Starts child processes, and describes the machine that they run on.

- `launch`: the parent's side of the process boundary: starting and stopping children.
- `child`: the child's side: reading a request and answering it.
- `environment`: the variables that a child gets.
- `exit_reasons`: describes how a process ended.
- `world`: rank and world size.
- `machine`: cores, GPUs and network interfaces, found without torch, and the leases of GPUs.
- `garbage_collection` and `library_warnings`: settings that each of our processes makes when it starts.
"""
