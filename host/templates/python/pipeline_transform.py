"""What a transform is written with. Records, outputs and outcomes are those of wit/transforms.wit:
case `c` of a variant `v` is the class `V_C`, and an option is None or what it holds."""

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


class reporting:
    """An exception that nobody caught is told in the host's log; the records that it happens with
    become dead letters."""

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if kind is not None and kind is not Err:
            calls = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
            # Inside the component there are no files to show lines of, and looking for them traps.
            places = [f"\n  {code.co_filename}:{line} in {code.co_name}" for code, line in calls]
            log.write(log.Level.ERROR, f"{kind.__name__}: {error}{''.join(places)}")
