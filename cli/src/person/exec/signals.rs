//! Which signals are for the command?
//!
//! All that can be passed on. A terminal sends its own to the command as well as to us: passed on, one Ctrl-C would be two,
//! and tools as Terraform take the second for "at once".

#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::io;

    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    /// Signals to this process.
    #[derive(Debug)]
    pub(in super::super) struct Signals {
        interrupt: Stream,
        quit: Stream,
        terminate: Stream,
        hangup: Stream,
        first: Stream,
        second: Stream,
    }

    impl Signals {
        pub(in super::super) fn listen() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
                first: signal(SignalKind::user_defined1())?,
                second: signal(SignalKind::user_defined2())?,
            })
        }

        /// The next one.
        pub(in super::super) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.quit.recv() => Signal::QUIT,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.hangup.recv() => Signal::HUP,
                _ = self.first.recv() => Signal::USR1,
                _ = self.second.recv() => Signal::USR2,
            }
        }
    }

    /// Sends a signal on, unless the command had it from the terminal.
    pub(in super::super) fn pass(child: Option<u32>, signal: Signal) {
        let is_terminals = signal == Signal::INT || signal == Signal::QUIT;
        if is_terminals && is_in_front() {
            return;
        }
        if let Some(child) = child.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // One that has just ended needs none.
            let _ = kill_process(child, signal);
        }
    }

    /// Whether the terminal's signals go to us, and so to the command.
    fn is_in_front() -> bool {
        let Ok(terminal) = File::open("/dev/tty") else { return false };
        rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    /// On Windows the console sends Ctrl-C to the command itself; it must not end us before it.
    #[derive(Debug)]
    pub(in super::super) struct Signals(tokio::signal::windows::CtrlC);

    impl Signals {
        pub(in super::super) fn listen() -> io::Result<Self> {
            tokio::signal::windows::ctrl_c().map(Self)
        }

        pub(in super::super) async fn next(&mut self) {
            self.0.recv().await;
        }
    }

    pub(in super::super) fn pass(_: Option<u32>, (): ()) {}
}

pub(super) use self::system::{Signals, pass};
