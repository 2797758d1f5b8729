//! How do credentials become a sign-in to AWS's console?
//!
//! AWS's sign-in host trades them for a token, and the token is part of an address that opens the console. The function
//! does this for web pages, the command line for itself.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_enable-console-custom-url.html>

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::net::url::is_private;
use crate::read::json;

/// Where a partition's people sign in, and where its console is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    sign_in: &'static str,
    console: &'static str,
}

const AWS: Partition = Partition { sign_in: "signin.aws.amazon.com", console: "console.aws.amazon.com" };
const GOV: Partition = Partition { sign_in: "signin.amazonaws-us-gov.com", console: "console.amazonaws-us-gov.com" };
const CHINA: Partition = Partition { sign_in: "signin.amazonaws.cn", console: "console.amazonaws.cn" };
const EUROPE: Partition = Partition { sign_in: "signin.amazonaws-eusc.eu", console: "console.amazonaws-eusc.eu" };

impl Partition {
    /// The partition that an ARN names second. The isolated ones have no public sign-in host.
    #[must_use]
    pub fn of_arn(arn: &str) -> Option<Self> {
        match arn.strip_prefix("arn:")?.split(':').next()? {
            "aws" => Some(AWS),
            "aws-us-gov" => Some(GOV),
            "aws-cn" => Some(CHINA),
            "aws-eusc" => Some(EUROPE),
            _ => None,
        }
    }

    /// The partition of a region.
    #[must_use]
    pub fn of_region(region: &str) -> Option<Self> {
        let begins_with = |prefix: &str| region.starts_with(prefix);
        if begins_with("cn-") {
            Some(CHINA)
        } else if begins_with("us-gov-") {
            Some(GOV)
        } else if begins_with("eusc-") {
            Some(EUROPE)
        } else if begins_with("us-iso") || begins_with("eu-iso") {
            None
        } else {
            Some(AWS)
        }
    }

    /// The host of its console.
    #[must_use]
    pub const fn console(self) -> &'static str {
        self.console
    }

    /// The address of a service's console, in a region or in the one that people chose last. `console` is the home.
    #[must_use]
    pub fn service(self, service: &str, region: Option<&str>) -> String {
        let region = region.map_or_else(String::new, |region| format!("?region={region}"));
        format!("https://{}/{service}/home{region}", self.console)
    }

    /// A page of this partition's console, if the text is the URL of one.
    #[must_use]
    pub fn page(self, text: &str) -> Option<Url> {
        let is_console = |host: &str| {
            host == self.console || host.strip_suffix(self.console).is_some_and(|rest| rest.ends_with('.'))
        };
        let page = Url::parse(text).ok()?;
        let anonymous = page.username().is_empty() && page.password().is_none();
        let is_page = page.scheme() == "https" && page.port().is_none() && anonymous;
        (is_page && page.host_str().is_some_and(is_console)).then_some(page)
    }
}

/// The console of a partition, and the host where one signs in to it.
// INVARIANT: nobody on the way can read what is sent to `federation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    partition: Partition,
    federation: Url,
}

/// What is to replace a sign-in host, and must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an https URL, or one of this machine")]
pub struct NotPrivate;

impl Console {
    /// The console of a partition, with its sign-in host or with what stands in for that in tests.
    ///
    /// # Errors
    /// [`NotPrivate`] if others could read what is sent to the stand-in.
    pub fn new(partition: Partition, stand_in: Option<&str>) -> Result<Self, NotPrivate> {
        let host = stand_in.map_or_else(|| format!("https://{}", partition.sign_in), str::to_owned);
        let federation = Url::parse(&format!("{}/federation", host.trim_end_matches('/'))).map_err(|_| NotPrivate)?;
        let bare = federation.username().is_empty() && federation.password().is_none();
        let bare = bare && federation.query().is_none() && federation.fragment().is_none();
        if is_private(&federation) && bare { Ok(Self { partition, federation }) } else { Err(NotPrivate) }
    }

    /// Where credentials are traded.
    #[must_use]
    pub const fn federation(&self) -> &Url {
        &self.federation
    }

    /// The page to open: the one that is asked for, or else the home. `None` if it is not one of this console.
    #[must_use]
    pub fn page(&self, asked: Option<&str>) -> Option<Url> {
        let home = || self.partition.service("console", None);
        self.partition.page(&asked.map_or_else(home, str::to_owned))
    }

    /// The address that opens `page`. AWS sends people to `issuer` when the session ends.
    #[must_use]
    pub fn address(&self, issuer: &str, page: &Url, token: &SignInToken) -> SecretString {
        let mut address = self.federation.clone();
        address
            .query_pairs_mut()
            .append_pair("Action", "login")
            .append_pair("Issuer", issuer)
            .append_pair("Destination", page.as_str())
            .append_pair("SigninToken", exposed(&token.0));
        String::from(address).into()
    }
}

/// The form with which credentials are traded. It is sent by POST, so that no log of addresses has them. AWS refuses
/// `SessionDuration` with credentials like these.
#[must_use]
pub fn question(access_key_id: &str, secret_access_key: &SecretString, session_token: &SecretString) -> SecretString {
    #[derive(Serialize)]
    struct Session<'a> {
        #[serde(rename = "sessionId")]
        id: &'a str,
        #[serde(rename = "sessionKey")]
        key: &'a str,
        #[serde(rename = "sessionToken")]
        token: &'a str,
    }
    let session = Session { id: access_key_id, key: exposed(secret_access_key), token: exposed(session_token) };
    // Texts can always be written.
    let session = serde_json::to_string(&session).unwrap_or_default();
    let fields = [("Action", "getSigninToken"), ("Session", session.as_str())];
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into()
}

/// What a sign-in host gives for credentials. For 15 minutes, it lets in anyone who has it.
#[derive(Debug)]
pub struct SignInToken(SecretString);

impl SignInToken {
    /// Reads the host's answer.
    #[must_use]
    pub fn read(answer: &[u8]) -> Option<Self> {
        let answer = json::parse_fetched_object(answer).ok()?;
        let token = answer.get("SigninToken").and_then(Value::as_str).filter(|token| !token.is_empty())?;
        Some(Self(token.to_owned().into()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the sign-in host gets the credentials, and the address that the caller gets has the token"
)]
fn exposed(secret: &SecretString) -> &str {
    secret.expose_secret()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const PARTITIONS: [(&str, &str, &str, &str); 4] = [
        ("aws", "eu-central-1", "signin.aws.amazon.com", "console.aws.amazon.com"),
        ("aws-us-gov", "us-gov-west-1", "signin.amazonaws-us-gov.com", "console.amazonaws-us-gov.com"),
        ("aws-cn", "cn-north-1", "signin.amazonaws.cn", "console.amazonaws.cn"),
        ("aws-eusc", "eusc-de-east-1", "signin.amazonaws-eusc.eu", "console.amazonaws-eusc.eu"),
    ];

    fn form(text: &str) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn a_partition_has_its_own_hosts() {
        for (name, region, sign_in, console) in PARTITIONS {
            let partition = Partition::of_arn(&format!("arn:{name}:sts::111122223333:federated-user/carol")).unwrap();
            assert_eq!(partition, Partition { sign_in, console });
            assert_eq!(Partition::of_region(region), Some(partition));
            let console = Console::new(partition, None).unwrap();
            assert_eq!(console.federation().as_str(), format!("https://{sign_in}/federation"));
            assert_eq!(console.page(None).unwrap().as_str(), partition.service("console", None));
            assert_eq!(console.page(Some("https://evil.example.com/")), None);
        }
        for arn in
            ["arn:aws-iso:sts::1:x", "arn:aws-iso-b:sts::1:x", "arn:evil:sts::1:x", "arn:", "", "aws", "xarn:aws:"]
        {
            assert_eq!(Partition::of_arn(arn), None, "{arn}");
        }
        for region in ["us-iso-east-1", "us-isob-east-1", "us-isof-south-1", "eu-isoe-west-1"] {
            assert_eq!(Partition::of_region(region), None, "{region}");
        }
    }

    #[test]
    fn a_page_is_on_a_console_host_of_its_own_partition() {
        for (.., console) in PARTITIONS {
            let partition =
                PARTITIONS.iter().find(|known| known.3 == console).and_then(|known| Partition::of_region(known.1));
            let partition = partition.unwrap();
            for good in [
                format!("https://{console}/s3"),
                format!("https://{console}"),
                format!("https://{console}:443/"),
                format!("https://eu-west-1.{console}/x?y#z"),
                partition.service("console", None),
                partition.service("s3", Some("eu-west-1")),
            ] {
                assert_eq!(partition.page(&good), Some(Url::parse(&good).unwrap()));
                for (_, region, _, other) in PARTITIONS {
                    let others = Partition::of_region(region).unwrap();
                    assert_eq!(others.page(&good).is_some(), other == console, "{good} {region}");
                }
            }
            for bad in [
                format!("http://{console}/"),
                format!("https://{console}.evil.example.com/"),
                format!("https://evil{console}/"),
                format!("https://evil.example.com/{console}"),
                format!("https://evil.example.com#.{console}"),
                format!("https://evil.example.com\\@{console}/"),
                format!("https://a:b@{console}/"),
                format!("https://a@{console}/"),
                format!("https://{console}:8443/"),
                format!("https://{console}./"),
                format!("//{console}/"),
                format!("javascript://{console}/%0aalert(1)"),
                format!("data:text/html,{console}"),
                console.to_owned(),
                String::new(),
            ] {
                assert_eq!(partition.page(&bad), None, "{bad}");
            }
        }
        assert_eq!(AWS.service("console", None), "https://console.aws.amazon.com/console/home");
        assert_eq!(AWS.service("s3", Some("eu-west-1")), "https://console.aws.amazon.com/s3/home?region=eu-west-1");
    }

    #[test]
    fn only_this_machine_may_stand_in_for_the_sign_in_host_without_tls() {
        let at = |stand_in: &str| Console::new(AWS, Some(stand_in)).map(|console| console.federation().to_string());
        assert_eq!(at("http://127.0.0.1:1/").unwrap(), "http://127.0.0.1:1/federation");
        assert_eq!(at("http://localhost:1").unwrap(), "http://localhost:1/federation");
        assert_eq!(at("https://signin.example.com").unwrap(), "https://signin.example.com/federation");
        for bad in [
            "http://signin.example.com",
            "",
            "x",
            "https://a:b@signin.example.com",
            "https://a.example?",
            "https://a.example#x",
        ] {
            assert_eq!(at(bad), Err(NotPrivate), "{bad}");
        }
    }

    #[test]
    fn the_question_has_the_session_and_no_duration() {
        let question = question("ASIAEXAMPLE", &"a/b+c=".into(), &"t&\"t".into());
        assert!(!format!("{question:?}").contains("ASIAEXAMPLE"));
        let mut fields = form(exposed(&question));
        let session: Value = serde_json::from_str(&fields.remove("Session").unwrap()).unwrap();
        assert_eq!(session, json!({"sessionId": "ASIAEXAMPLE", "sessionKey": "a/b+c=", "sessionToken": "t&\"t"}));
        assert_eq!(fields, BTreeMap::from([("Action".to_owned(), "getSigninToken".to_owned())]));
    }

    #[test]
    fn an_answer_without_a_token_is_none() {
        assert!(SignInToken::read(br#"{"SigninToken":"x","More":1}"#).is_some());
        for bad in [
            "",
            "{}",
            "[]",
            "\"x\"",
            r#"{"SigninToken":""}"#,
            r#"{"SigninToken":7}"#,
            r#"{"signinToken":"x"}"#,
            r#"{"SigninToken":"x","SigninToken":"y"}"#,
        ] {
            assert!(SignInToken::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_address_is_encoded_once_and_not_debugged() {
        let token = SignInToken::read(br#"{"SigninToken":"a/b+c=="}"#).unwrap();
        let page = AWS.page("https://console.aws.amazon.com/s3/home?region=x&y=z").unwrap();
        let address = Console::new(AWS, None).unwrap().address("https://hallpass.example.com/", &page, &token);
        assert!(!format!("{token:?} {address:?}").contains("a/b"));
        let query = exposed(&address).strip_prefix("https://signin.aws.amazon.com/federation?").unwrap();
        let expected = [
            ("Action", "login"),
            ("Issuer", "https://hallpass.example.com/"),
            ("Destination", page.as_str()),
            ("SigninToken", "a/b+c=="),
        ];
        assert_eq!(form(query), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    proptest! {
        #[test]
        fn no_text_leads_to_another_host(text in "(https://)?[a-z.@:/\\\\#?]{0,12}(console\\.aws\\.amazon\\.com)?[ -~]{0,12}") {
            if let Some(page) = AWS.page(&text) {
                let host = page.host_str().unwrap();
                prop_assert!(host == "console.aws.amazon.com" || host.ends_with(".console.aws.amazon.com"));
                prop_assert_eq!(page.scheme(), "https");
            }
        }
    }
}
