// What a transform is written with. The types are those of wit/transforms.wit, which says what they
// mean; .build/plugin.h has them in C.
#ifndef RECORDS_H
#define RECORDS_H

#include "pipeline.h"

typedef exports_transforms_list_kafka_record_t records_t;
typedef exports_transforms_kafka_record_t record_t;
typedef exports_transforms_header_t header_t;
typedef exports_transforms_list_header_t headers_t;
typedef exports_transforms_output_t output_t;
typedef exports_transforms_list_output_t outputs_t;
typedef exports_transforms_outcome_t outcome_t;
typedef exports_transforms_list_outcome_t outcomes_t;

// Copies, for outputs: each has to have its own.
plugin_option_list_u8_t some_bytes(const uint8_t *bytes, size_t length);
plugin_option_list_u8_t copy_bytes(const plugin_option_list_u8_t *bytes);
header_t copy_header(const header_t *header);

// The headers of a record, and room for one more at the end.
headers_t copy_headers_and_one(const headers_t *headers);

outcome_t outcome_pass(void);
outcome_t outcome_drop(void);
// The outputs, or the reason, are moved there.
outcome_t outcome_emit(outputs_t outputs);
outcome_t outcome_reject(plugin_string_t reason);

#endif
