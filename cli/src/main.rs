//! What do people do about Hallpass, from a machine of their own?
#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "tests count small numbers"))]

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::Failure;

mod failure;
#[cfg(feature = "operator")]
mod operator;

/// Operate a deployed Hallpass.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 problems were found")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show and rotate the broker key, with which Hallpass asks STS for sessions
    #[cfg(feature = "operator")]
    #[command(subcommand)]
    Key(operator::key::Command),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(code) => code,
        Err(failure) => {
            // A caller that has closed standard error still gets the exit code.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg_attr(not(feature = "operator"), expect(clippy::unused_async, reason = "only operators' commands wait"))]
async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        #[cfg(feature = "operator")]
        Command::Key(command) => command.run(now()).await,
    }
}

/// Writes lines to standard output, at once.
#[cfg(feature = "operator")]
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|_| Failure("cannot write to standard output".into()))
}

#[cfg(feature = "operator")]
#[expect(clippy::disallowed_methods, reason = "main reads the clock, and passes it on")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
