// Writes the region of a login's locale into a field of its own: `en-US` becomes `US`.

import { changeByValue, keepWhere, rule } from "./pipeline.js";
import { listOf, pointer, tableOf, text } from "./settings.js";

export const rules = rule({
  // What may stand in `[stage.settings]`, and what is there otherwise. Anything else is refused,
  // with its place.
  settings: {
    field: [pointer, "/locale"],
    into: [pointer, "/region"],
    aliases: [tableOf(text), new Map()],
    drop: [listOf(text), []],
  },

  // The host hands over only the fields that are named here.
  plan: ({ field, into }) => ({ reads: [field], writes: [into] }),

  // Asked once a batch: a column has each distinct value once, whatever the number of events.
  evaluate(batch, { aliases, drop }) {
    const fates = keepWhere(
      batch,
      0,
      ({ tag, val }) => tag !== "text" || !drop.includes(region(val, aliases)),
    );
    const change = changeByValue(batch, 0, 0, (value) => {
      switch (value.tag) {
        case "text":
          return { tag: "set", val: { tag: "text", val: region(value.val, aliases) } };
        case "absent":
          return { tag: "leave" };
        default:
          // What is no text is copied as it is.
          return { tag: "set", val: value };
      }
    });
    return { fates, changes: [change] };
  },
});

// What stands behind the last `-` or `_`, in capitals, by its other name if it has one.
function region(locale, aliases) {
  const end = locale.slice(Math.max(locale.lastIndexOf("-"), locale.lastIndexOf("_")) + 1);
  const region = end.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
  return aliases.get(region) ?? region;
}
