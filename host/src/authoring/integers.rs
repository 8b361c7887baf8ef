//! Integers of 64 bits for an engine that has none: QuickJS gets an `s64` as a float, which changes
//! what lies beyond 2^53. So it is told that an integer is a tuple of two halves. In memory, where
//! values always are, that is the same 8 bytes; then the component is made to say `s64` again.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    Component, ComponentDefinedTypeEncoder, ComponentSectionId, PrimitiveValType, RawSection,
};
use wasmparser::{ComponentDefinedType, ComponentValType, Parser};

use super::bindings::WIT;
use super::error::BuildError;
use super::language::File;

const WHOLE: &str = "integer(s64)";
/// Signed, since what is above 2^31 does not come back from it.
const HALVES: &str = "integer(tuple<s32, s32>)";

/// The WIT as that engine is shown it.
pub(super) fn halved() -> impl Iterator<Item = (&'static str, String)> {
    WIT.iter().map(|(path, text): &File| (*path, text.replace(WHOLE, HALVES)))
}

/// The component that was made of it, with the types of the true one.
pub(super) fn joined(component: &[u8]) -> Result<Vec<u8>, BuildError> {
    let mut joined = Component::new();
    (Joining.parse_component(&mut joined, Parser::new(0), component))
        .map_err(|error| BuildError::Component(format!("{error}")))?;
    Ok(joined.finish())
}

struct Joining;

impl Reencode for Joining {
    type Error = Infallible;
}

impl ReencodeComponent for Joining {
    /// No other type of the WIT is a tuple.
    fn parse_component_defined_type(
        &mut self,
        defined: ComponentDefinedTypeEncoder<'_>,
        ty: ComponentDefinedType<'_>,
    ) -> Result<(), Error> {
        const HALF: ComponentValType =
            ComponentValType::Primitive(wasmparser::PrimitiveValType::S32);
        match &ty {
            ComponentDefinedType::Tuple(parts) if **parts == [HALF, HALF] => {
                defined.primitive(PrimitiveValType::S64);
                Ok(())
            }
            _ => component_utils::parse_component_defined_type(self, defined, ty),
        }
    }

    /// Code stays as it is.
    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        _: Parser,
        module: &[u8],
    ) -> Result<(), Error> {
        component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: module });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_integers_of_events_are_halved() {
        let changed: Vec<_> =
            halved().zip(WIT).filter(|((_, halved), (_, whole))| halved != whole).collect();
        let paths: Vec<_> = changed.iter().map(|((path, _), _)| *path).collect();
        assert_eq!(paths, ["wit/events.wit"]);
        let tuples: usize = WIT.iter().map(|(_, text)| text.matches("tuple").count()).sum();
        assert_eq!(tuples, 0, "a tuple of the WIT itself would be taken for an integer");
    }

    #[test]
    fn halves_become_whole_and_nothing_else_changes() {
        let component = |integer: &str| {
            let text = format!(
                "(component (core module $m (func (export \"f\"))) (type {integer}) \
                 (type (variant (case \"absent\") (case \"integer\" 0) (case \"text\" string))))"
            );
            wat::parse_str(text).expect("well-formed")
        };
        let joined = joined(&component("(tuple s32 s32)")).expect("it is a component");
        assert_eq!(joined, component("s64"));
    }
}
