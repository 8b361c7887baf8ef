// Writes the region of a login's locale into a field of its own: en-US becomes US.

#include "batch.h"

// What may stand in [stage.settings]; anything else there is refused, with its place.
static const char *field = "/locale";
static const char *into = "/region";
static const cJSON *aliases; // a table: the region as it is written, and its other name
static const cJSON *drop;    // a list of regions

static const struct setting SETTINGS[] = {
    {"field", SETTING_POINTER, &field},
    {"into", SETTING_POINTER, &into},
    {"aliases", SETTING_TABLE, &aliases},
    {"drop", SETTING_LIST, &drop},
};

// Called once, before any batch. The host hands over only the fields that the plan reads.
bool exports_rules_configure(plugin_string_t *settings, plan_t *plan, plugin_string_t *error) {
    struct problems problems = {0};
    read_settings(settings, SETTINGS, sizeof SETTINGS / sizeof *SETTINGS, &problems);
    *plan = (plan_t){0};
    plan_read(plan, field);
    plan_write(plan, into);
    return no_problems(&problems, error);
}

// What stands behind the last - or _, in capitals, by its other name if it has one.
static plugin_string_t region(const plugin_string_t *locale) {
    size_t start = locale->len;
    while (start > 0 && locale->ptr[start - 1] != '-' && locale->ptr[start - 1] != '_') {
        start--;
    }
    plugin_string_t region;
    plugin_string_dup_n(&region, (const char *)locale->ptr + start, locale->len - start);
    for (size_t i = 0; i < region.len; i++) {
        if (region.ptr[i] >= 'a' && region.ptr[i] <= 'z') {
            region.ptr[i] -= 'a' - 'A';
        }
    }
    const cJSON *alias;
    cJSON_ArrayForEach(alias, aliases) {
        if (text_equals(&region, alias->string)) {
            plugin_string_free(&region);
            plugin_string_dup(&region, alias->valuestring);
            break;
        }
    }
    return region;
}

static bool is_kept(const value_t *value) {
    if (value->tag != EVENTS_VALUE_TEXT) {
        return true;
    }
    plugin_string_t of = region(&value->val.text);
    bool dropped = false;
    const cJSON *other;
    cJSON_ArrayForEach(other, drop) {
        dropped = dropped || text_equals(&of, other->valuestring);
    }
    plugin_string_free(&of);
    return !dropped;
}

static void write_region(value_t *value, edit_t *edit) {
    if (value->tag == EVENTS_VALUE_TEXT) {
        edit_text(edit, region(&value->val.text));
    } else if (value->tag != EVENTS_VALUE_ABSENT) {
        edit_move(edit, value); // What is no text is copied as it is.
    }
}

// Asked once a batch: a column has each distinct value once, whatever the number of events. Must
// depend on the batch and the settings alone.
void exports_rules_evaluate(batch_t *batch, verdict_t *verdict) {
    *verdict = (verdict_t){0};
    keep_where(batch, 0, is_kept, verdict);
    change_by_value(batch, 0, 0, write_region, verdict);
    events_batch_free(batch);
}
