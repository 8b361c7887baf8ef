// Makes one record of each line of a record: phones that were offline send their logins together.

import { ascii, transform } from "./pipeline.js";
import { atLeast, text } from "./settings.js";

export const transforms = transform({
  // What may stand in `[stage.settings]`, and what is there otherwise. Anything else is refused,
  // with its place.
  settings: {
    header: [text, "line"],
    "max-lines": [atLeast(1), 100],
  },

  // Asked for each record. `value`, `key` and the values of headers are a Uint8Array each.
  transform(record, { header, "max-lines": max }) {
    const lines = split(record.value);
    if (lines.length === 0) return { tag: "drop" };
    if (lines.length === 1 && lines[0].length === record.value.length) return { tag: "pass" };
    if (lines.length > max) {
      return { tag: "reject", val: `${lines.length} lines, and max-lines is ${max}` };
    }
    // One record a line, with the number of the line in a header.
    const outputs = lines.map((line, number) => ({
      key: record.key,
      value: line,
      headers: [...record.headers, { name: header, value: ascii(`${number + 1}`) }],
      topic: null,
    }));
    return { tag: "emit", val: outputs };
  },
});

// The lines that are not empty, each without the `\n` or `\r\n` behind it.
function split(bytes) {
  const lines = [];
  for (let start = 0; start <= bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const next = newline < 0 ? bytes.length : newline;
    const end = next > start && bytes[next - 1] === 0x0d ? next - 1 : next;
    if (end > start) lines.push(bytes.slice(start, end));
    start = next + 1;
  }
  return lines;
}
