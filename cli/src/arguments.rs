//! Which commands are there?
//!
//! The whole tree is on this page. The options of a command are in the command's own file.

use clap::{Parser, Subcommand};

#[cfg(feature = "files")]
use crate::operator;
use crate::pages;
#[cfg(feature = "person")]
use crate::person;

/// Get and manage short-lived, scoped AWS credentials with Hallpass.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 problems were found, 4 there are changes (only \
                        with --detailed-exit-code)"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[cfg_attr(
    all(feature = "operator", not(feature = "person")),
    expect(clippy::large_enum_variant, reason = "there is one of them")
)]
pub(crate) enum Command {
    /// Show and rotate the broker key, with which Hallpass asks STS for sessions
    #[cfg(feature = "operator")]
    #[command(subcommand)]
    Key(operator::key::Command),
    #[cfg(feature = "operator")]
    Block(operator::block::Block),
    #[cfg(feature = "operator")]
    Unblock(operator::block::Unblock),
    #[cfg(feature = "operator")]
    Revoke(operator::revoke::Revoke),
    /// List, register and release federated names that come from claims
    #[cfg(feature = "operator")]
    #[command(subcommand)]
    Names(operator::names::Command),
    #[cfg(feature = "operator")]
    Whois(operator::whois::Whois),
    #[cfg(feature = "operator")]
    Probe(operator::probe::Probe),
    #[cfg(feature = "person")]
    Login(person::login::Login),
    #[cfg(feature = "person")]
    Logout(person::logout::Logout),
    #[cfg(feature = "person")]
    Status(person::status::Status),
    #[cfg(feature = "person")]
    List(person::list::List),
    #[cfg(feature = "person")]
    Credentials(person::credentials::Command),
    #[cfg(feature = "person")]
    Exec(person::exec::Exec),
    #[cfg(feature = "person")]
    Env(person::env::Env),
    #[cfg(feature = "person")]
    Console(person::console::Console),
    #[cfg(feature = "person")]
    Configure(person::configure::Configure),
    #[cfg(feature = "person")]
    Doctor(person::doctor::Doctor),
    // For ourselves.
    #[cfg(feature = "person")]
    #[command(hide = true)]
    Renew(person::Renew),
    /// Check, format and apply grant files
    #[cfg(feature = "files")]
    #[command(subcommand)]
    Grants(operator::grants::Command),
    Completions(pages::Completions),
    // For makers of packages.
    #[command(hide = true)]
    Man(pages::Man),
}
