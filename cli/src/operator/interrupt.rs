//! Does somebody want the command to end?

use crate::failure::Failure;

/// Ctrl-C, and what a pipeline sends when it is cancelled. From the moment of listening they do not end the process any
/// more: the listener must.
#[derive(Debug)]
pub(crate) struct Interrupt {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Interrupt {
    /// Begins to listen.
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|_| Failure::new("cannot listen to signals"));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Begins to listen.
    #[cfg(windows)]
    pub(crate) fn listen() -> Result<Self, Failure> {
        let interrupt = tokio::signal::windows::ctrl_c().map_err(|_| Failure::new("cannot listen to Ctrl-C"))?;
        Ok(Self { interrupt })
    }

    /// Waits until somebody wants an end.
    #[cfg(unix)]
    pub(crate) async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits until somebody wants an end.
    #[cfg(windows)]
    pub(crate) async fn came(&mut self) {
        self.interrupt.recv().await;
    }
}
