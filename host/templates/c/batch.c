#include "batch.h"

#include <stdlib.h>

// One element more at the end of a list.
static void *grown(void *list, size_t count, size_t size) {
    list = realloc(list, (count + 1) * size);
    if (list == NULL) {
        abort();
    }
    return list;
}

void plan_read(plan_t *plan, const char *pointer) {
    plan->reads.ptr = grown(plan->reads.ptr, plan->reads.len, sizeof *plan->reads.ptr);
    exports_rules_read_t *read = &plan->reads.ptr[plan->reads.len++];
    read->source.tag = EXPORTS_RULES_SOURCE_FIELD;
    plugin_string_dup(&read->source.val.field, pointer);
    read->form = EXPORTS_RULES_FORM_VALUES;
}

void plan_write(plan_t *plan, const char *pointer) {
    plan->writes.ptr = grown(plan->writes.ptr, plan->writes.len, sizeof *plan->writes.ptr);
    plugin_string_dup(&plan->writes.ptr[plan->writes.len++], pointer);
}

static events_list_value_t values_of(const batch_t *batch, uint32_t column) {
    return batch->columns.ptr[column].dictionary.val.values;
}

void keep_where(const batch_t *batch, uint32_t column, bool (*keep)(const value_t *value),
                verdict_t *verdict) {
    events_list_value_t values = values_of(batch, column);
    exports_rules_fates_t *fates = &verdict->fates.val;
    verdict->fates.is_some = true;
    fates->index.tag = EXPORTS_RULES_INDEX_AS_COLUMN;
    fates->index.val.as_column = column;
    fates->entries.len = values.len;
    fates->entries.ptr = allocate(values.len * sizeof *fates->entries.ptr);
    for (size_t i = 0; i < values.len; i++) {
        bool kept = keep(&values.ptr[i]);
        fates->entries.ptr[i].tag = kept ? EXPORTS_RULES_FATE_KEEP : EXPORTS_RULES_FATE_DROP;
    }
}

void change_by_value(batch_t *batch, uint32_t column, uint32_t write,
                     void (*edit)(value_t *value, edit_t *edit), verdict_t *verdict) {
    events_list_value_t values = values_of(batch, column);
    exports_rules_list_change_t *changes = &verdict->changes;
    changes->ptr = grown(changes->ptr, changes->len, sizeof *changes->ptr);
    exports_rules_change_t *change = &changes->ptr[changes->len++];
    change->write = write;
    change->index.tag = EXPORTS_RULES_INDEX_AS_COLUMN;
    change->index.val.as_column = column;
    change->edits.tag = EXPORTS_RULES_EDITS_VALUES;
    exports_rules_list_edit_t *edits = &change->edits.val.values;
    edits->len = values.len;
    edits->ptr = allocate(values.len * sizeof *edits->ptr);
    for (size_t i = 0; i < values.len; i++) {
        edits->ptr[i].tag = EXPORTS_RULES_EDIT_LEAVE;
        edit(&values.ptr[i], &edits->ptr[i]);
    }
}

void edit_text(edit_t *edit, plugin_string_t text) {
    edit->tag = EXPORTS_RULES_EDIT_SET;
    edit->val.set.tag = EVENTS_VALUE_TEXT;
    edit->val.set.val.text = text;
}

void edit_move(edit_t *edit, value_t *value) {
    edit->tag = EXPORTS_RULES_EDIT_SET;
    edit->val.set = *value;
    value->tag = EVENTS_VALUE_ABSENT;
}
