//! What may a set of files be called?

use hallpass::grants::GrantName;

/// The name of a set, by the grammar of grants' names.
#[derive(Debug, Clone)]
pub(super) struct SetName(String);

impl SetName {
    /// Takes a legal name.
    pub(super) fn new(name: &str) -> Result<Self, &'static str> {
        let legal = GrantName::new(name).is_some();
        legal
            .then(|| Self(name.to_owned()))
            .ok_or("must be 1 to 64 of a-z, 0-9, `.`, `_` and `-`, and begin with a letter or digit")
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}
