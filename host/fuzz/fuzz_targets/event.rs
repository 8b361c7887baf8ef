//! Holds the batch against the naive model of `tests/event_model`, on documents and stages that
//! the fuzzer makes up.

#![no_main]

#[path = "../../tests/event_model/model.rs"]
mod model;

use arbitrary::{Result, Unstructured};
use host::event::{Edit, OwnedValue};
use libfuzzer_sys::fuzz_target;
use model::{Case, Stage, Way};

fuzz_target!(|data: &[u8]| {
    if let Ok(case) = case(Unstructured::new(data)) {
        model::check(&case);
    }
});

fn case(mut input: Unstructured<'_>) -> Result<Case> {
    let stages = input.int_in_range(0..=3)?;
    let stages = (0..stages).map(|_| stage(&mut input)).collect::<Result<_>>()?;
    // What is left is the documents: no JSON text has this byte, so the fuzzer can tell them apart.
    let documents = input.take_rest().split(|&byte| byte == 0xff).map(<[u8]>::to_vec).collect();
    Ok(Case { documents, stages })
}

fn stage(input: &mut Unstructured<'_>) -> Result<Stage> {
    let reads =
        (0..input.int_in_range(0..=3)?).map(|_| pointer(input, 0)).collect::<Result<_>>()?;
    let changes = (0..input.int_in_range(0..=2)?).map(|_| {
        let ways = [Way::Constant, Way::Identity, Way::Column, Way::Each, Way::Packed];
        let edits = (0..input.int_in_range(1..=3)?).map(|_| edit(input)).collect::<Result<_>>()?;
        Ok((pointer(input, 1)?, edits, *input.choose(&ways)?))
    });
    let changes = changes.collect::<Result<_>>()?;
    Ok(Stage { reads, changes, asked: !input.arbitrary::<u8>()?, dropped: input.arbitrary()? })
}

fn pointer(input: &mut Unstructured<'_>, tokens_min: usize) -> Result<String> {
    let tokens =
        ["a", "b", "c", "0", "1", "-", "a~1b", "m~0n", "", "longer than a word", "é", "01"];
    let count = input.int_in_range(tokens_min..=3)?;
    (0..count).map(|_| Ok(format!("/{}", input.choose(&tokens)?))).collect()
}

fn edit(input: &mut Unstructured<'_>) -> Result<Edit> {
    let json = ["[1, 2]", " {\"a\":{}} ", "1e400", "\"\\ud800\"", "\"\\u0061\"", "-0", "7"];
    Ok(match input.int_in_range(0..=7)? {
        0 => Edit::Leave,
        1 => Edit::Remove,
        2 => Edit::Set(OwnedValue::Null),
        3 => Edit::Set(OwnedValue::Boolean(input.arbitrary()?)),
        4 => Edit::Set(OwnedValue::Integer(input.arbitrary()?)),
        5 => {
            let number: f64 = input.arbitrary()?;
            Edit::Set(OwnedValue::Number(if number.is_finite() { number } else { 0.5 }))
        }
        6 => Edit::Set(OwnedValue::Text(input.arbitrary::<&str>()?.into())),
        _ => Edit::Set(OwnedValue::Json((*input.choose(&json)?).into())),
    })
}
