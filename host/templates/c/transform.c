// Makes one record of each line of a record: phones that were offline send their logins together.

#include <inttypes.h>
#include <string.h>

#include "records.h"

// What may stand in [stage.settings]; anything else there is refused, with its place.
static const char *header = "line";
static int64_t max_lines = 100;

static const struct setting SETTINGS[] = {
    {"header", SETTING_TEXT, &header},
    {"max-lines", SETTING_INTEGER, &max_lines},
};

// Called once, before any batch.
bool exports_transforms_configure(plugin_string_t *settings, plugin_string_t *error) {
    struct problems problems = {0};
    read_settings(settings, SETTINGS, sizeof SETTINGS / sizeof *SETTINGS, &problems);
    if (max_lines < 1) {
        problem_at(&problems, "/max-lines", "give at least 1");
    }
    return no_problems(&problems, error);
}

// What is left of a value, and the line that was taken from it.
struct lines {
    const uint8_t *rest, *end;
    const uint8_t *line;
    size_t length;
};

static struct lines lines_of(const record_t *record) {
    return (struct lines){.rest = record->value.ptr, .end = record->value.ptr + record->value.len};
}

// Takes the next line that is not empty, without its end; false behind the last.
static bool next_line(struct lines *lines) {
    while (lines->rest < lines->end) {
        size_t left = (size_t)(lines->end - lines->rest);
        const uint8_t *newline = memchr(lines->rest, '\n', left);
        lines->line = lines->rest;
        lines->length = newline != NULL ? (size_t)(newline - lines->rest) : left;
        lines->rest = newline != NULL ? newline + 1 : lines->end;
        if (lines->length > 0 && lines->line[lines->length - 1] == '\r') {
            lines->length--;
        }
        if (lines->length > 0) {
            return true;
        }
    }
    return false;
}

// One record a line, with the number of the line in a header.
static outputs_t outputs_of(const record_t *record, size_t count) {
    outputs_t outputs = {allocate(count * sizeof(output_t)), count};
    struct lines lines = lines_of(record);
    for (size_t i = 0; i < count && next_line(&lines); i++) {
        plugin_string_t number = text_format("%zu", i + 1);
        headers_t headers = copy_headers_and_one(&record->headers);
        header_t *last = &headers.ptr[headers.len - 1];
        plugin_string_dup(&last->name, header);
        last->value = (plugin_option_list_u8_t){true, {number.ptr, number.len}};
        outputs.ptr[i] = (output_t){
            .key = copy_bytes(&record->key),
            .value = some_bytes(lines.line, lines.length),
            .headers = headers,
        };
    }
    return outputs;
}

static outcome_t transform(const record_t *record) {
    struct lines lines = lines_of(record);
    size_t count = 0, first_length = 0;
    while (next_line(&lines)) {
        first_length = count++ == 0 ? lines.length : first_length;
    }
    if (count == 0) {
        return outcome_drop();
    }
    if (count == 1 && first_length == record->value.len) {
        return outcome_pass();
    }
    if ((int64_t)count > max_lines) {
        return outcome_reject(
            text_format("%zu lines, and max-lines is %" PRId64, count, max_lines));
    }
    return outcome_emit(outputs_of(record, count));
}

// Rewrites some records: one outcome for each, in their order. Must depend on its arguments and the
// settings alone.
void exports_transforms_transform(records_t *records, int64_t now, outcomes_t *outcomes) {
    (void)now;
    outcomes->len = records->len;
    outcomes->ptr = records->len > 0 ? allocate(records->len * sizeof *outcomes->ptr) : NULL;
    for (size_t i = 0; i < records->len; i++) {
        outcomes->ptr[i] = transform(&records->ptr[i]);
    }
    exports_transforms_list_kafka_record_free(records);
}
