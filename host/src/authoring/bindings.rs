//! The WIT as files, and bindings that are generated of it.

use std::path::{Path, PathBuf};

use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::WithOption;
use wit_component::StringEncoding;
use wit_parser::{Resolve, UnresolvedPackageGroup, WorldId};

use super::error::BuildError;
use super::language::File;
use super::project::lay;
use crate::plugin::World;

/// `wit/`, as every plugin carries it.
pub(super) const WIT: [File; 5] = [
    ("wit/events.wit", include_str!("../../../wit/events.wit")),
    ("wit/log.wit", include_str!("../../../wit/log.wit")),
    ("wit/rules.wit", include_str!("../../../wit/rules.wit")),
    ("wit/transforms.wit", include_str!("../../../wit/transforms.wit")),
    ("wit/world.wit", include_str!("../../../wit/world.wit")),
];

/// What a stand-in for WASI needs.
const ADAPTER: &str =
    "package pipeline:preview1; world adapter { import pipeline:plugin/log@0.1.0; }";

/// The WIT and one of its worlds.
pub(super) fn resolved(world: World) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let package = resolve.push_group(package()).expect("this host's own WIT is well-formed");
    let world = resolve.select_world(&[package], Some(&world.to_string()));
    let world = world.expect("it has both worlds");
    (resolve, world)
}

fn package() -> UnresolvedPackageGroup {
    let mut text = String::new();
    // One file whose first line is the package's.
    let mut files = WIT;
    files.reverse();
    for (_, file) in files {
        text += file;
    }
    UnresolvedPackageGroup::parse("plugin.wit", &text).expect("this host's own WIT is well-formed")
}

/// A module that says of itself that it imports the log.
pub(super) fn with_log(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let (mut resolve, _) = resolved(World::Rule);
    let package = resolve.push_str("preview1.wit", ADAPTER).expect("it is well-formed");
    let world = resolve.select_world(&[package], Some("adapter")).expect("it has this world");
    embedded(module, &resolve, world)
}

fn embedded(module: &[u8], resolve: &Resolve, world: WorldId) -> Result<Vec<u8>, BuildError> {
    let mut module = module.to_vec();
    wit_component::embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)
        .map_err(|error| BuildError::Component(format!("{error:#}")))?;
    Ok(module)
}

/// What a generator makes of a world: names and contents of files.
fn generate(mut generator: Box<dyn WorldGenerator>, world: World) -> Result<Files, BuildError> {
    let (mut resolve, world) = resolved(world);
    let mut files = Files::default();
    generator
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| BuildError::Component(format!("generating bindings: {error:#}")))?;
    Ok(files)
}

/// Bindings for C below `folder`: what has to be compiled and linked. Both worlds are `plugin` in
/// names, so that sources may serve both, and interfaces have their short names.
pub(super) fn c(world: World, folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let exported = match world {
        World::Rule => "rules",
        World::Transform => "transforms",
    };
    let short = |name: &str| (format!("pipeline:plugin/{name}@0.1.0"), name.to_owned());
    let options = wit_bindgen_c::Opts {
        rename_world: Some("plugin".to_owned()),
        rename: ["events", "log", exported].map(short).to_vec(),
        ..Default::default()
    };
    let mut code = Vec::new();
    for (name, content) in generate(options.build(), world)?.iter() {
        let path = lay(folder, name, content)?;
        if path.extension().is_some_and(|extension| extension == "c" || extension == "o") {
            code.push(path);
        }
    }
    Ok(code)
}

/// Bindings for Go, whose packages lie in that of this name: names and contents of files.
pub(super) fn go(world: World, package: &str) -> Result<Files, BuildError> {
    let options = wit_bindgen_go::Opts {
        // They are for the compiler only.
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(package.to_owned()),
        ..Default::default()
    };
    generate(options.build(), world)
}

/// Bindings for Rust: both worlds in one module, as the macro of `wit-bindgen` makes them. An author
/// who has them need not compile that macro, which takes longer than all else together.
pub(super) fn rust() -> String {
    let own = |interface: &str| {
        let module = format!("crate::bindings::pipeline::plugin::{interface}");
        (format!("pipeline:plugin/{interface}@0.1.0"), WithOption::Path(module))
    };
    let options = |module: &str, export: &str, with| wit_bindgen_rust::Opts {
        format: true,
        additional_derive_attributes: vec!["PartialEq".to_owned()],
        pub_export_macro: true,
        export_macro_name: Some(export.to_owned()),
        default_bindings_module: Some(module.to_owned()),
        generate_all: true,
        with,
        ..Default::default()
    };
    let module = "pipeline_sdk::bindings";
    let code = |options: wit_bindgen_rust::Opts, world| {
        let files = generate(Box::new(options.build()), world).expect("this host's own WIT");
        let (_, content) = files.iter().next().expect("it makes one file");
        String::from_utf8_lossy(content).into_owned()
    };
    let rule = code(options(module, "export_rules", Vec::new()), World::Rule);
    let common = vec![own("log"), own("events")];
    let nested = format!("{module}::transform");
    let transform = code(options(&nested, "export_transform", common), World::Transform);
    include_str!("../../templates/rust/bindings.rs")
        .replace("{{rule}}", &rule)
        .replace("{{transform}}", &transform)
}

/// A module that says of which world it is.
pub(super) fn with_world(module: &[u8], world: World) -> Result<Vec<u8>, BuildError> {
    let (resolve, world) = resolved(world);
    embedded(module, &resolve, world)
}
