//! What does the command find around it: variables, and the time?

use std::collections::BTreeMap;
#[cfg(feature = "person")]
use std::path::PathBuf;
use std::time::SystemTime;

use hallpass::time::seconds;

/// What only the program's start may read. Tests make their own.
#[derive(Debug, Clone)]
pub(crate) struct World {
    variables: BTreeMap<String, String>,
    clock: fn() -> SystemTime,
    /// The person's home directory.
    #[cfg(feature = "person")]
    pub(crate) home: Option<PathBuf>,
}

impl World {
    /// The world of this process. The clock is read again at each question: a sign-in takes minutes.
    pub(crate) fn here(clock: fn() -> SystemTime) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables = std::env::vars_os().filter_map(text).collect();
        Self {
            variables,
            clock,
            #[cfg(feature = "person")]
            home: std::env::home_dir().filter(|home| home.is_absolute()),
        }
    }

    /// A variable that is set, and not to nothing.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The time now.
    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Seconds since the epoch, now.
    pub(crate) fn seconds(&self) -> i64 {
        seconds(self.now())
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let clock = || SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(500_000);
        Self {
            variables: variables.iter().map(owned).collect(),
            clock,
            #[cfg(feature = "person")]
            home: Some("/home/carol".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set() {
        let world = World::of(&[("A", ""), ("B", "0")]);
        assert_eq!((world.variable("A"), world.variable("B"), world.variable("C")), (None, Some("0"), None));
    }
}
