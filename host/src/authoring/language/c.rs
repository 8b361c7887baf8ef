//! C: zig, or clang with wasi-libc, on bindings that are generated here.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{File, Language};
use crate::authoring::error::BuildError;
use crate::authoring::project::Project;
use crate::authoring::tool::Tool;
use crate::authoring::{bindings, component};
use crate::plugin::World;

/// What is the same in both worlds.
const COMMON: [File; 5] = [
    ("pipeline.h", include_str!("../../../templates/c/pipeline.h")),
    ("pipeline.c", include_str!("../../../templates/c/pipeline.c")),
    ("cJSON.h", include_str!("../../../templates/c/cJSON.h")),
    ("cJSON.c", include_str!("../../../templates/c/cJSON.c")),
    (".gitignore", "/.build\n"),
];

/// Deep enough for cJSON, whatever the compiler's own default, which is 64 KiB or 16 MiB.
const STACK: &str = "-Wl,-z,stack-size=1048576";

/// How clang is asked for WebAssembly.
const CLANG: &[&str] = &["--target=wasm32-wasi"];
/// With the stack in front of the data an overflow traps; zig has it there anyway.
const CLANG_LINK: &[&str] = &["-Wl,--stack-first"];

pub(super) fn files(world: World) -> Vec<File> {
    let own: &[File] = match world {
        World::Rule => &[
            ("rule.c", include_str!("../../../templates/c/rule.c")),
            ("batch.h", include_str!("../../../templates/c/batch.h")),
            ("batch.c", include_str!("../../../templates/c/batch.c")),
        ],
        World::Transform => &[
            ("transform.c", include_str!("../../../templates/c/transform.c")),
            ("records.h", include_str!("../../../templates/c/records.h")),
            ("records.c", include_str!("../../../templates/c/records.c")),
        ],
    };
    own.iter().copied().chain(COMMON).collect()
}

pub(super) fn build(project: &Project) -> Result<Vec<u8>, BuildError> {
    let scratch = project.scratch()?;
    let generated = bindings::c(project.world, &scratch)?;
    let compiler = Compiler::found()?;
    let objects = compiler.objects(project, &scratch, &generated)?;
    let module = scratch.join("module.wasm");
    let mut linker = compiler.tool();
    linker.at(&project.dir).args(["-O2", "-mexec-model=reactor", "-Wl,--strip-all", STACK]);
    linker.args(compiler.link).args(["-o".as_ref(), module.as_os_str()]).args(objects).run()?;
    let module = fs::read(&module).map_err(BuildError::io("reading", module))?;
    component::encode_preview1(&module)
}

/// The files of a folder itself that end so, in the order of their names.
fn files_of(dir: &Path, ending: &str) -> Result<Vec<PathBuf>, BuildError> {
    let entries = fs::read_dir(dir).map_err(BuildError::io("reading", dir))?;
    let files = entries.flatten().map(|entry| PathBuf::from(entry.file_name()));
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == ending))
        .collect();
    files.sort();
    Ok(files)
}

/// When the youngest of some files was written.
fn youngest(files: impl IntoIterator<Item = PathBuf>) -> Option<SystemTime> {
    files.into_iter().filter_map(|file| fs::metadata(file).ok()?.modified().ok()).max()
}

/// A program and the arguments that make it compile for WebAssembly.
struct Compiler {
    program: PathBuf,
    args: &'static [&'static str],
    /// More of them for the linker.
    link: &'static [&'static str],
}

impl Compiler {
    /// The first that is there: that of WASI_SDK_PATH, zig, zig as pip installs it, clang.
    fn found() -> Result<Self, BuildError> {
        let answers =
            |program: &str, args: &[&str]| Tool::new(Language::C, program).args(args).answers();
        let this = |program: &str, args, link| Ok(Self { program: program.into(), args, link });
        if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
            let program = PathBuf::from(sdk).join("bin/clang");
            if !program.is_file() {
                let text =
                    format!("WASI_SDK_PATH names no wasi-sdk: {} is missing", program.display());
                return Err(BuildError::Project(text));
            }
            return Ok(Self { program, args: CLANG, link: CLANG_LINK });
        }
        if answers("zig", &["version"]) {
            return this("zig", &["cc", "-target", "wasm32-wasi"], &[]);
        }
        if answers("python3", &["-m", "ziglang", "version"]) {
            return this("python3", &["-m", "ziglang", "cc", "-target", "wasm32-wasi"], &[]);
        }
        // Many systems have a clang that lacks the linker, the library or the target.
        let makes_modules =
            ["-mexec-model=reactor", "-include", "stdlib.h", "-x", "c", "/dev/null"];
        let nowhere = ["-o", "/dev/null"];
        if answers("clang", &[CLANG, &makes_modules, &nowhere].concat()) {
            return this("clang", CLANG, CLANG_LINK);
        }
        Err(BuildError::missing("a C compiler for WebAssembly", Language::C))
    }

    fn tool(&self) -> Tool {
        let mut tool = Tool::new(Language::C, &self.program);
        tool.args(self.args);
        tool
    }

    /// Everything that is linked. What is no younger than its object is not compiled again.
    fn objects(
        &self,
        project: &Project,
        scratch: &Path,
        generated: &[PathBuf],
    ) -> Result<Vec<PathBuf>, BuildError> {
        let own = files_of(&project.dir, "c")?;
        let mut headers = Vec::new();
        for folder in [project.dir.as_path(), scratch] {
            headers.extend(files_of(folder, "h")?.into_iter().map(|file| folder.join(file)));
        }
        let headers = youngest(headers);
        let of = scratch.join("objects").join(self.program.to_string_lossy().replace('/', "_"));
        fs::create_dir_all(&of).map_err(BuildError::io("making the folder", &of))?;
        let mut objects = Vec::new();
        for source in own.iter().chain(generated) {
            if source.extension().is_some_and(|extension| extension == "o") {
                objects.push(source.clone());
                continue;
            }
            let name = source.file_name().unwrap_or_default().to_string_lossy();
            let prefix = if source.is_absolute() { "bindings-" } else { "" };
            let object = of.join(format!("{prefix}{name}.o"));
            let changed = youngest([project.dir.join(source)]).max(headers);
            if youngest([object.clone()]) <= changed {
                self.compile(project, scratch, source, &object)?;
            }
            objects.push(object);
        }
        Ok(objects)
    }

    /// Messages name the author's files as they lie in his folder.
    fn compile(
        &self,
        project: &Project,
        scratch: &Path,
        source: &Path,
        object: &Path,
    ) -> Result<(), BuildError> {
        // Warnings are the author's business in his own files only.
        let warnings: &[&str] = if source.is_absolute() { &["-w"] } else { &["-Wall", "-Wextra"] };
        let new = object.with_extension("new.o");
        self.tool()
            .at(&project.dir)
            // zig would leave asserts out.
            .args(["-std=c17", "-O2", "-UNDEBUG", "-c", "-I."])
            .args([OsString::from("-isystem"), scratch.into()])
            .args(warnings)
            .args([OsString::from("-o"), new.clone().into(), source.into()])
            .run()?;
        fs::rename(&new, object).map_err(BuildError::io("writing", object))
    }
}
