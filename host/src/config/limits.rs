//! `[limits]` and `[stage.limits]`: defaults and bounds.

use std::time::Duration;

use super::table::Table;
use super::types::{BatchLimits, Limits, StageLimits};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A stage's limits where `pipeline.toml` says nothing.
const STAGE: StageLimits = StageLimits {
    memory: 64 * MIB,
    recycle_memory: 32 * MIB,
    configure: millis(5000),
    call: millis(100),
    call_per_event: Duration::from_micros(100),
    output_record: 8 * MIB,
    output_batch: 64 * MIB,
    outputs_per_record: 1000,
    log_lines_per_second: 20,
};

/// `[limits]`, and what it gives to stages that say nothing else.
pub(super) fn read(table: Table<'_>) -> Limits {
    let limits = Limits {
        stage: read_stage_keys(&table, "plugin-memory", &STAGE),
        batch: BatchLimits {
            records: table.integer("batch-records", 2000, 1..=100_000) as u32,
            bytes: table.bytes("batch-bytes", 4 * MIB, KIB..=GIB),
            wait: table.duration("batch-wait", millis(5), millis(0)..=millis(1000)),
        },
        faults_per_transaction: table.integer("faults-per-transaction", 32, 1..=1_000_000) as u32,
        fault_time_per_transaction: table.duration(
            "fault-time-per-transaction",
            millis(2000),
            millis(1)..=millis(60_000),
        ),
        wasm_file: table.bytes("wasm-file", 64 * MIB, KIB..=GIB),
    };
    check_outputs(&table, &limits.stage);
    table.finish();
    limits
}

/// `[stage.limits]`.
pub(super) fn read_stage(table: Table<'_>, defaults: &StageLimits) -> StageLimits {
    let limits = read_stage_keys(&table, "memory", defaults);
    check_outputs(&table, &limits);
    table.finish();
    limits
}

fn read_stage_keys(table: &Table<'_>, memory: &'static str, defaults: &StageLimits) -> StageLimits {
    StageLimits {
        // A page of linear memory is 64 KiB; more than 4 GiB cannot be addressed.
        memory: table.bytes(memory, defaults.memory, 64 * KIB..=4 * GIB),
        recycle_memory: table.bytes("recycle-memory", defaults.recycle_memory, 64 * KIB..=4 * GIB),
        configure: table.duration("configure", defaults.configure, millis(10)..=millis(300_000)),
        // The epoch ticks every 10 ms: less could not be told from nothing.
        call: table.duration("call", defaults.call, millis(10)..=millis(60_000)),
        call_per_event: table.duration(
            "call-per-event",
            defaults.call_per_event,
            millis(0)..=millis(1000),
        ),
        output_record: table.bytes("output-record", defaults.output_record, KIB..=GIB),
        output_batch: table.bytes("output-batch", defaults.output_batch, KIB..=4 * GIB),
        outputs_per_record: table.integer(
            "outputs-per-record",
            i64::from(defaults.outputs_per_record),
            1..=1_000_000,
        ) as u32,
        log_lines_per_second: table.integer(
            "log-lines-per-second",
            i64::from(defaults.log_lines_per_second),
            0..=100_000,
        ) as u32,
    }
}

fn check_outputs(table: &Table<'_>, limits: &StageLimits) {
    if limits.output_record > limits.output_batch {
        let key = if table.has("output-record") { "output-record" } else { "output-batch" };
        table.problem(
            key,
            "one record may be larger than a whole batch",
            "make output-batch at least as large as output-record",
        );
    }
}
