//! The names of `wit/`, and what a component's own names say about it.

/// What a rule exports.
pub(super) const RULES: &str = "pipeline:plugin/rules@0.1.0";
/// What a transform exports.
pub(super) const TRANSFORMS: &str = "pipeline:plugin/transforms@0.1.0";
/// What the host offers.
pub(super) const LOG: &str = "pipeline:plugin/log@0.1.0";
/// Types only, which come with `rules`.
const EVENTS: &str = "pipeline:plugin/events@0.1.0";
/// The version of the package that this host speaks.
pub(super) const VERSION: &str = "0.1.0";

/// `namespace:package/interface@version` in two parts; the version may be missing.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// Whether a component built for `version` runs on a host that offers `offered`: while the major
/// number is 0, the minor one must be the same. What a newer patch adds shows as an import.
pub(super) fn compatible(version: &str, offered: &str) -> bool {
    let numbers = |version: &str| -> Option<(u64, u64)> {
        let (core, pre) = version.split_once('-').map_or((version, None), |(a, b)| (a, Some(b)));
        let mut numbers = core.split('.').map(|number| number.parse().ok());
        let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let _: u64 = patch;
        (pre.is_none() && numbers.next().is_none()).then_some((major, minor))
    };
    match (numbers(version), numbers(offered)) {
        (Some((0, minor)), Some((0, other))) => minor == other,
        (Some((major, _)), Some((other, _))) => major == other,
        _ => version == offered,
    }
}

/// Whether two names mean the same interface, as far as a plugin can tell.
pub(super) fn matches(name: &str, offered: &str) -> bool {
    let ((name, version), (offered, offered_version)) = (split(name), split(offered));
    name == offered && compatible(version, offered_version)
}

/// Whether the host has something under this name of an import.
pub(super) fn granted(name: &str) -> bool {
    let (interface, version) = split(name);
    matches(name, LOG)
        || matches(name, EVENTS)
        || (super::wasi::INTERFACES.contains(&interface) && compatible(version, "0.2.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_version_does_not_matter_and_a_minor_one_does() {
        for version in ["0.1.0", "0.1.7"] {
            assert!(compatible(version, VERSION), "{version}");
        }
        for version in ["0.2.0", "1.1.0", "0.0.1", "0.1.0-draft", "", "0.1", "0.1.0.0", "0.1.x"] {
            assert!(!compatible(version, VERSION), "{version}");
        }
    }

    #[test]
    fn only_log_and_wasi_0_2_are_granted() {
        for name in [LOG, EVENTS, "wasi:io/poll@0.2.9", "wasi:cli/environment@0.2.0"] {
            assert!(granted(name), "{name}");
        }
        for name in ["wasi:http/types@0.2.0", "wasi:io/poll@0.3.0", "log", RULES, "wasi:io/poll"] {
            assert!(!granted(name), "{name}");
        }
    }

    #[test]
    fn the_names_are_those_of_the_wit() {
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_dir("../wit").expect("the WIT is well-formed");
        for name in [RULES, TRANSFORMS, LOG, EVENTS] {
            let (interface, version) = split(name);
            let interface = interface.strip_prefix("pipeline:plugin/").expect("our package");
            let id = resolve.packages[package].interfaces[interface];
            assert_eq!(resolve.id_of(id).as_deref(), Some(name));
            assert_eq!(version, VERSION);
        }
    }
}
