"""What a transform is written with. Records, outputs and outcomes are those of wit/transforms.wit:
case `c` of a variant `v` is the class `V_C`, and an option is None or what it holds."""

import io
import sys
import traceback

from componentize_py_types import Err
from settings import Refused, read
from wit_world.imports import log


class Transform:
    """What the class `Transforms` of transform.py is made of: it has `kinds` and `rewrite`."""

    kinds = {}
    # Of the class: the host has a new object for each call.
    settings = {}

    def rewrite(self, record, now):
        """What becomes of a record."""
        raise NotImplementedError

    def configure(self, settings):
        """Called by the host, as wit/transforms.wit says."""
        with reporting():
            try:
                type(self).settings = read(settings, self.kinds)
            except Refused as problems:
                raise Err(str(problems))

    def transform(self, records, now):
        """Called by the host, as wit/transforms.wit says."""
        with reporting():
            return [self.rewrite(record, now) for record in records]


class Lines(io.TextIOBase):
    """What is printed goes to the host's log, a line each."""

    def __init__(self, level):
        self.level, self.line = level, ""

    def write(self, text):
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            log.write(self.level, line)
        return len(text)


PRINTED, COMPLAINED = Lines(log.Level.INFO), Lines(log.Level.ERROR)


class reporting:
    """An exception that nobody caught is told in the host's log; the records that it happens with
    become dead letters."""

    def __enter__(self):
        sys.stdout, sys.stderr = PRINTED, COMPLAINED

    def __exit__(self, kind, error, trace):
        # What Python itself prints of an exception would say the same again.
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        if kind is not None and kind is not Err:
            calls = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
            # Inside the component there are no files to show lines of.
            places = [f"\n  {code.co_filename}:{line} in {code.co_name}" for code, line in calls]
            log.write(log.Level.ERROR, f"{kind.__name__}: {error}{''.join(places)}")
