"""Kinds of settings. Each checks one value: it returns what the rule gets, and says what is wrong
with `wrong(message)`. A kind of your own is a function like these."""

import json
import re


def text(value, wrong):
    if isinstance(value, str):
        return value
    mend = ": put it in quotes" if isinstance(value, (bool, int, float)) else ""
    wrong(f"expected a text, found {found(value)}{mend}")


def pointer(value, wrong):
    """A field of an event: a JSON Pointer that is not empty, such as `/client/ip`."""
    path = text(value, wrong)
    if path is not None and not path.startswith("/"):
        wrong(f"`{path}` is no JSON Pointer: write `/{path}`")
    elif path is not None and re.search("~(?![01])", path):
        mend = "write `~` as `~0`, and `/` within a name as `~1`"
        wrong(f"`{path}` is no JSON Pointer: {mend}")
    return path


def at_least(least):
    """A whole number."""

    def check(value, wrong):
        if found(value) != "a whole number":
            is_number = isinstance(value, str) and re.fullmatch(r"[-+._eE\d]+", value, re.ASCII)
            mend = ": take the quotes away" if is_number else ""
            wrong(f"expected a whole number, found {found(value)}{mend}")
        elif value < least:
            wrong(f"give at least {least}")
        return value

    return check


def list_of(kind):
    def check(value, wrong):
        if not isinstance(value, list):
            return wrong(f"expected a list, found {found(value)}: put it in `[ ]`")
        return [kind(item, inside(wrong, number)) for number, item in enumerate(value)]

    return check


def table_of(kind):
    def check(value, wrong):
        if not isinstance(value, dict):
            return wrong(f"expected a table, found {found(value)}: write `{{ … }}`")
        return {name: kind(item, inside(wrong, name)) for name, item in value.items()}

    return check


class Refused(Exception):
    """The settings are wrong, and the message says how to mend them."""


def read(text, kinds):
    """Checks the settings, one JSON object. Raises everything that is wrong, one problem a line
    with its place in front: the host shows it at that place of pipeline.toml."""
    problems = []
    settings = {name: otherwise for name, (_, otherwise) in kinds.items()}

    def problem(message, at=""):
        problems.append(f"{at}: {message}".replace("\n", " "))

    for name, value in sorted(json.loads(text).items()):
        wrong = inside(problem, name)
        if name in kinds:
            settings[name] = kinds[name][0](value, wrong)
        else:
            wrong(f"unknown key: take it out; known are {listed(kinds)}")
    if problems:
        raise Refused("\n".join(problems))
    return settings


def inside(wrong, member):
    """The same for a member of what it is about."""
    place = "/" + str(member).replace("~", "~0").replace("/", "~1")
    return lambda message, at="": wrong(message, place + at)


def found(value):
    names = {
        bool: "true or false",
        dict: "a table",
        float: "a number with a fraction",
        int: "a whole number",
        list: "a list",
        str: "a text",
    }
    return names.get(type(value), "null")


def listed(names):
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}" if most else last
