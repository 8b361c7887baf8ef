// What plugins of both kinds are written with: texts, settings, log lines.
#ifndef PIPELINE_H
#define PIPELINE_H

#include <stdbool.h>
#include <stddef.h>

#include "cJSON.h"
#include "plugin.h" // generated from wit/ by `host plugin build`

// Memory from malloc; never NULL. What is in an answer is freed for you, once it is read: it has to
// come from here, and belong to nothing else. Your arguments are yours to free, or to move into the
// answer. Lists and texts of length 0 are never freed: give them no memory.
void *allocate(size_t size);

// A text as printf writes it.
plugin_string_t text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool text_equals(const plugin_string_t *text, const char *other);

// Writes a line to the host's log, as printf does. (What goes to stdout arrives there, too, and what
// goes to stderr does as an error.)
void log_line(log_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

// What a setting is, and what it is read into.
enum setting_kind {
    SETTING_TEXT,    // const char *
    SETTING_POINTER, // const char *: a field of an event, a JSON Pointer such as /client/ip
    SETTING_INTEGER, // int64_t
    SETTING_NUMBER,  // double
    SETTING_BOOL,    // bool
    SETTING_LIST,    // const cJSON *: a list of texts
    SETTING_TABLE,   // const cJSON *: names, each with a text
};

struct setting {
    const char *name;
    enum setting_kind kind;
    void *into; // has the default; cJSON_ArrayForEach takes a NULL for an empty list
};

// What is wrong with the settings, one problem a line. Begin with {0}.
struct problems {
    plugin_string_t text;
};

// Adds a problem at a place, a JSON Pointer into the settings. Say what is wrong and how to mend it.
void problem_at(struct problems *problems, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Fills what the settings point to, and frees the text. What is wrong stays as it was, and is told.
void read_settings(plugin_string_t *text, const struct setting *known, size_t count,
                   struct problems *problems);

// For the end of `configure`: whether nothing is wrong. If something is, the error says what.
bool no_problems(struct problems *problems, plugin_string_t *error);

#endif
