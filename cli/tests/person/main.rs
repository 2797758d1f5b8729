//! What does a person, or a program, get from the command line?
#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

#[cfg(test)]
mod commands;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod login;
#[cfg(test)]
mod stand_in;
