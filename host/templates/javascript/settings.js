// Kinds of settings. Each checks one value: it answers with what the rule gets, and says what is
// wrong with `wrong(message)`. A kind of your own is a function like these.

export function text(value, wrong) {
  if (typeof value === "string") return value;
  const mend = value === null || typeof value === "object" ? "" : ": put it in quotes";
  wrong(`expected a text, found ${found(value)}${mend}`);
}

// A field of an event: a JSON Pointer that is not empty, such as `/client/ip`.
export function pointer(value, wrong) {
  const path = text(value, wrong);
  if (path !== undefined && !path.startsWith("/")) {
    wrong(`\`${path}\` is no JSON Pointer: write \`/${path}\``);
  } else if (/~(?![01])/.test(path)) {
    const mend = "write `~` as `~0`, and `/` within a name as `~1`";
    wrong(`\`${path}\` is no JSON Pointer: ${mend}`);
  }
  return path;
}

// A whole number.
export const atLeast = (least) => (value, wrong) => {
  if (!Number.isInteger(value)) {
    const isNumber = typeof value === "string" && /^[-+._eE\d]+$/.test(value);
    const mend = isNumber ? ": take the quotes away" : "";
    wrong(`expected a whole number, found ${found(value)}${mend}`);
  } else if (!Number.isSafeInteger(value)) {
    const most = Number.MAX_SAFE_INTEGER;
    wrong(`${value} is not between ${-most} and ${most}`);
  } else if (value < least) {
    wrong(`give at least ${least}`);
  }
  return value;
};

export const listOf = (kind) => (value, wrong) => {
  if (Array.isArray(value)) {
    return value.map((item, number) => kind(item, inside(wrong, `${number}`)));
  }
  wrong(`expected a list, found ${found(value)}: put it in \`[ ]\``);
};

// A Map of the members of a table.
export const tableOf = (kind) => (value, wrong) => {
  if (found(value) === "a table") {
    const checked = ([name, item]) => [name, kind(item, inside(wrong, name))];
    return new Map(Object.entries(value).map(checked));
  }
  wrong(`expected a table, found ${found(value)}: write \`{ … }\``);
};

// Checks the settings, one JSON object. Throws everything that is wrong, one problem a line with
// its place in front: the host shows it at that place of pipeline.toml.
export function read(json, kinds) {
  const written = JSON.parse(json);
  const problems = [];
  const problem = (message, at) => problems.push(`${at}: ${message}`.replaceAll("\n", " "));
  const settings = {};
  for (const [name, [, otherwise]] of Object.entries(kinds)) settings[name] = otherwise;
  for (const name of Object.keys(written).sort()) {
    const wrong = inside(problem, name);
    if (Object.hasOwn(kinds, name)) settings[name] = kinds[name][0](written[name], wrong);
    else wrong(`unknown key: take it out; known are ${listed(Object.keys(kinds))}`);
  }
  if (problems.length > 0) throw new Refused(problems.join("\n"));
  return settings;
}

// The settings are wrong, and the message says how to mend them.
export class Refused extends Error {}

// The same for a member of what it is about.
function inside(wrong, name) {
  const place = `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
  return (message, at = "") => wrong(message, place + at);
}

function found(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (Number.isInteger(value)) return "a whole number";
  const names = { string: "a text", boolean: "true or false", number: "a number with a fraction" };
  return names[typeof value] ?? "a table";
}

function listed(names) {
  const quoted = names.map((name) => `\`${name}\``);
  const last = quoted.pop();
  return quoted.length > 0 ? `${quoted.join(", ")} and ${last}` : last;
}
