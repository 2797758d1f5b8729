//! What does the secret hold?
//!
//! One access key of the broker user, as DESIGN writes it down: `{"AccessKeyId","SecretAccessKey"}`. Both empty is the
//! placeholder with which the secret begins, until the rotator has made the first key.

use std::fmt;

use aws_sdk_sts::config::Credentials;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

/// Where the SDK is told that the credentials come from.
const PROVIDER: &str = "broker key";

pub struct AccessKey {
    id: String,
    secret: SecretString,
}

/// The secret's text is no access key, and not the placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is not an access key")]
pub struct NotAnAccessKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Text {
    access_key_id: String,
    secret_access_key: SecretString,
}

impl AccessKey {
    /// Both halves, as IAM gives them.
    ///
    /// # Errors
    /// [`NotAnAccessKey`] where one is empty, or has a character that no key has.
    #[expect(clippy::disallowed_methods, reason = "the secret is looked at, and stays in its wrapper")]
    pub fn new(id: String, secret: SecretString) -> Result<Self, NotAnAccessKey> {
        let legal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let both = legal(&id) && legal(secret.expose_secret());
        both.then_some(Self { id, secret }).ok_or(NotAnAccessKey)
    }

    /// Reads the secret's text; `None` is the placeholder.
    ///
    /// # Errors
    /// [`NotAnAccessKey`], without a word of the text.
    #[expect(
        clippy::disallowed_methods,
        reason = "the text is read here and nowhere else; a parse error is dropped unseen"
    )]
    pub fn parse(text: &SecretString) -> Result<Option<Self>, NotAnAccessKey> {
        let text: Text = serde_json::from_str(text.expose_secret()).map_err(|_| NotAnAccessKey)?;
        if text.access_key_id.is_empty() && text.secret_access_key.expose_secret().is_empty() {
            return Ok(None);
        }
        Self::new(text.access_key_id, text.secret_access_key).map(Some)
    }

    /// The text that the secret holds for this key.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "written for Secrets Manager, and wrapped again")]
    pub fn to_text(&self) -> SecretString {
        json!({"AccessKeyId": self.id, "SecretAccessKey": self.secret.expose_secret()}).to_string().into()
    }

    /// The half that IAM and CloudTrail know the key by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the SDK's own credentials type keeps the key from here on, redacted"
    )]
    pub(super) fn credentials(&self) -> Credentials {
        Credentials::new(self.id.as_str(), self.secret.expose_secret(), None, None, PROVIDER)
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Option<String>, NotAnAccessKey> {
        let key = AccessKey::parse(&SecretString::from(text.to_owned()))?;
        Ok(key.map(|key| key.id().to_owned()))
    }

    #[test]
    fn a_secret_is_the_two_halves_of_a_key() {
        assert_eq!(
            read(r#"{"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"not+a/real=one"}"#),
            Ok(Some("AKIAEXAMPLE".into()))
        );
    }

    #[test]
    fn the_placeholder_is_a_key_that_nobody_made_yet() {
        assert_eq!(read(r#"{"AccessKeyId":"","SecretAccessKey":""}"#), Ok(None));
    }

    #[test]
    fn any_other_secret_is_no_key() {
        for text in [
            String::new(),
            "AKIAEXAMPLE".into(),
            "{}".into(),
            json!({"AccessKeyId": "AKIAEXAMPLE"}).to_string(),
            json!({"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": null}).to_string(),
            json!({"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": ""}).to_string(),
            json!({"AccessKeyId": "", "SecretAccessKey": "x"}).to_string(),
            json!({"AccessKeyId": "AKIA EXAMPLE", "SecretAccessKey": "x"}).to_string(),
            json!({"AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "x\n"}).to_string(),
            r#"{"AccessKeyId":"a","AccessKeyId":"b","SecretAccessKey":"x"}"#.into(),
        ] {
            assert_eq!(read(&text), Err(NotAnAccessKey), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let key = AccessKey::new("AKIAEXAMPLE".into(), "not+a/real=one\"".into()).unwrap();
        let again = AccessKey::parse(&key.to_text()).unwrap().unwrap();
        assert_eq!(again.id(), "AKIAEXAMPLE");
        assert_eq!(again.credentials().secret_access_key(), "not+a/real=one\"");
    }

    #[test]
    fn neither_half_is_ever_printed() {
        let key = AccessKey::new("AKIACANARY".into(), "canary".into()).unwrap();
        let printed = format!("{key:?} {:?}", key.to_text());
        assert!(!printed.to_lowercase().contains("canary"), "{printed}");
        // The SDK's own type shows the public half.
        assert!(!format!("{:?}", key.credentials()).contains("canary"));
    }
}
