//! Would other credentials win over the endpoint's?
//!
//! Every SDK takes those of the profile `default` before those of a container. Then the command gets a copy of the
//! configuration that has everything but credentials.

use std::path::{Path, PathBuf};

use super::super::aws_files::{config_path, content, credentials_path, default_has_credentials, without_credentials};
use super::super::secret::random_text;
use super::super::store::{Store, write_private};
use super::super::trouble::Trouble;
use super::super::world::World;

/// A copy, in a directory of its own, which is removed with the value.
#[derive(Debug)]
pub(super) struct Configuration {
    directory: PathBuf,
}

impl Configuration {
    /// The copy, if one is needed.
    pub(super) fn copy(world: &World, store: Option<&Store>) -> Result<Option<Self>, Trouble> {
        let read = |path: Option<PathBuf>| {
            let failed = |error| {
                let place = path.as_deref().map_or_else(String::new, |path| path.display().to_string());
                Trouble::failed(format!("cannot read {place}: {error}"))
            };
            content(path.as_deref()).map_err(failed)
        };
        let (config, credentials) = (read(config_path(world))?, read(credentials_path(world))?);
        if !default_has_credentials(&config, true) && !default_has_credentials(&credentials, false) {
            return Ok(None);
        }
        let directory = match store {
            Some(store) => store.scratch()?,
            None => temporary()?,
        };
        let copy = Self { directory };
        let written = write_private(&copy.path("config"), &without_credentials(&config))
            .and_then(|()| write_private(&copy.path("credentials"), b""));
        written.map_err(|error| Trouble::failed(format!("cannot write to {}: {error}", copy.directory.display())))?;
        Ok(Some(copy))
    }

    pub(super) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("AWS_CONFIG_FILE", self.path("config")), ("AWS_SHARED_CREDENTIALS_FILE", self.path("credentials"))]
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.directory).join(name)
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        // There is no secret in it.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A directory for a program, which has no store.
fn temporary() -> Result<PathBuf, Trouble> {
    let name: String = random_text()?.chars().take(16).collect();
    let path = std::env::temp_dir().join(format!("hallpass-exec-{name}"));
    let failed = |error| Trouble::failed(format!("cannot make {}: {error}", path.display()));
    super::super::store::make_private(&path).map_err(failed)?;
    Ok(path)
}
