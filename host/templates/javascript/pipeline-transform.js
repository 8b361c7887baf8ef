// What a transform is written with. Records, outputs and outcomes are those of wit/transforms.wit:
// a variant is `{ tag, val }`, an option is null or what it holds, a list of u8 is a Uint8Array.

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

// The transform: `settings` are checked before it gets them, and it is asked for one record after
// the other. `now` is the time of processing in milliseconds.
export function transform({ settings: kinds, transform }) {
  let settings;
  return {
    configure: reporting((json) => {
      settings = read(json, kinds);
    }),
    transform: reporting((records, now) =>
      records.map((record) => transform(record, settings, now)),
    ),
  };
}

// The bytes of a text of ASCII alone; QuickJS has no TextEncoder.
export const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

// An exception that nobody caught is told in the host's log; the records that it happens with
// become dead letters.
function reporting(call) {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      // For whoever wrote the settings: the host takes the text that is thrown.
      if (error instanceof Refused) throw error.message;
      log("error", `${error}\n${error?.stack ?? ""}`.trim());
      throw error;
    }
  };
}
