"""Determines which code of this package, and which libraries, compute an artifact.

`syntax_tree`: what a module defines and refers to, from its syntax tree. `reached_code`: everything that a step can
reach. `provenance`: what a manifest records of the code, and how that differs from today's. `machine`:
the precision and weights that a training would use here, determined without torch. No module here runs or imports the
code that it reads.
"""
