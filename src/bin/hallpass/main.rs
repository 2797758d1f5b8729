//! What does an operator do about a deployed Hallpass, from a machine of their own?
//!
//! AWS is asked with the operator's own credentials, found as every AWS tool finds them.
#![cfg_attr(test, expect(clippy::arithmetic_side_effects, reason = "tests count small numbers"))]

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};

use self::failure::Failure;

mod failure;
mod key;
mod stack;

/// Looks after a deployed Hallpass.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 all is well, 1 it failed, 2 wrong usage, 3 there are problems to mend")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The broker key, with which Hallpass asks for sessions
    #[command(subcommand)]
    Key(key::Command),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command::Key(command) = Arguments::parse().command;
    match command.run(now()).await {
        Ok(code) => code,
        Err(failure) => {
            // Who has closed standard error still gets the exit code.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Writes lines to standard output, at once.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|_| Failure("cannot write to standard output".into()))
}

#[expect(clippy::disallowed_methods, reason = "main reads the clock, and passes it on")]
fn now() -> SystemTime {
    SystemTime::now()
}
