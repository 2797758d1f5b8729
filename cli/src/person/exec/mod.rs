//! How does a command get credentials that never end?
//!
//! It asks an endpoint on this machine, as programs in a container do, and the endpoint has new credentials before the old
//! ones expire. A long command keeps working, and no key is in its environment.

mod configuration;
mod endpoint;
mod signals;

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};

use self::configuration::Configuration;
use self::endpoint::Endpoint;
use self::signals::Signals;
use super::World;
use super::access::{Access, Caller};
use super::desk::{PATIENCE, patience};
use super::env::variables;
use super::trouble::{Trouble, shown};
use super::variables::{CONTAINER, OTHERS, STATIC};
use crate::failure::Failure;
use crate::output::{Outcome, note};

/// Between two looks at the clock. Timers stand still while a laptop sleeps, and the clock does not.
const TICK: Duration = Duration::from_secs(5);
/// The longest time between two attempts to renew.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Run a command with credentials that are renewed as long as it runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: hallpass exec --grant deploy -- terraform apply\n\nThe exit code is the command's; 127 if it is not there, 126 if it cannot be run"
)]
pub(crate) struct Exec {
    #[command(flatten)]
    access: Access,
    /// Set variables that end with the session, for programs that do not know the endpoint
    #[arg(long = "static")]
    is_static: bool,
    /// Fail instead of signing in [env: `HALLPASS_NO_LOGIN`]
    #[arg(long)]
    no_login: bool,
    /// The command, with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

impl Exec {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let caller = self.access.caller(world)?;
        let first = self.access.credentials_by_sign_in(world, &caller, self.no_login, PATIENCE).await?;
        let mut command = self.command(&OTHERS);
        if self.is_static {
            for name in CONTAINER {
                command.env_remove(name);
            }
            command.envs(variables(&first));
            return Ok(Outcome::Passed(self.pass(command, std::future::pending()).await?));
        }
        let endpoint = Endpoint::bind(first, world).await?;
        for name in STATIC.iter().chain(&CONTAINER) {
            command.env_remove(name);
        }
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.url());
        command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", endpoint.token());
        // Removed when the command has ended.
        let configuration = match &caller {
            Caller::Person(desk, _) => Configuration::copy(world, Some(&desk.store))?,
            Caller::Program(..) => Configuration::copy(world, None)?,
        };
        if let Some(configuration) = &configuration {
            command.envs(configuration.variables());
        }
        let beside = async {
            tokio::join!(endpoint.serve(), self.refill(world, &caller, &endpoint));
        };
        Ok(Outcome::Passed(Box::pin(self.pass(command, beside)).await?))
    }

    /// Keeps the endpoint's credentials fresh.
    async fn refill(&self, world: &World, caller: &Caller, endpoint: &Endpoint) {
        let mut told = String::new();
        let mut pause = TICK;
        loop {
            endpoint.tick(TICK).await;
            if endpoint.is_fresh(world.seconds()) {
                continue;
            }
            // The person is not asked: the terminal is the command's.
            match self.access.credentials(world, caller, patience()).await {
                Ok(cached) => {
                    let is_new = cached.is_fresh(world.seconds());
                    endpoint.fill(cached);
                    told.clear();
                    if is_new {
                        pause = TICK;
                    } else {
                        // The old ones serve until the server is there again.
                        tokio::time::sleep(pause).await;
                        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    }
                }
                Err(trouble) => {
                    let line = shown(&trouble.to_string());
                    if line != told {
                        note(&format!("hallpass: the command's credentials cannot be renewed: {line}"));
                        told = line;
                    }
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn command(&self, removed: &[&str]) -> Command {
        let (program, arguments) =
            self.command.split_first().map_or((None, [].as_slice()), |(program, rest)| (Some(program), rest));
        let mut command = Command::new(program.cloned().unwrap_or_default());
        command.args(arguments);
        for name in removed {
            command.env_remove(name);
        }
        command
    }

    /// Runs the command to its end, and passes signals on to it and its exit code back.
    async fn pass(&self, mut command: Command, beside: impl Future<Output = ()>) -> Result<u8, Trouble> {
        let signals =
            Signals::listen().map_err(|error| Trouble::failed(format!("cannot listen for signals: {error}")))?;
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let name = self.command.first().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                note(&format!("hallpass: {}: {error}", shown(&name)));
                return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
            }
        };
        let status = tokio::select! {
            status = ended(&mut child, signals) => status,
            () = beside => child.wait().await,
        };
        status.map(code).map_err(|error| Trouble::failed(format!("the command was lost: {error}")))
    }
}

async fn ended(child: &mut Child, mut signals: Signals) -> io::Result<ExitStatus> {
    let id = child.id();
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signals::pass(id, signal),
        }
    }
}

/// The exit code as a shell has it.
fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(signal).unwrap_or(u8::MAX).saturating_add(128);
    }
    status.code().map_or(1, |code| u8::try_from(code.rem_euclid(256)).unwrap_or(1))
}
