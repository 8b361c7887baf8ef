//! Whether the functions that a component exports have the types of this host's WIT: found out
//! when it is loaded, not when it is first configured.

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentNamedList, Lift, Lower};

use super::bindings::rule::exports::pipeline::plugin::rules;
use super::bindings::rule::pipeline::plugin::events;
use super::bindings::transform::exports::pipeline::plugin::transforms;
use super::load::World;
use super::wit;

/// The error names the function.
pub(super) fn check(component: &Component, world: World) -> Result<(), String> {
    match world {
        World::Rule => {
            type Plan = Result<rules::Plan, String>;
            function::<(&str,), (Plan,)>(component, wit::RULES, "configure")?;
            function::<(events::Batch<'_>,), (rules::Verdict,)>(component, wit::RULES, "evaluate")
        }
        World::Transform => {
            type Records<'a> = &'a [transforms::KafkaRecord<'a>];
            type Outcomes = Vec<transforms::Outcome>;
            function::<(&str,), (Result<(), String>,)>(component, wit::TRANSFORMS, "configure")?;
            function::<(Records<'_>, i64), (Outcomes,)>(component, wit::TRANSFORMS, "transform")
        }
    }
}

fn function<P, R>(component: &Component, interface: &str, name: &str) -> Result<(), String>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let (ty, engine) = (component.component_type(), component.engine());
    let found = ty.exports(engine).find(|(export, _)| wit::matches(export, interface)).and_then(
        |(_, item)| match item.ty {
            ComponentItem::ComponentInstance(instance) => {
                Some(instance.get_export(engine, name)?.ty)
            }
            _ => None,
        },
    );
    match found {
        // Hidden in wasmtime's documentation, but what its own bindings check an instance with.
        Some(ComponentItem::ComponentFunc(function)) => {
            ComponentFunc::typecheck::<P, R>(&function, &ty.instance_type())
                .map_err(|error| format!("{name} has other types ({error:#})"))
        }
        _ => Err(format!("{name} is missing")),
    }
}
