//! How do processes that run at once take turns?
//!
//! By the system's lock on a file that holds nothing and is never removed. It dies with the process that has it.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use super::super::trouble::Trouble;
use super::directory::open_private;

/// Waits for the lock, for this time at most.
pub(super) async fn acquire(path: PathBuf, limit: Duration) -> Result<File, Trouble> {
    let place = path.display().to_string();
    let failed = |error: std::io::Error| {
        let remedy = "make its directory writable, or name another place in XDG_STATE_HOME";
        Trouble::failed(format!("cannot lock {place}: {error}; {remedy}"))
    };
    let file = open_private(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Err(TryLockError::WouldBlock) => {}
    }
    // A thread of its own, because the system's lock knows no limit. A lock that comes too late is given up at once, and
    // the process need not wait for the thread to end.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let locked = file.lock().map(|()| file);
        let _ = sender.send(locked);
    });
    if let Ok(Ok(locked)) = tokio::time::timeout(limit, receiver).await {
        return locked.map_err(failed);
    }
    let held = format!("another hallpass holds {place} for more than {} seconds", limit.as_secs());
    Err(Trouble::Unavailable(format!("{held}; try again")))
}
