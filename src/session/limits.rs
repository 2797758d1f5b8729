//! What does STS accept in a session?
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html>

use std::collections::BTreeMap;
use std::fmt;

/// How long a session lasts: 900 to 129,600 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionDuration(i32);

impl SessionDuration {
    /// STS's minimum, 15 minutes.
    pub(crate) const MIN: Self = Self(900);
    /// STS's maximum, 36 hours.
    pub const MAX: Self = Self(129_600);
    /// What holds where a grant says nothing: one hour.
    pub(crate) const DEFAULT: Self = Self(3_600);

    /// Takes a legal number of seconds.
    #[must_use]
    pub fn from_secs(seconds: i64) -> Option<Self> {
        i32::try_from(seconds).ok().map(Self).filter(|duration| (Self::MIN..=Self::MAX).contains(duration))
    }

    #[must_use]
    pub const fn as_secs(self) -> i32 {
        self.0
    }
}

impl fmt::Display for SessionDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session policy as STS takes it: 1 to 2,048 characters of tab, newline, carriage return and U+0020 to U+00FF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy(String);

impl SessionPolicy {
    /// STS's limit, in characters.
    pub(crate) const MAX_CHARS: usize = 2_048;

    /// Takes a legal text.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}');
        ((1..=Self::MAX_CHARS).contains(&text.chars().count()) && text.chars().all(legal)).then_some(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The partitions of AWS, which ARNs name. The SDKs know the same ones, by their regions.
/// <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>
const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-us-gov"];

/// Whether AWS has a partition of this name.
pub(crate) fn is_partition(name: &str) -> bool {
    PARTITIONS.contains(&name)
}

/// The ARN of a managed policy: `arn:PARTITION:iam::ACCOUNT:policy/NAME`, 20 to 2,048 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyArn(String);

impl PolicyArn {
    /// Takes a legal ARN.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (arn, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
        let path = resource.strip_prefix("policy/")?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let legal = arn == "arn"
            && is_partition(partition)
            && service == "iam"
            && region.is_empty()
            && (account == "aws" || (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())))
            && (1..=128).contains(&name.len())
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&byte))
            && (20..=2_048).contains(&text.len());
        legal.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The managed policies of a session: at most 10, each once, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyArns(Vec<PolicyArn>);

impl PolicyArns {
    /// STS's limit.
    pub const MAX: usize = 10;

    /// Takes ARNs, however often each is named.
    ///
    /// # Errors
    /// How many there are, where that is too many.
    pub fn new(mut arns: Vec<PolicyArn>) -> Result<Self, usize> {
        arns.sort();
        arns.dedup();
        if arns.len() <= Self::MAX { Ok(Self(arns)) } else { Err(arns.len()) }
    }

    pub fn iter(&self) -> impl Iterator<Item = &PolicyArn> {
        self.0.iter()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The session tags: at most 50, no two keys alike but for their case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionTags(BTreeMap<String, String>);

/// Why tags are none that STS takes. Holds nothing of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Not of STS's alphabet or length.
    #[error("the tag key `{0}` is not 1 to 128 letters, digits, spaces and _ . : / = + - @, or begins with `aws:`")]
    Key(String),
    /// Not of STS's alphabet or length.
    #[error("the value of the tag `{0}` is not 0 to 256 letters, digits, spaces and _ . : / = + - @")]
    Value(String),
    /// STS would take them for one.
    #[error("the tag `{0}` has two values, or two keys that differ only in case")]
    Twice(String),
    /// More than STS takes.
    #[error("there are {0} tags, and STS accepts at most 50")]
    TooMany(usize),
}

impl SessionTags {
    /// STS's limit.
    pub const MAX: usize = 50;

    /// Takes tags; one that is named twice with one value counts once.
    ///
    /// # Errors
    /// The first [`TagError`].
    pub fn new(tags: impl IntoIterator<Item = (String, String)>) -> Result<Self, TagError> {
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in tags {
            check_tag_key(&key)?;
            if value.chars().count() > 256 || !value.chars().all(is_tag_character) {
                return Err(TagError::Value(key));
            }
            let folded = key.to_lowercase();
            let alike = taken.keys().find(|other| other.to_lowercase() == folded);
            match alike.and_then(|other| Some((other, taken.get(other)?))) {
                Some((other, known)) if *other != key || *known != value => return Err(TagError::Twice(key)),
                _ => drop(taken.insert(key, value)),
            }
        }
        if taken.len() <= Self::MAX { Ok(Self(taken)) } else { Err(TagError::TooMany(taken.len())) }
    }

    /// The tags, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether STS takes `key` as the key of a session tag.
///
/// # Errors
/// [`TagError::Key`].
pub(crate) fn check_tag_key(key: &str) -> Result<(), TagError> {
    let legal = (1..=128).contains(&key.chars().count())
        && key.chars().all(is_tag_character)
        && !key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    if legal { Ok(()) } else { Err(TagError::Key(key.chars().take(128).collect())) }
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, but for some marks that Unicode counts as alphabetic: those STS itself refuses.
pub(crate) fn is_tag_character(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_sts() {
        for (seconds, legal) in
            [(899, false), (900, true), (129_600, true), (129_601, false), (-900, false), (i64::MAX, false)]
        {
            assert_eq!(SessionDuration::from_secs(seconds).is_some(), legal, "{seconds}");
        }
    }

    #[test]
    fn policies_are_measured_in_characters_of_the_alphabet_of_sts() {
        assert!(SessionPolicy::new("é".repeat(2_048)).is_some());
        assert!(SessionPolicy::new("a".repeat(2_049)).is_none());
        assert!(SessionPolicy::new(String::new()).is_none());
        assert!(SessionPolicy::new("\t\n\r \u{ff}".into()).is_some());
        assert!(SessionPolicy::new("\u{100}".into()).is_none());
        assert!(SessionPolicy::new("\u{0}".into()).is_none());
    }

    #[test]
    fn arns_are_those_of_managed_policies() {
        for good in [
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
            "arn:aws:iam::111122223333:policy/team/Reader",
            "arn:aws-us-gov:iam::aws:policy/job-function/ViewOnlyAccess",
            "arn:aws-eusc:iam::111122223333:policy/Reader",
            "arn:aws-iso-b:iam::aws:policy/ReadOnlyAccess",
        ] {
            assert_eq!(PolicyArn::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "ReadOnlyAccess",
            "arn:aws:iam::aws:role/ReadOnlyAccess",
            "arn:aws:iam::aws:policy/",
            "arn:aws:s3::aws:policy/ReadOnlyAccess",
            "arn:aws:iam:eu-west-1:aws:policy/ReadOnlyAccess",
            "arn:aws:iam::1111222233334:policy/Reader",
            "arn:azure:iam::aws:policy/ReadOnlyAccess",
            "arn:aws-foo:iam::aws:policy/ReadOnlyAccess",
            "arn:aws-:iam::aws:policy/ReadOnlyAccess",
            "arn:*:iam::aws:policy/ReadOnlyAccess",
            "arn::iam::aws:policy/ReadOnlyAccess",
            "arn:aws:iam::*:policy/Reader",
            "arn:aws:iam::aws:policy/job-function/",
            "arn:aws:iam::aws:policy/Read*",
            "arn:aws:iam::${AWS::AccountId}:policy/Reader",
            "arn:aws:iam::aws:policy/Read Only",
            "urn:aws:iam::aws:policy/ReadOnlyAccess",
        ] {
            assert!(PolicyArn::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn ten_arns_fit_and_one_named_twice_counts_once() {
        let arn = |number: usize| PolicyArn::new(&format!("arn:aws:iam::aws:policy/Policy{number}")).unwrap();
        assert!(PolicyArns::new((0..11).map(arn).collect()) == Err(11));
        assert!(PolicyArns::new((0..10).chain(0..10).map(arn).collect()).is_ok());
    }

    fn tags(tags: &[(&str, &str)]) -> Result<SessionTags, TagError> {
        SessionTags::new(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn tags_are_of_the_alphabet_and_length_of_sts() {
        for good in ["team", "Kostenstelle 7", "a:b/c=d+e-f@g.h_i", "größe", &"é".repeat(128)] {
            assert!(tags(&[(good, "")]).is_ok(), "{good}");
        }
        for bad in ["", "a*b", "a,b", "a|b", "a\nb", "aws:team", "AWS:team", &"a".repeat(129)] {
            assert_eq!(tags(&[(bad, "x")]), Err(TagError::Key(bad.chars().take(128).collect())), "{bad}");
        }
        for good in ["", "x y", &"é".repeat(256)] {
            assert!(tags(&[("team", good)]).is_ok(), "{good}");
        }
        for bad in ["a,b", "a\tb", "a\u{0}", &"a".repeat(257)] {
            assert_eq!(tags(&[("team", bad)]), Err(TagError::Value("team".into())), "{bad}");
        }
    }

    #[test]
    fn a_tag_has_one_value_and_one_spelling() {
        assert_eq!(tags(&[("a", "1"), ("a", "1")]).unwrap().iter().collect::<Vec<_>>(), [("a", "1")]);
        assert_eq!(tags(&[("a", "1"), ("a", "2")]), Err(TagError::Twice("a".into())));
        assert_eq!(tags(&[("a", "1"), ("A", "1")]), Err(TagError::Twice("A".into())));
        assert_eq!(tags(&[("É", "1"), ("é", "1")]), Err(TagError::Twice("é".into())));
    }

    #[test]
    fn fifty_tags_fit() {
        let many = |count: usize| SessionTags::new((0..count).map(|number| (format!("k{number}"), String::new())));
        assert!(many(50).is_ok());
        assert_eq!(many(51), Err(TagError::TooMany(51)));
    }
}
