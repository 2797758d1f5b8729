//! Reads the parts that all of IAM's grammar has, and keeps every problem.

use serde_json::{Map, Value};

use crate::read::json::escaped;
use crate::read::problems::Problems;

pub(super) struct Reader {
    pub(super) problems: Problems,
}

impl Reader {
    pub(super) fn object<'v>(&mut self, value: &'v Value, at: &str, remedy: &str) -> Option<&'v Map<String, Value>> {
        let members = value.as_object();
        if members.is_none() {
            self.problems.add(at, remedy);
        }
        members
    }

    pub(super) fn only(&mut self, members: &Map<String, Value>, at: &str, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            let remedy = match name.as_str() {
                "Principal" | "NotPrincipal" => "belongs in resource policies; remove it",
                _ => "is not an element of IAM's grammar here; check its spelling and case",
            };
            self.problems.add(&format!("{at}/{}", escaped(name)), remedy);
        }
    }

    pub(super) fn text(&mut self, members: &Map<String, Value>, name: &str, at: &str) {
        let remedy = match members.get(name) {
            Some(Value::String(text)) if text.contains("${") => "contains a `${`, and templates do not work here",
            None | Some(Value::String(_)) => return,
            Some(_) => "must be a string",
        };
        self.problems.add(&format!("{at}/{name}"), remedy);
    }
}
