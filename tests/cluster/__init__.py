"""More than one machine, on this one; run by `make test-cluster`."""
