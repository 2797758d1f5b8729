//! In which order do keys stand?

/// What is known of a map by its place in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The document itself.
    Document,
    /// Its policy.
    Policy,
    /// The statements of its policy, or the only one.
    Statements,
    /// Its `require`.
    Require,
    /// Anything else.
    Other,
}

impl Place {
    /// The place of what stands at `key` here.
    pub(super) fn at(self, key: &str) -> Self {
        match (self, key) {
            (Self::Document, "policy") => Self::Policy,
            (Self::Document, "require") => Self::Require,
            (Self::Policy, "Statement") => Self::Statements,
            _ => Self::Other,
        }
    }

    /// The place of what stands in a list here.
    pub(super) fn inside(self) -> Self {
        if self == Self::Statements { self } else { Self::Other }
    }

    /// Whether a map here has a line for each key, however short it is.
    pub(super) fn is_block(self) -> bool {
        matches!(self, Self::Document | Self::Policy | Self::Statements)
    }

    /// By this, keys are sorted.
    pub(super) fn rank(self, key: &str) -> (usize, &str) {
        let known: &[&str] = match self {
            Self::Document => &[
                "grant",
                "description",
                "principals",
                "enabled",
                "not_before",
                "not_after",
                "duration",
                "max_duration",
                "require",
                "pin_source_ip",
                "allow_iam",
                "tags",
                "policy_arns",
                "policy",
            ],
            Self::Policy => &["Version", "Id", "Statement"],
            Self::Statements => &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"],
            Self::Require => &["acr", "amr", "max_age", "claims"],
            Self::Other => &[],
        };
        (known.iter().position(|name| *name == key).unwrap_or(known.len()), key)
    }
}
