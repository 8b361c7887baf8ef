//! A component that does nothing, to measure what the boundary alone costs.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::bindings::resolved;
use crate::event::{Form, Plan, Source};
use crate::plugin::World;

/// Arguments begin here; what is configured lies below.
const HEAP: usize = 1 << 16;
/// 32 zero bytes: the verdict that keeps all and changes nothing, and the answer of a transform.
const ZEROS: usize = 0;
/// The answer to `configure`.
const ANSWER: usize = 32;
/// Its lists and texts.
const LISTS: usize = 64;

/// A component that reads what this plan reads, writes nothing and keeps all; without a plan, a
/// transform that passes all. None where the plan's texts are too long for it.
pub fn nothing(plan: Option<&Plan>) -> Option<Vec<u8>> {
    let (world, text) = match plan {
        Some(plan) => (World::Rule, rule(plan)?),
        None => (World::Transform, module(TRANSFORM, "")),
    };
    let mut module = wat::parse_str(text).expect("the text is well-formed");
    let (resolve, id) = resolved(world);
    embed_component_metadata(&mut module, &resolve, id, StringEncoding::UTF8)
        .expect("the world is this host's own");
    let encoder = ComponentEncoder::default().module(&module);
    let made = encoder.and_then(|mut encoder| encoder.encode());
    Some(made.expect("the module fits its world"))
}

fn rule(plan: &Plan) -> Option<String> {
    let number = |at: usize| (at as u32).to_le_bytes();
    let mut reads = Vec::new();
    let mut texts = Vec::new();
    let texts_at = LISTS + 16 * plan.reads.len();
    for read in &plan.reads {
        let (case, text) = match &read.source {
            Source::Field(pointer) => (0, pointer.clone()),
            Source::Timestamp => (1, String::new()),
            Source::Key => (2, String::new()),
            Source::Header(name) => (3, name.clone()),
        };
        reads.extend(u32::to_le_bytes(case));
        reads.extend(number(texts_at + texts.len()));
        reads.extend(number(text.len()));
        reads.extend(u32::to_le_bytes(u32::from(read.form == Form::Packed)));
        texts.extend(text.into_bytes());
    }
    if texts_at + texts.len() > HEAP {
        return None;
    }
    // result<plan, string>: ok, the reads, and no writes.
    let mut answer = vec![0; LISTS - ANSWER];
    answer[4..8].copy_from_slice(&number(LISTS));
    answer[8..12].copy_from_slice(&number(plan.reads.len()));
    answer.extend(reads);
    answer.extend(texts);
    let mut data = String::new();
    for byte in answer {
        let _ = write!(data, "\\{byte:02x}");
    }
    Some(module(RULE, &data))
}

const RULE: &str = r#"
  (func (export "pipeline:plugin/rules@0.1.0#configure") (param i32 i32) (result i32)
    (i32.const {answer}))
  (func (export "pipeline:plugin/rules@0.1.0#evaluate") (param i32 i64 i32 i32) (result i32)
    (i32.const {zeros}))
  (func (export "cabi_post_pipeline:plugin/rules@0.1.0#evaluate") (param i32)
    (global.set $heap (i32.const {heap})))
"#;

/// A list of outcomes, all of them `pass`, which is all zeros; its head lies where the plan would.
const TRANSFORM: &str = r#"
  (func (export "pipeline:plugin/transforms@0.1.0#configure") (param i32 i32) (result i32)
    (i32.const {zeros}))
  (func (export "pipeline:plugin/transforms@0.1.0#transform")
        (param $records i32) (param $count i32) (param i64) (result i32) (local $list i32)
    (local.set $list (call $allocate (i32.const 4) (i32.mul (local.get $count) (i32.const 12))))
    (memory.fill (local.get $list) (i32.const 0) (i32.mul (local.get $count) (i32.const 12)))
    (i32.store (i32.const {answer}) (local.get $list))
    (i32.store offset=4 (i32.const {answer}) (local.get $count))
    (i32.const {answer}))
  (func (export "cabi_post_pipeline:plugin/transforms@0.1.0#transform") (param i32)
    (global.set $heap (i32.const {heap})))
"#;

/// Memory is given out from the heap's beginning on, and taken back as a whole behind each call.
fn module(functions: &str, data: &str) -> String {
    let text = r#"(module
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const {heap}))
  (data (i32.const {answer}) "{data}")
  (func $allocate (param $align i32) (param $size i32) (result i32) (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
      (br_if $fits (i32.ge_s
        (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))
        (i32.const 0)))
      unreachable)
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (call $allocate (local.get 2) (local.get 3)))
  {functions})"#;
    text.replace("{functions}", functions)
        .replace("{data}", data)
        .replace("{heap}", &HEAP.to_string())
        .replace("{zeros}", &ZEROS.to_string())
        .replace("{answer}", &ANSWER.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Engine, LoadLimits};

    #[test]
    fn it_is_a_plugin_of_either_world() {
        let engine = Engine::new(None).expect("an engine");
        let read =
            |text: &str, form| crate::event::Read { source: Source::Field(text.to_owned()), form };
        let reads = vec![read("/a", Form::Values), read("/b/c", Form::Packed)];
        let plan = Plan { reads, ..Plan::default() };
        for (plan, world) in [(Some(&plan), World::Rule), (None, World::Transform)] {
            let bytes = nothing(plan).expect("short texts");
            let plugin = engine.load_bytes("nothing", &bytes, LoadLimits::default());
            assert_eq!(plugin.expect("a plugin").world(), world);
        }
    }
}
