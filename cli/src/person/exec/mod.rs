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
use super::desk::{Desk, Person, Program, Target, Wanted, patience};
use super::env::variables;
use super::programs::Source;
use super::server::ServerUrl;
use super::session::Cached;
use super::signin::How;
use super::trouble::{Trouble, shown};
use super::variables::{CONTAINER, OTHERS, STATIC};
use super::web::Web;
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
    wanted: Wanted,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    source: Source,
    /// The audience of GitHub's token [default: the server's URL]
    #[arg(long, value_name = "AUD", requires = "github_actions")]
    audience: Option<String>,
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

/// For whom credentials are fetched.
enum Caller {
    Person(Box<Desk>, ServerUrl),
    Program(Box<Web>, ServerUrl),
}

impl Exec {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let caller = self.caller(world)?;
        let first = self.first(world, &caller).await?;
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

    fn caller(&self, world: &World) -> Result<Caller, Trouble> {
        if self.source.is_given() {
            let named = self.target.server.as_deref().or_else(|| world.variable("HALLPASS_SERVER"));
            let named =
                named.ok_or_else(|| Trouble::Usage("name the server with --server or HALLPASS_SERVER".into()))?;
            return Ok(Caller::Program(Box::new(Web::new(world)), ServerUrl::parse(named)?));
        }
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        Ok(Caller::Person(Box::new(desk), server))
    }

    async fn first(&self, world: &World, caller: &Caller) -> Result<Cached, Trouble> {
        match caller {
            Caller::Person(desk, server) => {
                let person = Person::new(desk, How::default(), self.no_login)?;
                let asked = async |session: &_| desk.credentials(session, &self.wanted, patience()).await;
                person.acting(server, &self.target, asked).await
            }
            Caller::Program(..) => self.again(world, caller).await,
        }
    }

    /// New credentials, without asking the person: the terminal is the command's.
    async fn again(&self, world: &World, caller: &Caller) -> Result<Cached, Trouble> {
        match caller {
            Caller::Person(desk, server) => {
                let session = desk.signed_in(server, &self.target)?;
                desk.credentials(&session, &self.wanted, patience()).await
            }
            Caller::Program(web, server) => {
                let program = Program { source: &self.source, audience: self.audience.as_deref() };
                Desk::credentials_of_program(world, web, server, &program, &self.wanted, patience()).await
            }
        }
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
            match self.again(world, caller).await {
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
