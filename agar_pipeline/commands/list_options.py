"""A click command whose options can take several values after one name."""

from __future__ import annotations

import click


class SeveralValues(click.Command):
    """A command whose `multiple` options also accept several values after one name: `--fractions 0.8 0.2`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        several = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        spread: list[str] = []
        last: str | None = None
        for word in args:
            if word.startswith("--"):
                last = word if word in several else None
                spread += [] if last else [word]
            else:
                spread += [last, word] if last else [word]
        return super().parse_args(ctx, spread)
