//! What does a person, or a program, get from the command line?
#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

mod commands;
mod credentials;
mod faults;
mod login;
mod stand_in;
