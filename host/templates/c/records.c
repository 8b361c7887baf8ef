#include "records.h"

#include <string.h>

plugin_option_list_u8_t some_bytes(const uint8_t *bytes, size_t length) {
    plugin_option_list_u8_t copy = {.is_some = true, .val = {NULL, length}};
    if (length > 0) {
        copy.val.ptr = allocate(length);
        memcpy(copy.val.ptr, bytes, length);
    }
    return copy;
}

plugin_option_list_u8_t copy_bytes(const plugin_option_list_u8_t *bytes) {
    if (!bytes->is_some) {
        return (plugin_option_list_u8_t){0};
    }
    return some_bytes(bytes->val.ptr, bytes->val.len);
}

header_t copy_header(const header_t *header) {
    header_t copy;
    plugin_string_dup_n(&copy.name, (const char *)header->name.ptr, header->name.len);
    copy.value = copy_bytes(&header->value);
    return copy;
}

headers_t copy_headers_and_one(const headers_t *headers) {
    headers_t copy = {.len = headers->len + 1};
    copy.ptr = allocate(copy.len * sizeof *copy.ptr);
    for (size_t i = 0; i < headers->len; i++) {
        copy.ptr[i] = copy_header(&headers->ptr[i]);
    }
    return copy;
}

outcome_t outcome_pass(void) { return (outcome_t){.tag = EXPORTS_TRANSFORMS_OUTCOME_PASS}; }

outcome_t outcome_drop(void) { return (outcome_t){.tag = EXPORTS_TRANSFORMS_OUTCOME_DROP}; }

outcome_t outcome_emit(outputs_t outputs) {
    return (outcome_t){.tag = EXPORTS_TRANSFORMS_OUTCOME_EMIT, .val.emit = outputs};
}

outcome_t outcome_reject(plugin_string_t reason) {
    return (outcome_t){.tag = EXPORTS_TRANSFORMS_OUTCOME_REJECT, .val.reject = reason};
}
