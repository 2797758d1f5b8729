//! The command line as people meet it: its options, its exit codes and what it prints, against services of our own.

#[cfg(test)]
mod blocks;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod key;
#[cfg(test)]
mod names;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod revoke;
#[cfg(test)]
mod whois;
