// What a rule is written with. The types are those of wit/events.wit and wit/rules.wit, which say
// what they mean; .build/plugin.h has them in C.
#ifndef BATCH_H
#define BATCH_H

#include "pipeline.h"

typedef events_batch_t batch_t;
typedef events_value_t value_t;
typedef exports_rules_plan_t plan_t;
typedef exports_rules_verdict_t verdict_t;
typedef exports_rules_edit_t edit_t;

// Adds a field to what the rule reads, or writes: a JSON Pointer. Begin the plan with {0}. The first
// field that is read is column 0, and so on.
void plan_read(plan_t *plan, const char *pointer);
void plan_write(plan_t *plan, const char *pointer);

// Drops the events whose value of this column is not kept. Asks once for each distinct value.
void keep_where(const batch_t *batch, uint32_t column, bool (*keep)(const value_t *value),
                verdict_t *verdict);

// Edits a field, a place in what the plan writes: `edit` is asked once for each distinct value of the
// column. It may move the value into the edit, which begins as one that leaves the field as it is.
void change_by_value(batch_t *batch, uint32_t column, uint32_t write,
                     void (*edit)(value_t *value, edit_t *edit), verdict_t *verdict);

// Writes a text, which is then the edit's.
void edit_text(edit_t *edit, plugin_string_t text);

// Writes a value, which is moved there: absent is left behind.
void edit_move(edit_t *edit, value_t *value);

#endif
