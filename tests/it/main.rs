//! The function as its clients, its operators and its upstreams see it: the real binary between a Lambda Runtime API
//! and services of our own, all on loopback.

#![expect(
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "tests read the clock, count small numbers, and are no library"
)]

#[cfg(test)]
mod audit;
#[cfg(test)]
mod broker_key;
#[cfg(test)]
mod canaries;
#[cfg(test)]
mod console;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod events;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod names;
#[cfg(test)]
mod order;
#[cfg(test)]
mod pin;
#[cfg(test)]
mod portal;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod rotator;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod single_use;
#[cfg(test)]
mod start;
#[cfg(test)]
mod step_up;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod templates;
#[cfg(test)]
mod tokens;
