"""Which code of this package, and which libraries, compute an artifact.

`syntax`: what a module defines and refers to, from its syntax tree. `reach`: everything that a step can reach.
`provenance`: what a manifest records of it, and how that differs from today's. `machine`: what a
training would resolve here, known without torch. Nothing here runs or imports the code
that it looks at.
"""
