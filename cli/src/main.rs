//! What do people do about Hallpass, from a machine of their own?
#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "tests count small numbers"))]

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Command};
use self::failure::Failure;
use self::output::Outcome;

mod arguments;
mod failure;
#[cfg(feature = "files")]
mod operator;
mod output;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(outcome) => outcome.code(),
        Err(failure) => {
            output::note(&format!("error: {failure}"));
            failure.code()
        }
    }
}

async fn run(command: Command) -> Result<Outcome, Failure> {
    match command {
        #[cfg(feature = "operator")]
        Command::Key(command) => command.run(now()).await,
        #[cfg(feature = "files")]
        Command::Grants(command) => command.run(now()).await,
    }
}

#[cfg(feature = "files")]
#[expect(clippy::disallowed_methods, reason = "main reads the clock, and passes it on")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
