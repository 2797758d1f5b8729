//! The command line as people meet it: its options, its exit codes and what it prints, against services of our own.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "tests read the clock and count small numbers"
)]

#[cfg(test)]
mod key;
