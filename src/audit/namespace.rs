//! Where in CloudWatch do the metrics go?
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>

use std::str::FromStr;

use serde::Serialize;

/// Where CloudWatch puts the metrics where nobody says another place.
const DEFAULT_NAMESPACE: &str = "Hallpass";
/// Of a namespace, by CloudWatch's `PutMetricData`.
const MAX_NAMESPACE_BYTES: usize = 255;

/// Where CloudWatch puts the metrics: two stacks of one account and region that share a namespace share their alarms.
// INVARIANT: CloudWatch takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Namespace(String);

/// What a namespace has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 of A-Z, a-z, 0-9 and `._-/#:`, and begin neither with `AWS/` nor with `:`")]
pub struct InvalidNamespace;

impl Default for Namespace {
    fn default() -> Self {
        Self(DEFAULT_NAMESPACE.to_owned())
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    // CloudWatch allows spaces too, which nobody sees at the end of a variable.
    fn from_str(text: &str) -> Result<Self, InvalidNamespace> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#:".contains(&byte);
        let reserved = text.starts_with("AWS/") || text.starts_with(':');
        if text.is_empty() || text.len() > MAX_NAMESPACE_BYTES || !text.bytes().all(legal) || reserved {
            return Err(InvalidNamespace);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_one_that_cloudwatch_takes() {
        let longest = "n".repeat(255);
        for text in ["Hallpass", "Hallpass/my-stack", "a", "a.b_c#d:e", "AWSome/x", longest.as_str()] {
            assert_eq!(text.parse(), Ok(Namespace(text.to_owned())), "{text}");
        }
        let too_long = "n".repeat(256);
        for text in
            ["", " ", "Hall pass", "Hallpass ", "Hällpass", "a\nb", "AWS/Lambda", "AWS/", ":x", too_long.as_str()]
        {
            assert_eq!(text.parse::<Namespace>(), Err(InvalidNamespace), "{text}");
        }
    }
}
