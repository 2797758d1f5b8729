//! How is a file read that may be anything?

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::MAX_BYTES;

/// Why a path cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A device, a socket or a pipe, which could give bytes without end, or never.
    #[error("is not a regular file")]
    NotRegular,
    /// The system says no.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a regular file, at most one byte more than [`MAX_BYTES`].
///
/// # Errors
/// [`Unreadable`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, Unreadable> {
    // Looked at before it is opened, since to open a pipe waits for its writer; and again behind that, since it could
    // have been exchanged.
    if !path.metadata()?.is_file() {
        return Err(Unreadable::NotRegular);
    }
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Unreadable::NotRegular);
    }
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
