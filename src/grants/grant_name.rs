//! What may a grant be called?

/// The name of a grant: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantName(String);

impl GrantName {
    /// Takes a legal name.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let legal = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
            && name.bytes().next().is_some_and(alphanumeric);
        legal.then(|| Self(name.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for GrantName {
    fn default() -> Self {
        Self("default".into())
    }
}
