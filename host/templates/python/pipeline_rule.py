"""What a rule is written with. Values, edits, fates and verdicts are those of wit/events.wit and
wit/rules.wit: case `c` of a variant `v` is the class `V_C`, an option is None or what it holds."""

import io
import sys
import traceback

from componentize_py_types import Err
from settings import Refused, read
from wit_world.exports.rules import (
    Change,
    Edits_Values,
    Fate_Drop,
    Fate_Keep,
    Fates,
    Form,
    Index_AsColumn,
    Plan,
    Read,
    Source_Field,
)
from wit_world.imports import log


class Rule:
    """What the class `Rules` of rule.py is made of: it has `kinds`, `plan` and `judge`."""

    kinds = {}
    # Of the class: the host has a new object for each call.
    settings = {}

    def plan(self):
        """The reads and the writes, a list each. A read is the JSON Pointer of a field, or another
        source, such as `Source_Timestamp()`."""
        raise NotImplementedError

    def judge(self, batch):
        """The verdict on a batch."""
        raise NotImplementedError

    def configure(self, settings):
        """Called by the host, as wit/rules.wit says."""
        with reporting():
            try:
                type(self).settings = read(settings, self.kinds)
            except Refused as problems:
                raise Err(str(problems))
            reads, writes = self.plan()
            sources = [Source_Field(read) if isinstance(read, str) else read for read in reads]
            return Plan([Read(source, Form.VALUES) for source in sources], writes)

    def evaluate(self, batch):
        """Called by the host, as wit/rules.wit says."""
        with reporting():
            return self.judge(batch)


def values(batch, column):
    """The distinct values of a column; event `i` has number `batch.columns[column].index[i]`."""
    return batch.columns[column].dictionary.value


def keep_where(batch, column, is_kept):
    """Keeps the events whose value in this column `is_kept` is true of, and drops the others. It is
    asked once for each distinct value."""
    entries = [Fate_Keep() if is_kept(value) else Fate_Drop() for value in values(batch, column)]
    return Fates(entries, Index_AsColumn(column))


def change_by_value(batch, column, write, edit):
    """Edits the field at this place of the plan's writes: `edit` returns an edit for each distinct
    value of this column."""
    edits = [edit(value) for value in values(batch, column)]
    return Change(write, Edits_Values(edits), Index_AsColumn(column))


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
    """An exception that nobody caught is told in the host's log; the events that it happens with
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
