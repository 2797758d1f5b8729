//! What do people do about Hallpass, from a machine of their own?
#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "tests count small numbers"))]

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Command};
use self::failure::Failure;
use self::output::Outcome;
#[cfg(feature = "outside")]
use self::outside::world::World;

mod arguments;
mod failure;
#[cfg(feature = "files")]
mod operator;
mod output;
#[cfg(feature = "outside")]
mod outside;
mod pages;
#[cfg(feature = "person")]
mod person;

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        output::note("error: the system has no resources left");
        return ExitCode::FAILURE;
    };
    let ended = runtime.block_on(run(command));
    let code = match ended {
        Ok(outcome) => outcome.code(),
        Err(failure) => {
            output::note(&format!("error: {failure}"));
            failure.code()
        }
    };
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    code
}

async fn run(command: Command) -> Result<Outcome, Failure> {
    match command {
        #[cfg(feature = "operator")]
        Command::Key(command) => command.run(now()).await,
        #[cfg(feature = "operator")]
        Command::Block(command) => command.run(now()).await,
        #[cfg(feature = "operator")]
        Command::Unblock(command) => command.run().await,
        #[cfg(feature = "operator")]
        Command::Revoke(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "operator")]
        Command::Names(command) => command.run(now()).await,
        #[cfg(feature = "operator")]
        Command::Whois(command) => command.run(now()).await,
        #[cfg(feature = "operator")]
        Command::Probe(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Login(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Logout(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Status(command) => command.run(&World::here(now)),
        #[cfg(feature = "person")]
        Command::List(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Credentials(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Exec(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Env(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Console(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Configure(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Doctor(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "person")]
        Command::Renew(command) => command.run(&World::here(now)).await,
        #[cfg(feature = "files")]
        Command::Grants(command) => Box::pin(command.run(now())).await,
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

#[cfg(any(feature = "files", feature = "person"))]
#[expect(clippy::disallowed_methods, reason = "main reads the clock, and passes it on")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
