"""Starts child processes, and describes the machine that they run on.

- `launch`: the parent's side of the process boundary: starting and stopping children.
- `child`: the child's side: reading a request and answering it.
- `environment`: the variables that a child gets.
- `exit_reasons`: describes how a process ended.
- `rank`: rank and world size.
- `devices`: cores and GPUs, without torch. `network`: its interfaces. `gpu_leases`: one run at a time uses a GPU.
- `garbage_collection` and `library_warnings`: settings that each of our processes makes when it starts.
"""
