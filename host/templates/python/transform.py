"""Makes one record of each line of a record: phones that were offline send logins together."""

from pipeline import Transform
from settings import at_least, text
from wit_world.exports.transforms import (
    Header,
    Outcome_Drop,
    Outcome_Emit,
    Outcome_Pass,
    Outcome_Reject,
    Output,
)


class Transforms(Transform):
    # What may stand in `[stage.settings]`, and what is there otherwise. Anything else is refused,
    # with its place.
    kinds = {
        "header": (text, "line"),
        "max-lines": (at_least(1), 100),
    }

    def rewrite(self, record, now):
        """Asked for each record; `now` is the time of processing in milliseconds."""
        lines = [line.removesuffix(b"\r") for line in record.value.split(b"\n")]
        lines = [line for line in lines if line]
        most = self.settings["max-lines"]
        if not lines:
            return Outcome_Drop()
        if lines == [record.value]:
            return Outcome_Pass()
        if len(lines) > most:
            return Outcome_Reject(f"{len(lines)} lines, and max-lines is {most}")
        return Outcome_Emit([self.output(record, *line) for line in enumerate(lines, 1)])

    def output(self, record, number, line):
        """One record a line, with the number of the line in a header."""
        header = Header(self.settings["header"], str(number).encode())
        return Output(record.key, line, [*record.headers, header], None)
