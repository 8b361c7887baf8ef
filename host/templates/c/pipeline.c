#include "pipeline.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_MAX 1024

void *allocate(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static plugin_string_t format_args(const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    plugin_string_t text = {NULL, 0};
    if (length > 0) {
        text.ptr = allocate((size_t)length + 1);
        text.len = (size_t)length;
        vsnprintf((char *)text.ptr, text.len + 1, format, again);
    }
    va_end(again);
    return text;
}

plugin_string_t text_format(const char *format, ...) {
    va_list args;
    va_start(args, format);
    plugin_string_t text = format_args(format, args);
    va_end(args);
    return text;
}

bool text_equals(const plugin_string_t *text, const char *other) {
    return text->len == strlen(other) && memcmp(text->ptr, other, text->len) == 0;
}

void log_line(log_level_t level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    plugin_string_t text = format_args(format, args);
    va_end(args);
    log_write(level, &text);
    plugin_string_free(&text);
}

void problem_at(struct problems *problems, const char *at, const char *format, ...) {
    va_list args;
    va_start(args, format);
    plugin_string_t message = format_args(format, args);
    va_end(args);
    plugin_string_t before = problems->text;
    problems->text = text_format("%.*s%s%s%s%.*s", (int)before.len, (const char *)before.ptr,
                                 before.len > 0 ? "\n" : "", at, *at != '\0' ? ": " : "",
                                 (int)message.len, (const char *)message.ptr);
    plugin_string_free(&before);
    plugin_string_free(&message);
}

bool no_problems(struct problems *problems, plugin_string_t *error) {
    *error = problems->text;
    return problems->text.len == 0;
}

static bool has_fraction(const cJSON *item) {
    return cJSON_IsNumber(item) && item->valuedouble != floor(item->valuedouble);
}

// Whether a text is nothing but a number.
static bool is_number(const char *text) {
    char *end;
    strtod(text, &end);
    return end != text && *end == '\0';
}

// Says what stands there instead of what was expected, and how to mend it.
static void refuse(struct problems *problems, const char *at, const char *wanted,
                   const cJSON *item) {
    const char *found = cJSON_IsBool(item)     ? "true or false"
                        : has_fraction(item)   ? "a number with a fraction"
                        : cJSON_IsNumber(item) ? "a whole number"
                        : cJSON_IsString(item) ? "a text"
                        : cJSON_IsArray(item)  ? "a list"
                        : cJSON_IsObject(item) ? "a table"
                                               : "null";
    const char *text = cJSON_GetStringValue(item);
    bool boolean = text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0);
    const char *mend = "";
    if (strcmp(wanted, "a text") == 0) {
        mend = cJSON_IsBool(item) || cJSON_IsNumber(item) ? ": put it in quotes" : "";
    } else if (strcmp(wanted, "a list") == 0) {
        mend = ": put it in `[ ]`";
    } else if (strcmp(wanted, "a table") == 0) {
        mend = ": write `{ … }`";
    } else if (text != NULL && (strcmp(wanted, "true or false") == 0 ? boolean : is_number(text))) {
        mend = ": take the quotes away";
    }
    problem_at(problems, at, "expected %s, found %s%s", wanted, found, mend);
}

// The JSON Pointer of a member: `~` and `/` in its name are escaped. What is too long is cut behind
// a whole character.
static const char *place(char *into, const char *table, const char *name) {
    size_t length = (size_t)snprintf(into, PLACE_MAX, "%.*s/", PLACE_MAX - 16, table);
    for (; *name != '\0'; name++) {
        bool begins_character = ((unsigned char)*name & 0xc0) != 0x80;
        if (begins_character && length + 8 > PLACE_MAX) {
            break;
        }
        if (*name == '~' || *name == '/') {
            into[length++] = '~';
            into[length++] = *name == '~' ? '0' : '1';
        } else {
            into[length++] = *name;
        }
    }
    into[length] = '\0';
    return into;
}

static bool is_pointer(struct problems *problems, const char *at, const char *text) {
    if (*text != '/') {
        problem_at(problems, at, "`%s` is no JSON Pointer: write `/%s`", text, text);
        return false;
    }
    for (const char *tilde = text; (tilde = strchr(tilde, '~')) != NULL; tilde++) {
        if (tilde[1] != '0' && tilde[1] != '1') {
            problem_at(problems, at,
                       "`%s` is no JSON Pointer: write `~` as `~0`, and `/` within a name as `~1`",
                       text);
            return false;
        }
    }
    return true;
}

// Whether everything in a list or a table is a text.
static bool are_texts(struct problems *problems, const char *at, const cJSON *items) {
    bool all = true;
    int number = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, items) {
        char digits[16], inside[PLACE_MAX];
        snprintf(digits, sizeof digits, "%d", number++);
        if (!cJSON_IsString(item)) {
            refuse(problems, place(inside, at, item->string != NULL ? item->string : digits),
                   "a text", item);
            all = false;
        }
    }
    return all;
}

static void read_integer(struct problems *problems, const char *at, const cJSON *item,
                         int64_t *into) {
    const double most = 9007199254740992; // cJSON has 64-bit floats only
    if (!cJSON_IsNumber(item) || has_fraction(item)) {
        refuse(problems, at, "a whole number", item);
    } else if (fabs(item->valuedouble) > most) {
        problem_at(problems, at, "%.0f is not between %.0f and %.0f", item->valuedouble, -most, most);
    } else {
        *into = (int64_t)item->valuedouble;
    }
}

static void read_setting(struct problems *problems, const char *at, const cJSON *item,
                         const struct setting *setting) {
    static const char *const WANTED[] = {"a text",        "a text", "a whole number", "a number",
                                         "true or false", "a list", "a table"};
    bool is_text = setting->kind == SETTING_TEXT || setting->kind == SETTING_POINTER;
    if (setting->kind == SETTING_INTEGER) {
        read_integer(problems, at, item, setting->into);
    } else if (is_text && cJSON_IsString(item)) {
        if (setting->kind == SETTING_TEXT || is_pointer(problems, at, item->valuestring)) {
            *(const char **)setting->into = item->valuestring;
        }
    } else if (setting->kind == SETTING_NUMBER && cJSON_IsNumber(item)) {
        *(double *)setting->into = item->valuedouble;
    } else if (setting->kind == SETTING_BOOL && cJSON_IsBool(item)) {
        *(bool *)setting->into = cJSON_IsTrue(item);
    } else if ((setting->kind == SETTING_LIST && cJSON_IsArray(item)) ||
               (setting->kind == SETTING_TABLE && cJSON_IsObject(item))) {
        if (are_texts(problems, at, item)) {
            *(const cJSON **)setting->into = item;
        }
    } else {
        refuse(problems, at, WANTED[setting->kind], item);
    }
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

// How many letters have to be changed, added, taken out or swapped with their neighbour. Long names
// are far from each other.
static size_t distance(const char *a, const char *b) {
    enum { SIZE = 64 };
    size_t rows[SIZE + 1][SIZE + 1], length_a = strlen(a), length_b = strlen(b);
    if (length_a > SIZE || length_b > SIZE) {
        return SIZE;
    }
    for (size_t i = 0; i <= length_a; i++) {
        for (size_t j = 0; j <= length_b; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            size_t best = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = least(best, least(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = least(best, rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    return rows[length_a][length_b];
}

static void refuse_key(struct problems *problems, const char *at, const char *name,
                       const struct setting *known, size_t count) {
    const char *nearest = NULL;
    size_t nearest_distance = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t other = distance(name, known[i].name), limit = strlen(known[i].name) / 3;
        if (other <= (limit > 1 ? limit : 1) && other < nearest_distance) {
            nearest = known[i].name;
            nearest_distance = other;
        }
    }
    if (nearest != NULL) {
        problem_at(problems, at, "unknown key: did you mean `%s`?", nearest);
        return;
    }
    char list[PLACE_MAX] = "";
    size_t length = 0;
    for (size_t i = 0; i < count && length < sizeof list; i++) {
        const char *between = i == 0 ? "" : i + 1 == count ? " and " : ", ";
        length += (size_t)snprintf(list + length, sizeof list - length, "%s`%s`", between,
                                   known[i].name);
    }
    problem_at(problems, at, "unknown key: take it out; known are %s", list);
}

void read_settings(plugin_string_t *text, const struct setting *known, size_t count,
                   struct problems *problems) {
    // It lives as long as the plugin does: settings point into it.
    const cJSON *settings = cJSON_ParseWithLength((const char *)text->ptr, text->len);
    plugin_string_free(text);
    if (!cJSON_IsObject(settings)) {
        problem_at(problems, "", "settings are no JSON object");
        return;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, settings) {
        char at[PLACE_MAX];
        place(at, "", item->string);
        size_t i = 0;
        while (i < count && strcmp(known[i].name, item->string) != 0) {
            i++;
        }
        if (i < count) {
            read_setting(problems, at, item, &known[i]);
        } else {
            refuse_key(problems, at, item->string, known, count);
        }
    }
}
