//! Which `${…}` is a variable of IAM?
//!
//! IAM accepts any `${…}` in a policy. One that it does not know never matches, so a Deny with it is lost without a
//! word. The rule here therefore says what a variable of IAM is, and refuses everything else: no list of other tools'
//! placeholders is ever complete. Such a list is below, only to name the tool in a message.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

use crate::session::is_tag_character;

/// The service prefixes of AWS's Service Authorization Reference (November 2026), and those of retired services that
/// AWS's managed policies still name; one a line. A variable of a newer service is refused until its prefix is added:
/// `${stage:x}` and `${vault:x}` have the same form, and only this list tells them apart.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>
const SERVICES: &str = include_str!("services.txt");

/// The condition keys of Systems Manager, but for tags. The Serverless Framework reads parameters as `${ssm:NAME}`.
const SSM_KEYS: [&str; 10] = [
    "AutoApprove",
    "DocumentCategories",
    "DocumentType",
    "InventoryTypeName",
    "Overwrite",
    "Policies",
    "Recursive",
    "SessionDocumentAccessCheck",
    "SourceInstanceARN",
    "SyncType",
];

/// Marks that mean nothing to IAM, the tool that should have replaced them, and what to write instead.
const MARKS: [(&str, &str, &str); 8] = [
    ("$${", "Terraform", "write `${`"),
    ("&{", "Terraform's `aws_iam_policy_document`", "write `${`"),
    ("#{", "serverless-pseudo-parameters", "write its value"),
    ("${{", "GitHub Actions", "write its value"),
    ("{{resolve:", "CloudFormation (dynamic references)", "write its value"),
    ("{{", "a template engine, such as Helm or Ansible", "write its value"),
    ("{%", "a template engine, such as Jinja or Ansible", "write its value"),
    ("%{", "Terraform (a template directive)", "write what it stands for"),
];

/// How placeholders of other tools begin, behind `${`.
const TOOLS: [(&str, &[&str]); 4] = [
    ("CloudFormation's `Fn::Sub`", &["!", "AWS::"]),
    ("the AWS CDK", &["Token["]),
    (
        "the Serverless Framework",
        &[
            "self:",
            "env:",
            "opt:",
            "param:",
            "custom:",
            "file(",
            "cf:",
            "cf.",
            "cf(",
            "ssm:",
            "ssm.",
            "ssm(",
            "s3:",
            "s3(",
            "sls:",
            "git:",
            "vault:",
            "doppler:",
            "terraform:",
            "strToBool(",
            "aws:accountId",
            "aws:region",
        ],
    ),
    ("Terraform", &["var.", "local.", "data.", "module.", "each.", "self.", "path.", "count.", "terraform.", "aws_"]),
];

/// Whether `name` is what stands between `${` and `}` of a variable of IAM: `prefix:Key`, with a default or not, or one
/// of `*`, `?` and `$`. IAM supports no space in it, except in the key of a tag and before a default.
pub(in crate::grants) fn is_of_iam(name: &str) -> bool {
    if ["*", "?", "$"].contains(&name) {
        return true;
    }
    let (variable, default) =
        name.split_once(',').map_or((name, None), |(variable, default)| (variable, Some(default)));
    let quoted = |default: &str| {
        default.starts_with(' ')
            && default.trim_start_matches(' ').strip_prefix('\'').is_some_and(|rest| rest.ends_with('\''))
    };
    let Some((prefix, key)) = variable.split_once(':') else { return false };
    default.is_none_or(quoted) && is_prefix(prefix) && is_key(key) && !is_of_serverless(prefix, key)
}

/// The tool that should have replaced `${name}`, if it is known, and what to write instead.
pub(in crate::grants) fn tool(name: &str) -> Option<(&'static str, &'static str)> {
    let known = |(_, starts): &&(_, &[&str])| starts.iter().any(|start| name.starts_with(start));
    let instead = if name.starts_with('!') { "leave out its `!`" } else { "write its value" };
    TOOLS.iter().find(known).map(|(tool, _)| (*tool, instead))
}

/// The first mark of another tool in `text`: what it begins, the tool, and what to write instead.
pub(in crate::grants) fn mark(text: &str) -> Option<(&str, &'static str, &'static str)> {
    let found = MARKS.iter().filter_map(|one| Some((text.find(one.0)?, one)));
    // Of two at one place, the first of the table is the longer one.
    let (at, (mark, tool, instead)) = found.min_by_key(|(at, _)| *at)?;
    let rest = text.get(at..)?;
    let closing = if mark.contains("{{") { "}}" } else { "}" };
    let whole = rest.split_once(closing).and_then(|(inner, _)| rest.get(..inner.len().saturating_add(closing.len())));
    Some((whole.unwrap_or(rest), tool, instead))
}

/// `aws`, a service, or who federates: a provider's host (`www.amazon.com`) with its path, or `saml`. Names of keys are
/// not case-sensitive.
fn is_prefix(prefix: &str) -> bool {
    let is = |name: &str| prefix.eq_ignore_ascii_case(name);
    is("aws") || is("saml") || SERVICES.lines().any(is) || is_provider(prefix)
}

fn is_provider(prefix: &str) -> bool {
    let (host, path) = prefix.split_once('/').unwrap_or((prefix, ""));
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let top = |label: &str| label.len() > 1 && label.bytes().all(|byte| byte.is_ascii_alphabetic());
    host.rsplit_once('.').is_some_and(|(rest, last)| top(last) && rest.split('.').all(label))
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte))
}

/// A name, and behind `/` or `:` perhaps what it is about, such as the key of a tag.
fn is_key(key: &str) -> bool {
    let (name, about) = key.split_once(['/', ':']).map_or((key, None), |(name, about)| (name, Some(about)));
    let about_is_legal =
        |about: &str| !about.is_empty() && about == about.trim() && about.chars().all(is_tag_character);
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && about.is_none_or(about_is_legal)
}

/// Whether it is the Serverless Framework's, under a prefix that AWS has, too: `${aws:region}`, `${s3:BUCKET/KEY}`,
/// `${ssm:NAME}`.
fn is_of_serverless(prefix: &str, key: &str) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|name| key.eq_ignore_ascii_case(name));
    let is_of_tag = key.split_once('/').is_some_and(|(name, _)| name.to_ascii_lowercase().ends_with("tag"));
    match prefix.to_ascii_lowercase().as_str() {
        "aws" => is_one_of(&["accountId", "region"]),
        "s3" => key.contains('/') && !is_of_tag,
        "ssm" => !is_of_tag && !is_one_of(&SSM_KEYS),
        _ => false,
    }
}
