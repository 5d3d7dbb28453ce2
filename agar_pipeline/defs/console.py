"""The lines that `agar run` prints of a Dagster run: one per event of interest."""

import logging
import sys
import time

import dagster as dg

from agar_pipeline.text.safe_text import printable

_SHOWN = {"STEP_START": "started", "STEP_SUCCESS": "done", "STEP_SKIPPED": "skipped"}


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        event = meta.get("dagster_event")
        step = (meta.get("step_key") or "").replace("__", "/")
        if event is None and logging.INFO <= record.levelno < logging.ERROR:  # errors are printed once, at the end
            text = meta.get("orig_message") or record.getMessage()
        elif event is not None and event.event_type_value in _SHOWN:
            text = _SHOWN[event.event_type_value]
        else:
            return
        sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {step:<22} {printable(text)}\n")


@dg.logger({}, description="One short line per event, for people.")
def agar_console(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("agar")
    logger.addHandler(_Lines())
    return logger
