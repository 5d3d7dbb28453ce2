"""Ratios against the obvious alternative, interleaved in one run: `make bench`, or `make bench NAME=no_change`."""
