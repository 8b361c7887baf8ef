//! A file into a plugin: read whole, told what it is, compiled or taken from the cache, and
//! refused in one sentence where it cannot work.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};

use super::bindings::rule::RulePre;
use super::bindings::transform::TransformPre;
use super::engine::Engine;
use super::guest::Pre;
use super::limits::LoadLimits;
use super::state::State;
use super::{fault, log, shape, wasi, wit};

/// Why a file is no plugin: `plugins/a.wasm: …`.
#[derive(Debug, thiserror::Error)]
#[error("{plugin}: {problem}")]
pub struct LoadError {
    /// The file, as it was named.
    pub plugin: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file system says no.
    #[error("reading the file: {0}")]
    Read(std::io::Error),
    /// It was not read.
    #[error(
        "larger than the {limit} bytes that a plugin may have: make it smaller or raise [limits] wasm-file"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// It may be on its way: worth another try when it changes.
    #[error(
        "half-written: it ends before WebAssembly says so; copy it again, or write it elsewhere and move it here"
    )]
    Truncated,
    /// Something else.
    #[error("not a WebAssembly file: it must be a component built for the worlds in wit/")]
    NotWasm,
    /// Built, but not made a component.
    #[error(
        "a core module, not a component: `host plugin build` makes one of its source, or \
         `wasm-tools component new IN.wasm -o OUT.wasm` of it"
    )]
    Module,
    /// A WebAssembly binary of another kind or time.
    #[error(
        "a WebAssembly binary of a version that this host does not know: build it with current tools"
    )]
    Layer,
    /// It looks like a component and is none.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// It exports neither world.
    #[error("a component of another world: it must export {} or {}, but {}", wit::RULES, wit::TRANSFORMS, exports(.0))]
    Foreign(Vec<String>),
    /// It exports both worlds.
    #[error("both a rule and a transform: export one of {} and {}", wit::RULES, wit::TRANSFORMS)]
    Both,
    /// Built for a version of the WIT that the host does not speak.
    #[error("built for {0}, but this host speaks version {version}: build it again in a folder that `host plugin new` of this host makes, which has its wit/", version = wit::VERSION)]
    Version(String),
    /// It wants what no plugin gets.
    #[error("imports {}, which no plugin gets: only {} and inert WASI 0.2 are offered", .0.join(", "), wit::LOG)]
    Imports(Vec<String>),
    /// The right names with other types or functions behind them.
    #[error("built for another WIT than version {version}: {0}; build it again in a folder that `host plugin new` of this host makes, which has its wit/", version = wit::VERSION)]
    Shape(String),
}

fn exports(names: &[String]) -> String {
    match names {
        [] => "exports nothing".into(),
        names => format!("exports {}", names.join(", ")),
    }
}

/// What a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Judges and edits events.
    Rule,
    /// Rewrites records.
    Transform,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "rule",
            Self::Transform => "transform",
        })
    }
}

/// The SHA-256 of a file: the name of a plugin across processes. Shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 12 of its 64 digits, for logs.
    pub fn short(&self) -> String {
        format!("{self:.12}")
    }
}

impl fmt::Display for ContentHash {
    /// A precision shows so many digits only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.pad(&digits)
    }
}

/// Something that a plugin imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its full name, such as `pipeline:plugin/log@0.1.0`.
    pub name: String,
    /// Whether the host offers it: so for every import of a loaded plugin.
    pub granted: bool,
}

/// A plugin that is loaded and compiled. Clones share it.
#[derive(Clone)]
pub struct Plugin {
    pub(super) loaded: Arc<Loaded>,
}

pub(super) struct Loaded {
    pub engine: wasmtime::Engine,
    pub hash: ContentHash,
    pub world: Pre,
    pub uses_wasi: bool,
    bytes: usize,
    imports: Vec<Import>,
    compile_time: Duration,
    from_cache: bool,
}

impl Plugin {
    /// The hash of its file.
    pub fn hash(&self) -> ContentHash {
        self.loaded.hash
    }

    /// The size of its file.
    pub fn bytes(&self) -> usize {
        self.loaded.bytes
    }

    /// What it is.
    pub fn world(&self) -> World {
        match self.loaded.world {
            Pre::Rule(_) => World::Rule,
            Pre::Transform(_) => World::Transform,
        }
    }

    /// What it imports, in its own order.
    pub fn imports(&self) -> &[Import] {
        &self.loaded.imports
    }

    /// How long it took to compile it, or to find it in the cache.
    pub fn compile_time(&self) -> Duration {
        self.loaded.compile_time
    }

    /// Whether it was found compiled.
    pub fn from_cache(&self) -> bool {
        self.loaded.from_cache
    }
}

impl Engine {
    /// Loads a plugin from a file, which is read once and whole. Compiling takes from
    /// milliseconds (Rust) to seconds (languages with a runtime), on all cores.
    pub fn load(&self, path: &Path, limits: LoadLimits) -> Result<Plugin, LoadError> {
        self.load_bytes(&path.display().to_string(), &read(path, limits)?, limits)
    }

    /// The same with a file that has been read; `name` is for the error.
    pub fn load_bytes(
        &self,
        name: &str,
        bytes: &[u8],
        limits: LoadLimits,
    ) -> Result<Plugin, LoadError> {
        self.check_and_compile(bytes, limits)
            .map(|loaded| Plugin { loaded: Arc::new(loaded) })
            .map_err(|problem| LoadError { plugin: name.into(), problem })
    }

    fn check_and_compile(&self, bytes: &[u8], limits: LoadLimits) -> Result<Loaded, Problem> {
        if bytes.len() as u64 > limits.file_bytes {
            return Err(Problem::TooLarge { limit: limits.file_bytes });
        }
        check_binary(bytes)?;
        let hash = ContentHash::of(bytes);
        let start = Instant::now();
        let cached = self.cache.as_ref().and_then(|cache| cache.load(&self.wasm, &hash));
        let from_cache = cached.is_some();
        let component = match cached {
            Some(component) => component,
            None => Component::from_binary(&self.wasm, bytes)
                .map_err(|error| Problem::Invalid(fault::detail(&error)))?,
        };
        let compile_time = start.elapsed();

        let world = world(&component)?;
        let imports = imports(&component)?;
        let uses_wasi = imports.iter().any(|import| import.name.starts_with("wasi:"));
        shape::check(&component, world).map_err(Problem::Shape)?;
        let pre = link(&component, world, &imports, uses_wasi)
            .map_err(|error| Problem::Shape(fault::chain(&error)))?;
        if let (false, Some(cache)) = (from_cache, &self.cache) {
            cache.store(&hash, &component);
        }
        Ok(Loaded {
            engine: self.wasm.clone(),
            hash,
            world: pre,
            uses_wasi,
            bytes: bytes.len(),
            imports,
            compile_time,
            from_cache,
        })
    }
}

impl LoadError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(&self.problem, Problem::Read(error) if error.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Reads a plugin's file once and whole, for [`Engine::load_bytes`], which says so if it is too
/// large.
pub fn read(path: &Path, limits: LoadLimits) -> Result<Vec<u8>, LoadError> {
    let plugin = path.display().to_string();
    let mut bytes = Vec::new();
    // One more than the limit shows that there is more; the file may also grow while it is read.
    let most = limits.file_bytes.saturating_add(1);
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(LoadError { plugin, problem: Problem::Read(error) }),
    }
}

/// Tells a component from what it is often taken for, and a whole one from the beginning of one:
/// both have sections, each with its length.
fn check_binary(bytes: &[u8]) -> Result<(), Problem> {
    const MAGIC: &[u8] = b"\0asm";
    let Some(header) = bytes.first_chunk::<8>() else {
        let start = MAGIC.starts_with(bytes) || bytes.starts_with(MAGIC);
        return Err(if start { Problem::Truncated } else { Problem::NotWasm });
    };
    let mut rest = &bytes[8..];
    while let Some((_id, section)) = rest.split_first() {
        if !header.starts_with(MAGIC) {
            break;
        }
        rest = leb128(section)
            .and_then(|(length, section)| section.get(length as usize..))
            .ok_or(Problem::Truncated)?;
    }
    match header {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0] => Err(Problem::Module),
        [0, b'a', b's', b'm', ..] => Err(Problem::Layer),
        _ => Err(Problem::NotWasm),
    }
}

fn leb128(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u64;
    for (place, &byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[place + 1..]));
        }
    }
    None
}

fn world(component: &Component) -> Result<World, Problem> {
    let ty = component.component_type();
    let exports: Vec<_> = ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect();
    let has = |offered| exports.iter().any(|name| wit::matches(name, offered));
    match (has(wit::RULES), has(wit::TRANSFORMS)) {
        (true, false) => return Ok(World::Rule),
        (false, true) => return Ok(World::Transform),
        (true, true) => return Err(Problem::Both),
        (false, false) => {}
    }
    let ours = [wit::RULES, wit::TRANSFORMS].map(|name| wit::split(name).0);
    match exports.iter().find(|name| ours.contains(&wit::split(name).0)) {
        Some(name) => Err(Problem::Version(name.clone())),
        None => Err(Problem::Foreign(exports)),
    }
}

fn imports(component: &Component) -> Result<Vec<Import>, Problem> {
    let ty = component.component_type();
    let imports: Vec<_> = ty
        .imports(component.engine())
        .map(|(name, _)| Import { name: name.into(), granted: wit::granted(name) })
        .collect();
    let refused: Vec<_> =
        imports.iter().filter(|import| !import.granted).map(|import| import.name.clone()).collect();
    if refused.is_empty() { Ok(imports) } else { Err(Problem::Imports(refused)) }
}

/// Resolves the imports.
fn link(
    component: &Component,
    world: World,
    imports: &[Import],
    uses_wasi: bool,
) -> wasmtime::Result<Pre> {
    let mut linker = Linker::<State>::new(component.engine());
    if imports.iter().any(|import| wit::matches(&import.name, wit::LOG)) {
        log::add_to_linker(&mut linker)?;
    }
    if uses_wasi {
        wasi::add_to_linker(&mut linker)?;
    }
    let instance = linker.instantiate_pre(component)?;
    Ok(match world {
        World::Rule => Pre::Rule(RulePre::new(instance)?),
        World::Transform => Pre::Transform(TransformPre::new(instance)?),
    })
}
