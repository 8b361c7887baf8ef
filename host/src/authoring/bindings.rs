//! The WIT as files, and bindings that are generated of it.

use std::fs;
use std::path::{Path, PathBuf};

use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::StringEncoding;
use wit_parser::{Resolve, UnresolvedPackageGroup, WorldId};

use super::error::BuildError;
use super::language::File;
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

/// What a generator makes of a world: written below `folder`, and the paths of the files.
fn generate(
    mut generator: Box<dyn WorldGenerator>,
    world: World,
    folder: &Path,
) -> Result<Vec<PathBuf>, BuildError> {
    let (mut resolve, world) = resolved(world);
    let mut files = Files::default();
    generator
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| BuildError::Component(format!("generating bindings: {error:#}")))?;
    let mut paths = Vec::new();
    for (name, content) in files.iter() {
        let path = folder.join(name);
        let parent = path.parent().expect("it is below the folder");
        fs::create_dir_all(parent).map_err(BuildError::io("making the folder", parent))?;
        // What is the same stays as old as it is, for tools that compile by time.
        if fs::read(&path).ok().as_deref() != Some(content) {
            fs::write(&path, content).map_err(BuildError::io("writing", &path))?;
        }
        paths.push(path);
    }
    Ok(paths)
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
    let files = generate(options.build(), world, folder)?;
    let is_code = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "c" || extension == "o")
    };
    Ok(files.into_iter().filter(is_code).collect())
}

/// Bindings for Go below `folder`, whose packages lie in that of this name.
pub(super) fn go(world: World, folder: &Path, package: &str) -> Result<Vec<PathBuf>, BuildError> {
    let options = wit_bindgen_go::Opts {
        // They are for the compiler only; and what gofmt made would be written anew each time.
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(package.to_owned()),
        ..Default::default()
    };
    generate(options.build(), world, folder)
}

/// A module that says of which world it is.
pub(super) fn with_world(module: &[u8], world: World) -> Result<Vec<u8>, BuildError> {
    let (resolve, world) = resolved(world);
    embedded(module, &resolve, world)
}
