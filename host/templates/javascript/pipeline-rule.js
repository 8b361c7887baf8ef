// What a rule is written with. Values, edits, fates and verdicts are those of wit/events.wit and
// wit/rules.wit: a variant is `{ tag, val }`, an option is null or what it holds.

import host from "pipeline:plugin/log@0.1.0";
import { read, Refused } from "./settings.js";

// A line for the operator; the level is "debug", "info", "warn" or "error".
export const log = (level, text) => host.write(level, text);

// The engine has no console.
const whole = (name, value) => (typeof value === "bigint" ? `${value}` : value);
const shown = (value) =>
  typeof value !== "object" || value instanceof Error ? `${value}` : JSON.stringify(value, whole);
const print = (level) => (...values) => log(level, values.map(shown).join(" "));
globalThis.console ??= {
  debug: print("debug"),
  log: print("info"),
  info: print("info"),
  warn: print("warn"),
  error: print("error"),
};

// The rule: `settings` are checked before `plan` and `evaluate` get them. A read is the JSON
// Pointer of a field, or another source, such as `{ tag: "timestamp" }`.
export function rule({ settings: kinds, plan, evaluate }) {
  let settings;
  return {
    configure: reporting((json) => {
      settings = read(json, kinds);
      const { reads, writes } = plan(settings);
      const source = (read) => (typeof read === "string" ? { tag: "field", val: read } : read);
      return { reads: reads.map((read) => ({ source: source(read), form: "values" })), writes };
    }),
    evaluate: reporting((batch) => {
      for (const column of batch.columns) column.dictionary.val.forEach(join);
      const { fates, changes } = evaluate(batch, settings);
      return { fates, changes: changes.map(closed) };
    }),
  };
}

// Keeps the events whose value in this column `keeps` is true of, and drops the others. `keeps`
// is asked once for each distinct value.
export function keepWhere(batch, column, keeps) {
  const entries = values(batch, column).map((value) => ({ tag: keeps(value) ? "keep" : "drop" }));
  return { entries, index: { tag: "as-column", val: column } };
}

// Edits the field at this place of the plan's `writes`: `edit` answers with an edit for each
// distinct value of this column.
export function changeByValue(batch, column, write, edit) {
  const edits = { tag: "values", val: values(batch, column).map(edit) };
  return { write, edits, index: { tag: "as-column", val: column } };
}

// The distinct values of a column; event `i` has the one at `batch.columns[column].index[i]`. An
// `integer` is a BigInt, a `number` a number.
export const values = (batch, column) => batch.columns[column].dictionary.val;

// An exception that nobody caught is told in the host's log; the events that it happens with
// become dead letters.
function reporting(call) {
  return (argument) => {
    try {
      return call(argument);
    } catch (error) {
      // For whoever wrote the settings: the host takes the text that is thrown.
      if (error instanceof Refused) throw error.message;
      log("error", `${error}\n${error?.stack ?? ""}`.trim());
      throw error;
    }
  };
}

// An integer comes and goes as its two halves, since a number would lose what lies beyond 2^53.
function join(value) {
  if (value.tag !== "integer") return;
  const [low, high] = value.val;
  value.val = (BigInt(high) << 32n) | BigInt(low >>> 0);
}

const half = (integer) => Number(BigInt.asIntN(32, integer));

const halves = (integer) => [half(BigInt(integer)), half(BigInt(integer) >> 32n)];

// The change with its integers in halves; the values of the batch stay as they are.
function closed(change) {
  if (change.edits.tag !== "values") return change;
  const split = (edit) =>
    edit.tag === "set" && edit.val.tag === "integer"
      ? { tag: "set", val: { tag: "integer", val: halves(edit.val.val) } }
      : edit;
  return { ...change, edits: { tag: "values", val: change.edits.val.map(split) } };
}
