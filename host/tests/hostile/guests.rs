//! The plugins. Most do one thing where an event is marked; a deed is what that is.

use crate::plugin_support::{
    ANSWER, FIELDS, PLAN, component, marked_rule_core, rule_core, transform_core, wasi,
};

const LOG: &str = r#"(import "pipeline:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

const REST: &str = r#"
    (func $recurse (param i32) (result i32)
      (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))
    (data (i32.const 512) "\ff\fe")
    (data (i32.const 520) "a line of no interest")"#;

/// A rule that does this where an event is marked.
pub fn rule(deed: &str) -> Vec<u8> {
    component("rule", &marked_rule_core(deed, LOG, REST))
}

/// A transform that lets all pass, and does this where a record is marked.
pub fn transform(deed: &str) -> Vec<u8> {
    let body = format!(
        "(i32.store (i32.const 1024) (i32.const 4096)) (i32.store (i32.const 1028) (local.get $count))
        (memory.fill (i32.const 4096) (i32.const 0) (i32.mul (local.get $count) (i32.const 12)))
        (loop
          (local.set $from (i32.add (local.get $records) (i32.mul (local.get $i) (i32.const 72))))
          (local.set $at (i32.add (i32.const 4096) (i32.mul (local.get $i) (i32.const 12))))
          (if (i32.eq (i32.load offset=8 (local.get $from)) (i32.const 3)) (then {deed}))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (local.get $count))))
        {ANSWER}"
    );
    component("transform", &transform_core(&body, ""))
}

pub const TRAP: &str = "unreachable";
pub const LOOP: &str = "(loop (br 0))";
pub const RECURSE: &str = "(drop (call $recurse (i32.const 0)))";

/// Takes page after page and writes to it.
pub const ALLOCATE: &str = "
    (loop
      (local.set $n (memory.grow (i32.const 1)))
      (if (i32.eq (local.get $n) (i32.const -1)) (then unreachable))
      (memory.fill (i32.shl (local.get $n) (i32.const 16)) (i32.const 7) (i32.const 65536))
      (br 0))";

pub fn traps_at_configure() -> Vec<u8> {
    component("rule", &rule_core(TRAP, ANSWER, "", ""))
}

pub const CONSTANT: &str = "(i32.store8 (i32.const 1036) (i32.const 0))";
pub const IDENTITY: &str = "(i32.store8 (i32.const 1036) (i32.const 1))";
pub const AS_COLUMN_9: &str =
    "(i32.store8 (i32.const 1036) (i32.const 2)) (i32.store (i32.const 1040) (i32.const 9))";
pub const EACH_OUT_OF_RANGE: &str = "
    (i32.store8 (i32.const 1036) (i32.const 3))
    (i32.store (i32.const 1040) (i32.const 40960)) (i32.store (i32.const 1044) (local.get $events))
    (memory.fill (i32.const 40960) (i32.const 255) (i32.const 8192))";
pub const EACH_TOO_LONG: &str = "
    (i32.store8 (i32.const 1036) (i32.const 3))
    (i32.store (i32.const 1040) (i32.const 40960)) (i32.store (i32.const 1044) (i32.const 2000))";

/// So many fates, all "keep", spread like this.
pub fn fates(count: u32, index: &str) -> String {
    format!(
        "(i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store (i32.const 1028) (i32.const 8192)) (i32.store (i32.const 1032) (i32.const {count}))
        {index}"
    )
}

pub const NO_OUTCOMES: &str =
    "(i32.store (i32.const 1028) (i32.const 0)) (return (i32.const 1024))";
pub const MANY_OUTCOMES: &str =
    "(i32.store (i32.const 1028) (i32.const 5000)) (return (i32.const 1024))";

/// One fate, "reject", whose reason is no text.
pub const REJECT_NOT_UTF8: &str = "
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 8192)) (i32.store (i32.const 1032) (i32.const 1))
    (i32.store8 (i32.const 8192) (i32.const 2))
    (i32.store (i32.const 8196) (i32.const 512)) (i32.store (i32.const 8200) (i32.const 2))";

/// One change, of this field, with so many edits from 16 KiB on, all events having the first.
fn change(write: u32, edits: u32) -> String {
    format!(
        "(i32.store (i32.const 1048) (i32.const 8192)) (i32.store (i32.const 1052) (i32.const 1))
        (i32.store (i32.const 8192) (i32.const {write}))
        (i32.store (i32.const 8200) (i32.const 16384)) (i32.store (i32.const 8204) (i32.const {edits}))"
    )
}

pub fn undeclared_write() -> String {
    change(7, 1)
}

/// One edit, two bytes packed.
pub fn packed_not_utf8() -> String {
    let packed = "
        (i32.store8 (i32.const 8196) (i32.const 1))
        (i32.store (i32.const 8200) (i32.const 512)) (i32.store (i32.const 8204) (i32.const 2))
        (i32.store (i32.const 8208) (i32.const 16384)) (i32.store (i32.const 8212) (i32.const 1))
        (i32.store (i32.const 16384) (i32.const 2))";
    change(0, 1) + packed
}

/// The edit at `$from`: set a text of zeros from 256 KiB on.
fn set_text(bytes: u32) -> String {
    format!(
        "(i32.store8 (local.get $from) (i32.const 2)) (i32.store8 offset=8 (local.get $from) (i32.const 5))
        (i32.store offset=16 (local.get $from) (i32.const 262144))
        (i32.store offset=20 (local.get $from) (i32.const {bytes}))"
    )
}

pub fn hundred_megabytes() -> String {
    format!(
        "(drop (memory.grow (i32.const 1600))) {} (local.set $from (i32.const 16384)) {}",
        change(0, 1),
        set_text(100_000_000)
    )
}

pub fn a_megabyte_a_hundred_times() -> String {
    format!(
        "(drop (memory.grow (i32.const 16))) {} (local.set $from (i32.const 16384))
        (loop {} (br_if 0 (i32.lt_u
          (local.tee $from (i32.add (local.get $from) (i32.const 24))) (i32.const 18784))))",
        change(0, 100),
        set_text(1 << 20)
    )
}

/// So many outputs of a record, all empty.
pub fn outputs(count: u32) -> String {
    format!(
        "(drop (memory.grow (i32.const 700)))
        (i32.store8 (local.get $at) (i32.const 2))
        (i32.store offset=4 (local.get $at) (i32.const 262144))
        (i32.store offset=8 (local.get $at) (i32.const {count}))"
    )
}

pub fn log_lines(count: u32) -> String {
    format!(
        "(loop
          (call $log (i32.const 2) (i32.const 520) (i32.const 21))
          (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {count}))))"
    )
}

pub const LOG_FOR_EVER: &str =
    "(loop (call $log (i32.const 2) (i32.const 520) (i32.const 21)) (br 0))";

/// Notes in each event what WASI shows.
pub fn looking() -> Vec<u8> {
    let evaluate = format!(
        "{} {}
        (i32.store8 (i32.const 16384) (i32.const 2)) (i32.store8 (i32.const 16392) (i32.const 3))
        (i64.store (i32.const 16400) (i64.extend_i32_u (local.get $n)))
        {ANSWER}",
        wasi::LOOK,
        change(0, 1)
    );
    wasi::component(&rule_core(PLAN, &evaluate, wasi::IMPORTS, FIELDS))
}

/// Counts its calls and traps at the third.
pub fn counting() -> Vec<u8> {
    let evaluate = format!(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable)) {ANSWER}"
    );
    let rest = "(global $calls (mut i32) (i32.const 0))";
    component("rule", &rule_core(ANSWER, &evaluate, "", rest))
}

/// Takes a megabyte more with each call, writes to it and gives up where there is none.
pub fn leaking() -> Vec<u8> {
    let evaluate = format!(
        "(local.set $n (memory.grow (i32.const 16)))
        (if (i32.eq (local.get $n) (i32.const -1)) (then unreachable))
        (memory.fill (i32.shl (local.get $n) (i32.const 16)) (i32.const 7) (i32.const 1048576)) {ANSWER}"
    );
    component("rule", &rule_core(ANSWER, &evaluate, "", ""))
}
