//! What can an action be?

use crate::read::problems::{Problem, quoted};
use crate::read::rule::Rule;

/// `*`, or `service:Name`, the name with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::grants) struct Action(pub(in crate::grants) String);

impl Action {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let legal = text == "*"
            || text.split_once(':').is_some_and(|(service, name)| {
                let service_is_literal = service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                let name_is_pattern = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte));
                !service.is_empty() && !name.is_empty() && (service_is_literal || text == "*:*") && name_is_pattern
            });
        let must = "must be `*` or `service:Action`, the service without wildcards";
        let wrong = || Problem::new(Rule::Action, format_args!("{must}: {}", quoted(text)));
        if legal { Ok(Self(text.to_owned())) } else { Err(wrong()) }
    }

    /// Whether it names an action of this service, and not all actions.
    pub(in crate::grants) fn is_of(&self, service: &str) -> bool {
        self.0.split_once(':').is_some_and(|(named, _)| named.eq_ignore_ascii_case(service))
    }

    /// Whether it is every action of this service.
    pub(in crate::grants) fn is_all_of(&self, service: &str) -> bool {
        self.is_of(service) && self.0.split_once(':').is_some_and(|(_, name)| name == "*")
    }

    /// Whether it is every action of every service.
    pub(in crate::grants) fn is_everything(&self) -> bool {
        self.0 == "*" || self.0 == "*:*"
    }
}
