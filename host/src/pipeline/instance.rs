//! Who this process is among those of its pipeline: a name that survives restarts and that no two
//! live processes share.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::Context as _;

/// Slots that processes with one state folder can have.
const SLOTS_MAX: usize = 1024;

/// A name, held until it is dropped.
#[derive(Debug)]
pub struct Instance {
    name: String,
    /// The operating system lets the lock go when the process ends, however it ends.
    _lock: File,
}

impl Instance {
    /// The name that was given, or `<hostname>-<slot>` with the first slot that no other process
    /// holds. Containers without a stable host name must be given one. The error says who else has
    /// the name.
    pub fn claim(state_dir: &Path, given: Option<&str>) -> anyhow::Result<Self> {
        let folder = state_dir.join("instances");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("making the state folder {}", folder.display()))?;
        if let Some(name) = given {
            return match lock(&folder, name)? {
                Some(lock) => Ok(Self { name: name.to_owned(), _lock: lock }),
                None => anyhow::bail!(
                    "instance {name:?} is running already with state folder {}: give each process \
                     an --instance of its own",
                    state_dir.display()
                ),
            };
        }
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        for slot in 0..SLOTS_MAX {
            let name = format!("{host}-{slot}");
            if let Some(lock) = lock(&folder, &name)? {
                return Ok(Self { name, _lock: lock });
            }
        }
        anyhow::bail!("{SLOTS_MAX} processes run with state folder {}", state_dir.display())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// None if another process holds it.
fn lock(folder: &Path, name: &str) -> anyhow::Result<Option<File>> {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    anyhow::ensure!(
        !name.is_empty() && name.chars().all(usable) && name != "." && name != "..",
        "instance name {name:?}: use letters, digits, '-', '_' and '.'"
    );
    let path = folder.join(format!("{name}.lock"));
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("opening the lock file {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_gets_the_first_free_slot() -> anyhow::Result<()> {
        let state = tempfile::tempdir()?;
        let first = Instance::claim(state.path(), None)?;
        let second = Instance::claim(state.path(), None)?;
        assert!(first.name().ends_with("-0") && second.name().ends_with("-1"));
        drop(first);
        assert!(Instance::claim(state.path(), None)?.name().ends_with("-0"));
        Ok(())
    }

    #[test]
    fn a_name_that_is_in_use_is_refused() -> anyhow::Result<()> {
        let state = tempfile::tempdir()?;
        let held = Instance::claim(state.path(), Some("blue"))?;
        let refused = Instance::claim(state.path(), Some("blue")).expect_err("it is held");
        assert!(refused.to_string().contains("--instance"), "{refused}");
        drop(held);
        Instance::claim(state.path(), Some("blue"))?;
        let refused = Instance::claim(state.path(), Some("a/b")).expect_err("no file name");
        assert!(refused.to_string().contains("letters"), "{refused}");
        Ok(())
    }
}
