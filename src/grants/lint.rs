//! What is legal in a grant, and yet unwise?
//!
//! For authors of grants: the function does not look at warnings. Errors are [`Item::read`]'s.

use serde_json::Value;

use super::item::Item;
use super::policy::{Action, Condition, Effect, Part, Scope, Statement, Template};
use crate::read::json::escaped;
use crate::read::problems::{Problem, Problems};
use crate::read::rule::Rule;

/// Whether the holder of an item can shed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A user, everyone, or a group of an issuer with `groups_required`.
    Certain,
    /// A group of an issuer without `groups_required`: a client that leaves the `groups` scope out is in none.
    OptionalGroup,
}

impl Item {
    /// What its author should think about again, each at its JSON pointer.
    #[must_use]
    pub fn warnings(&self, holder: Holder) -> Problems {
        let mut warnings = Problems::default();
        if let Some(policy) = &self.policy {
            for (index, statement) in policy.statements().iter().enumerate() {
                let at = format!("/policy{}", policy.pointer(index));
                if statement.effect == Effect::Allow {
                    self.warn_of_actions(statement, &at, &mut warnings);
                    warn_of_missing_keys(statement, &at, &mut warnings);
                }
                warn_of_templates(statement, &at, &mut warnings);
            }
        }
        if holder == Holder::OptionalGroup {
            self.warn_of_shedding(&mut warnings);
        }
        warnings
    }

    fn warn_of_actions(&self, statement: &Statement, at: &str, warnings: &mut Problems) {
        let (name, everything, iam) = match &statement.action {
            Scope::These(actions) => {
                if actions.iter().any(|action| action.is_of("sts")) {
                    let says = "allows `sts:`, of which a federated session can call only GetCallerIdentity";
                    warnings.add(&format!("{at}/Action"), Problem::new(Rule::StsAction, says));
                }
                let everything = actions.iter().any(Action::is_everything);
                ("Action", everything, everything)
            }
            Scope::AllBut(actions) => {
                ("NotAction", false, !actions.iter().any(|action| action.is_everything() || action.is_all_of("iam")))
            }
        };
        let on_everything = matches!(&statement.resource, Scope::These(resources)
            if resources.iter().any(|resource| resource.outline() == "*"));
        if everything && on_everything {
            let says = "allows everything on everything: the broker user's permissions are the only limit";
            warnings.add(at, Problem::new(Rule::AllowsEverything, says));
        }
        if iam && !self.allow_iam {
            let says = "allows `iam:` too, which works in a console session where the broker user may";
            let problem = Problem::new(Rule::AllowsIam, says).help("if that is intended, set `allow_iam: true`");
            warnings.add(&format!("{at}/{name}"), problem);
        }
    }

    fn warn_of_shedding(&self, warnings: &mut Problems) {
        let says = "does not apply if a client leaves the `groups` scope out";
        let help = "set `groups_required` for the issuer, or apply this to users or everyone";
        let denies = self.policy.as_ref().is_some_and(super::Policy::denies);
        for (place, limits) in [
            ("/policy", denies),
            ("/require", !self.require.is_empty()),
            ("/pin_source_ip", self.pin_source_ip),
            ("/enabled", !self.enabled),
        ] {
            if limits {
                warnings.add(place, Problem::new(Rule::Sheddable, says).help(help));
            }
        }
    }
}

/// An operator that says what a value is not holds where there is none.
fn warn_of_missing_keys(statement: &Statement, at: &str, warnings: &mut Problems) {
    let comparisons = statement.condition.iter().flat_map(|Condition(comparisons)| comparisons);
    for comparison in comparisons.filter(|comparison| comparison.operator.holds_without_key()) {
        for (key, operands) in &comparison.keys {
            let of_tag = key.to_ascii_lowercase().contains("tag");
            let of_claim = operands.iter().filter_map(|operand| operand.template()).any(Template::is_filled);
            if of_tag || of_claim {
                let at = format!("{at}/Condition/{}/{}", escaped(&comparison.operator.print()), escaped(key));
                let problem = Problem::new(Rule::MissingKey, "also matches when the key is missing");
                warnings.add(&at, problem.help("require the key with `Null: false`"));
            }
        }
    }
}

fn warn_of_templates(statement: &Statement, at: &str, warnings: &mut Problems) {
    let (Scope::These(resources) | Scope::AllBut(resources)) = &statement.resource;
    let name = if matches!(statement.resource, Scope::These(_)) { "Resource" } else { "NotResource" };
    let resources = resources.iter().map(|resource| (format!("{at}/{name}"), resource));
    let comparisons = statement.condition.iter().flat_map(|Condition(comparisons)| comparisons);
    let operands = comparisons.flat_map(|comparison| {
        let operator = escaped(&comparison.operator.print());
        comparison.keys.iter().flat_map(move |(key, operands)| {
            let at = format!("{at}/Condition/{operator}/{}", escaped(key));
            operands.iter().filter_map(|operand| operand.template()).map(move |template| (at.clone(), template))
        })
    });
    for (at, template) in resources.chain(operands) {
        if template.names_user() {
            let says = "contains `${aws:username}`, which a federated session does not have";
            warnings.add(&at, Problem::new(Rule::UserName, says).help("use `${session:name}`"));
        }
        if template.runs_into_wildcard() {
            let says = "has a wildcard directly after a template, so that carol reaches what is carol2's";
            warnings.add(&at, Problem::new(Rule::OpenEnd, says).help("put a `/` or another delimiter between them"));
        }
    }
}

impl Template {
    pub(super) fn is_filled(&self) -> bool {
        self.parts().iter().any(|part| matches!(part, Part::Claim(_) | Part::SessionName))
    }

    fn names_user(&self) -> bool {
        let user = |part: &Part| match part {
            Part::Variable(name) => {
                name.split(',').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("aws:username"))
            }
            Part::Text(_) | Part::Claim(_) | Part::SessionName => false,
        };
        self.parts().iter().any(user)
    }

    fn runs_into_wildcard(&self) -> bool {
        self.parts().windows(2).any(|parts| match parts {
            [Part::Claim(_) | Part::SessionName, Part::Text(behind)] => behind.starts_with(['*', '?']),
            _ => false,
        })
    }
}

/// The warnings about an item as its author wrote it.
///
/// # Errors
/// Every error, each at its JSON pointer.
pub fn check(attributes: &Value, holder: Holder) -> Result<Problems, Problems> {
    let Some(attributes) = attributes.as_object() else {
        let mut problems = Problems::default();
        problems.add("", Problem::wrong(Rule::Type, "must be an object of attributes", attributes));
        return Err(problems);
    };
    Item::read(attributes).map(|item| item.warnings(holder))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn warnings(item: &Value, holder: Holder) -> Vec<String> {
        let warnings = check(item, holder).unwrap();
        warnings.iter().map(|warning| warning.at.clone()).collect()
    }

    fn of_statement(statement: &Value) -> Vec<String> {
        let mut whole = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a/*"});
        for (name, value) in statement.as_object().unwrap() {
            whole[name] = value.clone();
        }
        if whole.get("NotAction").is_some() {
            whole.as_object_mut().unwrap().remove("Action");
        }
        warnings(&json!({"policy": {"Version": "2012-10-17", "Statement": [whole]}}), Holder::Certain)
    }

    #[test]
    fn an_ordinary_grant_has_no_warning() {
        assert_eq!(of_statement(&json!({})), Vec::<String>::new());
        assert_eq!(warnings(&json!({}), Holder::OptionalGroup), Vec::<String>::new());
        for quiet in [
            json!({"Action": "*"}),
            json!({"Effect": "Deny", "Action": "*", "Resource": "*"}),
            json!({"NotAction": ["iam:*", "s3:*"]}),
            json!({"NotAction": "*"}),
            json!({"Resource": "arn:aws:s3:::a/${jwt:/sub}/*"}),
            json!({"Condition": {"StringEquals": {"aws:PrincipalTag/team": "${jwt:/team}"}}}),
            json!({"Condition": {"StringNotEquals": {"s3:x-amz-acl": "public-read"}}}),
            json!({"Effect": "Deny", "Condition": {"StringNotEquals": {"aws:PrincipalTag/team": "a"}}}),
        ] {
            let iam = quiet == json!({"Action": "*"});
            assert_eq!(of_statement(&quiet).len(), usize::from(iam), "{quiet}");
        }
    }

    #[test]
    fn what_is_unwise_is_told_at_its_place() {
        for (statement, places) in [
            (json!({"Action": ["s3:*", "STS:AssumeRole"]}), &["/policy/Statement/0/Action"][..]),
            (json!({"Action": "*", "Resource": ["*"]}), &["/policy/Statement/0", "/policy/Statement/0/Action"]),
            (json!({"Action": ["*:*"]}), &["/policy/Statement/0/Action"]),
            (json!({"NotAction": ["s3:*", "iam:Get*"]}), &["/policy/Statement/0/NotAction"]),
            (
                json!({"Condition": {"StringNotLike": {"aws:PrincipalTag/team": "x"}}}),
                &["/policy/Statement/0/Condition/StringNotLike/aws:PrincipalTag~1team"],
            ),
            (
                json!({"Condition": {"StringEqualsIfExists": {"aws:userid": "${jwt:/sub}"}}}),
                &["/policy/Statement/0/Condition/StringEqualsIfExists/aws:userid"],
            ),
            (
                json!({"Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}}),
                &["/policy/Statement/0/Condition/ForAllValues:StringEquals/aws:TagKeys"],
            ),
            (json!({"Resource": "arn:aws:s3:::a/${aws:username}/*"}), &["/policy/Statement/0/Resource"]),
            (json!({"Resource": "arn:aws:s3:::a/${aws:UserName, 'x'}"}), &["/policy/Statement/0/Resource"]),
            (json!({"Resource": ["arn:aws:s3:::a/${jwt:/sub}*"]}), &["/policy/Statement/0/Resource"]),
            (json!({"Resource": ["arn:aws:s3:::a/${session:name}?"]}), &["/policy/Statement/0/Resource"]),
            (
                json!({"Effect": "Deny", "Condition": {"StringLike": {"s3:prefix": ["x", "${jwt:/sub}*"]}}}),
                &["/policy/Statement/0/Condition/StringLike/s3:prefix"],
            ),
        ] {
            assert_eq!(of_statement(&statement), places, "{statement}");
        }
        let one = json!({"Effect": "Allow", "Action": "sts:*", "Resource": "*"});
        let item = json!({"policy": {"Version": "2012-10-17", "Statement": one}});
        assert_eq!(warnings(&item, Holder::Certain), ["/policy/Statement/Action"]);
    }

    #[test]
    fn what_is_meant_is_not_warned_of() {
        let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::a"});
        let item = json!({"allow_iam": true, "policy": {"Version": "2012-10-17", "Statement": statement}});
        assert_eq!(warnings(&item, Holder::Certain), Vec::<String>::new());
    }

    #[test]
    fn limits_on_a_group_that_can_be_shed_are_told() {
        let deny = json!({"Effect": "Deny", "Action": "s3:*", "Resource": "*"});
        let item = json!({
            "policy": {"Version": "2012-10-17", "Statement": deny},
            "require": {"max_age": 60}, "pin_source_ip": true, "enabled": false,
        });
        assert_eq!(warnings(&item, Holder::Certain), Vec::<String>::new());
        assert_eq!(warnings(&item, Holder::OptionalGroup), ["/policy", "/require", "/pin_source_ip", "/enabled"]);
    }

    #[test]
    fn errors_come_before_warnings() {
        assert!(check(&json!([]), Holder::Certain).is_err());
        assert!(check(&json!({"colour": "red"}), Holder::Certain).is_err());
    }
}
