//! What do the grant files say, if they are right?

use std::path::PathBuf;

use hallpass::read::json;

use super::plan::{Desired, Wanted};
use super::table::Key;
use crate::failure::Failure;

/// Reads the files.
pub(super) fn desired(paths: &[PathBuf]) -> Result<Desired, Failure> {
    let mut desired = Desired::new();
    for path in paths {
        let mut all: Vec<PathBuf> = std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
        if all.is_empty() {
            all.push(path.clone());
        }
        for file in all {
            let bytes = std::fs::read(&file).map_err(|_| Failure::new("cannot read"))?;
            let mut document = json::parse_object(&bytes).map_err(|e| Failure::Forbidden(e.to_string()))?;
            let grant = document.remove("grant").and_then(|g| g.as_str().map(str::to_owned)).unwrap_or_default();
            let principals = document.remove("principals").unwrap_or_default();
            for principal in principals.as_array().into_iter().flatten() {
                let key = Key { principal: principal.as_str().unwrap_or_default().into(), grant: grant.clone() };
                desired.insert(key, Wanted::new(document.clone()));
            }
        }
    }
    Ok(desired)
}
