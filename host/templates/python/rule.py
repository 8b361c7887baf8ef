"""Writes the region of a login's locale into a field of its own: `en-US` becomes `US`."""

import re

from pipeline import Rule, change_by_value, keep_where
from settings import list_of, pointer, table_of, text
from wit_world.exports.rules import Edit_Leave, Edit_Set, Verdict
from wit_world.imports.events import Value_Absent, Value_Text


class Rules(Rule):
    # What may stand in `[stage.settings]`, and what is there otherwise. Anything else is refused,
    # with its place.
    kinds = {
        "field": (pointer, "/locale"),
        "into": (pointer, "/region"),
        "aliases": (table_of(text), {}),
        "drop": (list_of(text), []),
    }

    def plan(self):
        """The host hands over only the fields that are named here."""
        return [self.settings["field"]], [self.settings["into"]]

    def judge(self, batch):
        """Asked once a batch: a column has each distinct value once, however many have it."""
        fates = keep_where(batch, 0, self.is_kept)
        return Verdict(fates, [change_by_value(batch, 0, 0, self.edit)])

    def is_kept(self, value):
        match value:
            case Value_Text(locale):
                return self.region(locale) not in self.settings["drop"]
            case _:
                return True

    def edit(self, value):
        match value:
            case Value_Text(locale):
                return Edit_Set(Value_Text(self.region(locale)))
            case Value_Absent():
                return Edit_Leave()
            case other:  # What is no text is copied as it is.
                return Edit_Set(other)

    def region(self, locale):
        """What stands behind the last `-` or `_`, in capitals, by its other name if it has one."""
        end = re.split("[-_]", locale)[-1]
        region = re.sub("[a-z]+", lambda letters: letters[0].upper(), end)
        return self.settings["aliases"].get(region, region)
