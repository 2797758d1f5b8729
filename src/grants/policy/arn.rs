//! Which resources does IAM accept?
//!
//! IAM refuses a whole policy for one resource, and STS would say so only when a caller asks. What is known of its rules
//! without asking it is checked here. A template may stand for a region or an account, and for what is behind them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>

use super::template::{FILLED, Template, VARIABLE};
use crate::read::problems::{Problem, quoted};
use crate::read::rule::Rule;
use crate::session::is_partition;

/// How the resource of an ARN of IAM begins, unless it is `*` or `root`: those that IAM's message lists ("IAM resource
/// path must either be "*" or start with …"), and those that the Service Authorization Reference has besides.
const OF_IAM: [&str; 15] = [
    "access-report/",
    "assumed-role/",
    "delegation-request/",
    "federated-user/",
    "group/",
    "instance-profile/",
    "mfa/",
    "oidc-provider/",
    "policy/",
    "report/",
    "role/",
    "saml-provider/",
    "server-certificate/",
    "sms-mfa/",
    "user/",
];

/// How the resource of an ARN of S3 with a region begins. Buckets and objects have none, and IAM refuses one.
const OF_S3_WITH_REGION: [&str; 6] =
    ["access-grants/", "accesspoint/", "async-request/", "job/", "storage-lens/", "storage-lens-group/"];

/// Reads `*`, or an ARN, `arn:partition:service:region:account:resource`.
///
/// # Errors
/// What is wrong, with the remedy.
pub(in crate::grants) fn resource(text: &str) -> Result<Template, Problem> {
    let template = Template::parse(text)?;
    let outline = template.outline();
    if outline == "*" {
        return Ok(template);
    }
    let parts: Vec<&str> = outline.splitn(6, ':').collect();
    let wrong = match parts.as_slice() {
        ["arn", partition, service, region, account, resource] if !resource.is_empty() => {
            mistake(partition, service, region, account, resource)
        }
        _ => Some("must be `*` or an ARN, `arn:partition:service:region:account:resource`"),
    };
    let problem = |wrong: &str| Problem::new(Rule::Resource, format_args!("{wrong}: {}", quoted(text)));
    wrong.map_or(Ok(template), |wrong| Err(problem(wrong)))
}

fn mistake(partition: &str, service: &str, region: &str, account: &str, resource: &str) -> Option<&'static str> {
    if [partition, service, region, account].iter().any(|part| part.contains(VARIABLE)) {
        return Some("contains a variable of IAM before the fifth colon, where IAM does not replace it");
    }
    let of = |part: &str, more: &[char]| {
        part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(&c))
    };
    // AWS's own managed policies have `*` for the partition; IAM refuses any other wildcard there.
    if partition != "*" && !is_partition(partition) {
        return Some("must name a partition that AWS has, such as `aws`, `aws-cn` or `aws-us-gov`, or `*` for all");
    }
    if service.is_empty() || !of(service, &['-']) {
        return Some("must name one service, in lower case; IAM does not accept a wildcard there");
    }
    if !of(region, &['-', '*', '?', FILLED]) {
        return Some("must name a region as AWS writes it, such as `eu-west-1`, with wildcards, or none");
    }
    if !of(account, &['*', '?', FILLED]) {
        return Some("must name an account by its 12 digits, with wildcards, or none");
    }
    match service {
        "iam" if !region.is_empty() => Some("must not name a region, since IAM has none"),
        "iam" if account != "aws" && !["*", "root"].contains(&resource) && !begins(resource, &OF_IAM, &[]) => {
            Some("must end in `*`, or in a resource of IAM with its type, such as `user/carol` or `role/*`")
        }
        "s3" if !region.is_empty() && !begins(resource, &OF_S3_WITH_REGION, &['*', '?']) => {
            Some("must not name a region, since a bucket and its objects have none")
        }
        _ => None,
    }
}

/// Whether `resource` begins with one of `starts`, or could when what it holds is filled in.
fn begins(resource: &str, starts: &[&str], wildcards: &[char]) -> bool {
    let open = |c: char| [FILLED, VARIABLE].contains(&c) || wildcards.contains(&c);
    let literal = resource.split(open).next().unwrap_or_default();
    let is_cut = literal.len() < resource.len();
    starts.iter().any(|start| literal.starts_with(start) || (is_cut && start.starts_with(literal)))
}
