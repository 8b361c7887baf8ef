//! What a failed call is called, in plain words and on one line.

use std::time::Duration;

use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::limits::WASM_STACK_BYTES;
use super::log::{cut, one_line};
use super::state::State;
use crate::chain::guest::Fault;

/// Longest text that is taken over from wasmtime, in bytes.
const DETAIL_BYTES_MAX: usize = 300;

/// Why a call failed that had this much time.
pub(super) fn fault(error: &wasmtime::Error, state: &State, time: Duration) -> Fault {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Fault::Deadline(time);
    }
    if state.memory.denied {
        return Fault::Memory(state.memory.bytes_max);
    }
    if let Some(trap) = trap {
        let words = words(*trap);
        return match (trap, state.log.last_error()) {
            (
                Trap::InvalidChar
                | Trap::InvalidDiscriminant
                | Trap::ListOutOfBounds
                | Trap::StringOutOfBounds
                | Trap::UnalignedPointer,
                _,
            ) => Fault::WrongAnswer(words),
            (_, Some(reason)) => Fault::Trap(format!("{reason} ({words})")),
            (_, None) => Fault::Trap(words),
        };
    }
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return Fault::Trap(format!("it called exit with code {code}"));
    }
    Fault::WrongAnswer(detail(error))
}

/// The innermost cause, on one line.
pub(super) fn detail(error: &wasmtime::Error) -> String {
    let text = error.root_cause().to_string();
    if text.contains("hostcalls has been exhausted") {
        return "more bytes than the host takes over in one call".into();
    }
    one_line(cut(&text, DETAIL_BYTES_MAX)).into_owned()
}

fn words(trap: Trap) -> String {
    match trap {
        Trap::StackOverflow => {
            format!("its calls nest too deep for the stack of {} KiB", WASM_STACK_BYTES >> 10)
        }
        Trap::MemoryOutOfBounds => "it reached outside its memory".into(),
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
            "it called a function that is not there".into()
        }
        Trap::IntegerOverflow => "an integer overflowed in a division".into(),
        Trap::IntegerDivisionByZero => "it divided by zero".into(),
        Trap::BadConversionToInteger => "it made an integer of a number that is none".into(),
        Trap::UnreachableCodeReached => "it gave up: a panic or an abort".into(),
        Trap::CannotEnterComponent | Trap::CannotLeaveComponent => {
            "it called the host from where no call is allowed".into()
        }
        Trap::InvalidChar => "a character that is none".into(),
        Trap::InvalidDiscriminant => "a variant that has no such case".into(),
        Trap::ListOutOfBounds => "a list that reaches outside its memory".into(),
        Trap::StringOutOfBounds => "a text that reaches outside its memory".into(),
        Trap::UnalignedPointer => "a pointer that is not aligned".into(),
        other => other.to_string().trim_start_matches("wasm trap: ").to_owned(),
    }
}

/// All causes, on one line.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    one_line(cut(&format!("{error:#}"), DETAIL_BYTES_MAX)).into_owned()
}
