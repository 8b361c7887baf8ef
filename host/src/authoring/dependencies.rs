//! What a plugin's build needs, fetched with its language's own package manager into its folder.

use std::fs;

use super::error::BuildError;
use super::project::Project;

/// Fetches what `list`, a file of the plugin's folder, names into `folder` below it, unless that is
/// there and was fetched for the same list.
pub(super) fn ensure(
    project: &Project,
    list: &str,
    folder: &str,
    fetch: impl FnOnce() -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let path = project.dir.join(list);
    let wanted = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BuildError::Project(format!(
                "there is no {}, which names the tool that builds the plugin: `host plugin new` in \
                 another folder makes one to copy",
                path.display()
            )));
        }
        wanted => wanted.map_err(BuildError::io("reading", &path))?,
    };
    // Contents, not times: a checkout changes those, and a package manager may leave them.
    let fetched = project.scratch()?.join(list);
    if project.dir.join(folder).is_dir() && fs::read(&fetched).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    fetch()?;
    fs::write(&fetched, wanted).map_err(BuildError::io("writing", fetched))
}
