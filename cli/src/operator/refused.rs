//! What does an error of AWS mean for a command?

use aws_sdk_iam::config::http::HttpResponse;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use hallpass::net::aws::Upstream;

use crate::failure::Failure;

impl Failure {
    /// Makes a failure of a service's error: what could not be done to what, and the permissions that it takes, the
    /// service's own first. Of the error there is only its code: the text may quote what was sent.
    pub(crate) fn to<E: ProvideErrorMetadata>(
        what: impl Into<String>,
        permissions: &'static str,
    ) -> impl FnOnce(SdkError<E, HttpResponse>) -> Self {
        let what = what.into();
        move |error| {
            let error = Upstream::of(service(permissions), &error);
            let denied = matches!(&error, Upstream::Refused { code, .. } if code.starts_with("AccessDenied"));
            let remedy = if denied { format!("; you need {permissions}") } else { String::new() };
            Self::new(format!("cannot {what}: {error}{remedy}"))
        }
    }
}

fn service(permission: &str) -> &'static str {
    match permission.split(':').next() {
        Some("cloudformation") => "CloudFormation",
        Some("cloudwatch") => "CloudWatch",
        Some("dynamodb") => "DynamoDB",
        Some("iam") => "IAM",
        Some("logs") => "CloudWatch Logs",
        Some("secretsmanager") => "Secrets Manager",
        Some("sts") => "STS",
        _ => "AWS",
    }
}
