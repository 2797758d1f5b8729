//! Which rule does a problem break?
//!
//! The ids are a promise: reports, and comments that silence a warning, name them.

use std::fmt;

/// Whether something can be used in spite of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It works, and is probably not what its author wants.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! rules {
    ($($variant:ident = $id:literal, $severity:ident, $about:literal;)+) => {
        /// A rule for what somebody writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $about] $variant,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The id, in lower case with hyphens.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// What breaking it means.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// What it demands, as a sentence without a period.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }
        }
    };
}

rules! {
    Syntax = "syntax", Error, "A document is well-formed and has one meaning";
    Type = "type", Error, "A value has the type that its place demands";
    Missing = "missing", Error, "What is required is there";
    UnknownMember = "unknown-member", Error, "There are no members but the documented ones";
    Value = "value", Error, "A value is one of those that its place allows";
    TooLarge = "too-large", Error, "Nothing is larger than AWS or this product can take";
    Duplicate = "duplicate", Error, "Nothing is defined twice";
    NoEffect = "no-effect", Error, "No setting is without effect for lack of another one";
    Url = "url", Error, "URLs that are fetched are https, or plain http on loopback";
    SharedIssuer = "shared-issuer", Error, "An issuer that strangers share is restricted to one tenant by a claim";
    Unsupported = "unsupported", Error, "No setting is used that is reserved for a later version";
    JsonPointer = "json-pointer", Error, "Claims are named by JSON pointers (RFC 6901)";
    PolicyVersion = "policy-version", Error, "A policy has the version 2012-10-17";
    PolicyElement = "policy-element", Error, "A policy has only the elements of IAM's grammar for session policies";
    Statement = "statement", Error, "A policy has 1 to 44 statements, each with the elements that it needs";
    Effect = "effect", Error, "`Effect` is `Allow` or `Deny`";
    Action = "action", Error, "Actions are `*` or `service:Action`";
    Resource = "resource", Error, "Resources are `*` or ARNs that IAM accepts";
    ConditionOperator = "condition-operator", Error, "Condition operators are those of IAM";
    ConditionKey = "condition-key", Error, "Condition keys are named once, without templates";
    ConditionValue = "condition-value", Error, "Condition values are of the type that their operator compares";
    Template = "template", Error, "Templates are `${jwt:/pointer}`, `${session:name}` or variables of IAM, where they work";
    Placeholder = "placeholder", Error, "No placeholder of another tool is left";
    PolicyArn = "policy-arn", Error, "`policy_arns` holds ARNs of managed policies";
    Tag = "tag", Error, "Session tags are those that STS accepts";
    Duration = "duration", Error, "Durations are 900 to 129600 seconds";
    Time = "time", Error, "Times are whole seconds since the epoch";
    Requirement = "requirement", Error, "`require` asks for what a sign-in can be";
    TimedDeny = "timed-deny", Error, "No Deny ends with `not_after` or begins with `not_before`";
    IamAction = "iam-action", Error, "An Allow names `iam:` actions only with `allow_iam: true`";
    Encoding = "encoding", Error, "Files are UTF-8";
    TooDeep = "too-deep", Error, "Nothing is nested deeper than 64 levels";
    Anchor = "anchor", Error, "YAML files have no anchors";
    Alias = "alias", Error, "YAML files have no aliases";
    MergeKey = "merge-key", Error, "YAML files have no merge keys";
    YamlTag = "yaml-tag", Error, "YAML files have no tags";
    StringKey = "string-key", Error, "Keys are strings";
    YamlNumber = "number", Error, "Numbers are those that an item can hold, written as they are printed";
    Unreadable = "unreadable", Error, "Every path can be read";
    GrantName = "grant-name", Error, "The name of a grant has 1 to 64 of a-z, 0-9, `.`, `_` and `-`";
    Principal = "principal", Error, "Principals are `ISSUER/user/SUBJECT`, `ISSUER/group/GROUP` or `ISSUER/everyone`";
    UnknownIssuer = "unknown-issuer", Error, "The issuer of a principal is configured";
    PolicySize = "policy-size", Error, "What one caller can match fits into the 2,048 characters of a session policy";
    CombinedSize = "combined-size", Warning, "What a caller in several groups can match fits into a session policy, too";
    NeverCarried = "never-carried", Warning, "`require` asks for claims that tokens of the issuer can have";
    ShortSession = "short-session", Warning, "Sessions last longer than the 15 minutes before their end at which clients renew them";
    LeftPlaceholder = "left-placeholder", Warning, "No text for people and no principal looks like a placeholder of another tool";
    UnusedAllow = "unused-allow", Warning, "A comment that allows something silences a warning on the line below it";
    AllowsEverything = "allows-everything", Warning, "No statement allows everything on everything";
    AllowsIam = "allows-iam", Warning, "A wildcard allows `iam:` actions only with `allow_iam: true`";
    StsAction = "sts-action", Warning, "No statement allows `sts:` actions, which federated sessions cannot call";
    MissingKey = "missing-key", Warning, "A negated operator comes with a check that its key is there";
    Sheddable = "sheddable", Warning, "No limit can be avoided by leaving out the `groups` scope";
    UserName = "user-name", Warning, "`${aws:username}` is not used, since federated sessions do not have it";
    OpenEnd = "open-end", Warning, "No wildcard directly follows a template";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_an_id_of_its_own_and_a_sentence() {
        let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(rule.id().bytes().all(legal) && !rule.id().starts_with('-'), "{rule}");
            assert!(!rule.about().is_empty() && !rule.about().ends_with('.'), "{rule}");
        }
    }
}
