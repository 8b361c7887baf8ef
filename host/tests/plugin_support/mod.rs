//! Components made from a few lines of WebAssembly text, for plugins that no compiler would make.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod wasi;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The WIT of the host, in one text, so that a test can change it.
pub const WIT: &str = concat!(
    include_str!("../../../wit/world.wit"),
    include_str!("../../../wit/events.wit"),
    include_str!("../../../wit/log.wit"),
    include_str!("../../../wit/rules.wit"),
    include_str!("../../../wit/transforms.wit"),
);

/// Zeroed memory for an answer: as a result of `configure` an empty plan, as a verdict "all kept".
pub const ANSWER: &str = "(i32.const 1024)";

/// A component of `world` from a core module.
pub fn component(world: &str, core: &str) -> Vec<u8> {
    component_of(&[WIT], world, core)
}

/// The same with other WIT texts; the last has the world.
pub fn component_of(wit: &[&str], world: &str, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut package = None;
    for (number, text) in wit.iter().enumerate() {
        package = Some(resolve.push_str(format!("{number}.wit"), text).expect("WIT"));
    }
    let world =
        resolve.select_world(&[package.expect("one WIT at least")], Some(world)).expect("world");
    let mut module = wat::parse_str(core).unwrap_or_else(|error| panic!("{error}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    let encoder = ComponentEncoder::default().validate(true).module(&module).expect("module");
    { encoder }.encode().unwrap_or_else(|error| panic!("{error:?}"))
}

/// The core of a rule: what its two functions do, and what else the module has.
///
/// Arguments lie from 64 KiB on and are overwritten by the next call's. `$events`, `$now`,
/// `$columns` and `$count` are what `evaluate` gets, `$settings` and `$length` what `configure` does.
pub fn rule_core(configure: &str, evaluate: &str, imports: &str, rest: &str) -> String {
    rule_core_of("0.1.0", configure, evaluate, imports, rest)
}

/// The same for a version of the WIT.
pub fn rule_core_of(
    version: &str,
    configure: &str,
    evaluate: &str,
    imports: &str,
    rest: &str,
) -> String {
    format!(
        r#"(module
          {imports}
          {ALLOCATOR}
          (func (export "pipeline:plugin/rules@{version}#configure")
            (param $settings i32) (param $length i32) (result i32)
            (local $i i32) (local $at i32)
            {RESET}
            {configure})
          (func (export "pipeline:plugin/rules@{version}#evaluate")
            (param $events i32) (param $now i64) (param $columns i32) (param $count i32) (result i32)
            (local $i i32) (local $j i32) (local $at i32) (local $from i32) (local $n i32)
            {RESET}
            {evaluate})
          {rest})"#
    )
}

/// The core of a transform; `$records`, `$count` and `$now` are what `transform` gets.
pub fn transform_core(transform: &str, rest: &str) -> String {
    format!(
        r#"(module
          {ALLOCATOR}
          (func (export "pipeline:plugin/transforms@0.1.0#configure") (param i32 i32) (result i32)
            {RESET}
            {ANSWER})
          (func (export "pipeline:plugin/transforms@0.1.0#transform")
            (param $records i32) (param $count i32) (param $now i64) (result i32)
            (local $i i32) (local $at i32) (local $from i32)
            {RESET}
            {transform})
          {rest})"#
    )
}

/// A rule that traps on every device type of three letters.
pub fn trapping() -> Vec<u8> {
    component("rule", &marked_rule_core("unreachable", "", ""))
}

/// The core of a rule that does one thing where a device type has three letters, and keeps all
/// events. It may write `/note`; `$j`, `$n` and `$from` are free, answers may lie from 8 KiB on.
pub fn marked_rule_core(deed: &str, imports: &str, rest: &str) -> String {
    let evaluate = format!(
        "(loop
          (if (i32.lt_u (local.get $i) (i32.load offset=8 (local.get $columns)))
            (then
              (local.set $at (i32.add (i32.load offset=4 (local.get $columns)) (i32.mul (local.get $i) (i32.const 16))))
              (if (i32.eq (i32.load offset=12 (local.get $at)) (i32.const 3)) (then {deed}))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br 1))))
        {ANSWER}"
    );
    let rest = format!("{rest} {FIELDS}");
    rule_core(PLAN, &evaluate, imports, &rest)
}

/// The plan that reads `/device_type` and may write `/note`, with [`FIELDS`] in the module.
pub const PLAN: &str = "
    (i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 1))
    (i32.store (i32.const 2052) (i32.const 256)) (i32.store (i32.const 2056) (i32.const 12))
    (i32.store (i32.const 1036) (i32.const 3072)) (i32.store (i32.const 1040) (i32.const 1))
    (i32.store (i32.const 3072) (i32.const 268)) (i32.store (i32.const 3076) (i32.const 5))
    (i32.const 1024)";

/// The names of the fields of [`PLAN`].
pub const FIELDS: &str = r#"(data (i32.const 256) "/device_type/note")"#;

const ALLOCATOR: &str = r#"
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))"#;

/// What a call was given stays where it is until the host gives more.
const RESET: &str = "(global.set $next (i32.const 65536))";
