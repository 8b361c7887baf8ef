//! The one command that gets a missing tool on this machine.

use std::env::consts::{ARCH, OS};

use super::cargo::TARGET;
use super::language::Language;

/// A system's own way to get programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Brew,
    Apt,
    Dnf,
    Apk,
    Pacman,
}

/// Homebrew comes last: on Linux it stands beside the system's own.
const MANAGERS: [(&str, Manager); 5] = [
    ("apt-get", Manager::Apt),
    ("dnf", Manager::Dnf),
    ("apk", Manager::Apk),
    ("pacman", Manager::Pacman),
    ("brew", Manager::Brew),
];

/// Those of releases that are known to build plugins, where no package manager has them.
const GO: &str = "1.26.0";
const NODE: &str = "22.12.0";

/// What gets the tools that plugins in this language are built with.
pub(super) fn command(language: Language) -> String {
    command_with(language, manager(), is_root())
}

/// What gets pip where Python is there without it.
pub(super) fn pip() -> String {
    match manager() {
        // Of Debian and its kin, ensurepip is no part.
        Some(Manager::Apt) => as_root(is_root(), "apt-get install python3-pip"),
        Some(Manager::Apk) => as_root(is_root(), "apk add py3-pip"),
        Some(Manager::Pacman) => as_root(is_root(), "pacman -S python-pip"),
        _ => "python3 -m ensurepip".to_owned(),
    }
}

fn command_with(language: Language, manager: Option<Manager>, is_root: bool) -> String {
    let packages = match (language, manager) {
        // The systems' own are often without the target, and without rustup to get it.
        (Language::Rust, _) => {
            return format!("curl -sSf https://sh.rustup.rs | sh -s -- --target {TARGET}");
        }
        // Those of most releases of Debian and Ubuntu are older than what is needed.
        (Language::Go, None | Some(Manager::Apt)) => return go(is_root),
        (Language::Go, Some(Manager::Dnf)) => "golang",
        (Language::Go, _) => "go",
        (Language::JavaScript, None) => return node(is_root),
        (Language::JavaScript, Some(Manager::Brew)) => "node",
        (Language::JavaScript, Some(Manager::Dnf)) => "nodejs-npm",
        (Language::JavaScript, _) => "nodejs npm",
        (Language::Python, None) => {
            return "curl -LsSf https://astral.sh/uv/install.sh | sh && ~/.local/bin/uv python \
                    install --default"
                .to_owned();
        }
        (Language::Python, Some(Manager::Brew)) => "python",
        (Language::Python, Some(Manager::Apk)) => "python3 py3-pip",
        (Language::Python, Some(Manager::Pacman)) => "python python-pip",
        (Language::Python, _) => "python3 python3-pip",
        (Language::C, None) => return "python3 -m pip install ziglang".to_owned(),
        (Language::C, Some(Manager::Apt)) => "clang lld wasi-libc libclang-rt-dev-wasm32",
        (Language::C, _) => "zig",
    };
    match manager.expect("those without one are answered above") {
        Manager::Brew => format!("brew install {packages}"),
        Manager::Apt => as_root(is_root, &format!("apt-get install {packages}")),
        Manager::Dnf => as_root(is_root, &format!("dnf install {packages}")),
        Manager::Apk => as_root(is_root, &format!("apk add {packages}")),
        Manager::Pacman => as_root(is_root, &format!("pacman -S {packages}")),
    }
}

/// The release into a folder where every system looks for programs.
fn go(is_root: bool) -> String {
    let (system, machine) = (system(), if ARCH == "aarch64" { "arm64" } else { "amd64" });
    let sudo = as_root(is_root, "");
    format!(
        "curl -sSfL https://go.dev/dl/go{GO}.{system}-{machine}.tar.gz | {sudo}tar -C /usr/local -xz \
         && {sudo}ln -sf ../go/bin/go /usr/local/bin/go"
    )
}

fn node(is_root: bool) -> String {
    let (system, machine) = (system(), if ARCH == "aarch64" { "arm64" } else { "x64" });
    let sudo = as_root(is_root, "");
    format!(
        "curl -sSfL https://nodejs.org/dist/v{NODE}/node-v{NODE}-{system}-{machine}.tar.gz | {sudo}tar \
         -C /usr/local --strip-components 1 -xz"
    )
}

fn system() -> &'static str {
    if OS == "macos" { "darwin" } else { "linux" }
}

fn as_root(is_root: bool, command: &str) -> String {
    if is_root { command.to_owned() } else { format!("sudo {command}") }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program of that name is found by it.
pub(super) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn manager() -> Option<Manager> {
    MANAGERS.into_iter().find(|(program, _)| has(program)).map(|(_, manager)| manager)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(language: Language, manager: Option<Manager>, expected: &str) {
        assert_eq!(command_with(language, manager, false), expected);
    }

    #[test]
    fn each_system_has_its_own_command() {
        check(Language::JavaScript, Some(Manager::Apt), "sudo apt-get install nodejs npm");
        check(Language::Python, Some(Manager::Apk), "sudo apk add python3 py3-pip");
        check(Language::Go, Some(Manager::Dnf), "sudo dnf install golang");
        check(Language::Go, Some(Manager::Brew), "brew install go");
        check(Language::C, Some(Manager::Pacman), "sudo pacman -S zig");
        check(Language::C, None, "python3 -m pip install ziglang");
        let root = command_with(Language::JavaScript, Some(Manager::Apt), true);
        assert_eq!(root, "apt-get install nodejs npm");
    }

    #[test]
    fn there_is_one_command_for_every_language_everywhere() {
        let all = MANAGERS.map(|(_, manager)| Some(manager)).into_iter().chain([None]);
        for manager in all {
            for language in Language::ALL {
                let command = command_with(language, manager, false);
                assert!(!command.contains('\n') && !command.contains("  "), "{command}");
                assert!(command.split(' ').count() >= 3, "{command}");
            }
        }
    }
}
