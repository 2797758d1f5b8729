//! What did the operator set, and is all of it right?
//!
//! Variables are read through a lookup function and become a [`Config`] whose every value is legal, or the list of
//! every problem, each with its place and its remedy.

use crate::audit::{InvalidNamespace, Namespace};
use crate::credentials::console::{Console, NotPrivate, Partition};
use crate::identity::{Issuer, parse_issuers};
use crate::net::public_url::{NotPublic, PublicUrl};
use crate::net::url::quoted_url;
use crate::read::problems::{Problem, Problems, quoted};
use crate::read::rule::Rule;

const BROKER_KEY: &str = "HALLPASS_BROKER_KEY";
/// Replaces the sign-in host, for tests.
const SIGN_IN_HOST: &str = "AWS_ENDPOINT_URL_SIGNIN";
const WHAT_BROKER_KEY_IS: &str = "the name or ARN of the broker key's secret";

#[derive(Debug)]
pub struct Config {
    pub issuers: Vec<Issuer>,
    /// The table of grants, which the function only reads.
    pub table: String,
    /// The table of state: who owns a name, which token is spent.
    pub state: String,
    /// The name or ARN of the secret that holds the broker key.
    pub broker_key: String,
    /// The origins of web pages and apps that may call, as browsers and web views send them in `Origin`.
    pub allowed_origins: Vec<String>,
    /// The URL under which people know the function, if it is not the gateway's own.
    pub public_url: Option<PublicUrl>,
    /// The console of the partition in which the function runs, if it is known.
    pub console: Option<Console>,
    /// Where CloudWatch puts the metrics.
    pub metrics_namespace: Namespace,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All [`Problems`] at once.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut required = |name: &str, what: &str| required(&lookup, &mut problems, name, what);
        let issuers = required("HALLPASS_ISSUERS", "the JSON array of trusted issuers");
        let table = required("HALLPASS_TABLE", "the name of the grants table");
        let state = required("HALLPASS_STATE", "the name of the state table");
        let broker_key = required(BROKER_KEY, WHAT_BROKER_KEY_IS);
        if table.is_some() && table == state {
            let says = "is the same table as HALLPASS_TABLE; the function may write only to the state table";
            problems.add("HALLPASS_STATE", Problem::new(Rule::Duplicate, says));
        }
        let issuers = issuers.map(|text| parse_issuers(&text, &mut problems)).unwrap_or_default();
        let allowed_origins = allowed_origins(&lookup, &mut problems);
        let public_url = public_url(&lookup, &mut problems);
        let console = console(&lookup, &mut problems);
        let metrics_namespace = metrics_namespace(&lookup, &mut problems);
        match (table, state, broker_key, metrics_namespace) {
            (Some(table), Some(state), Some(broker_key), Some(metrics_namespace)) if problems.is_empty() => {
                Ok(Self { issuers, table, state, broker_key, allowed_origins, public_url, console, metrics_namespace })
            }
            _ => Err(problems),
        }
    }
}

#[derive(Debug)]
pub struct RotatorConfig {
    /// The name or ARN of the secret that holds the broker key.
    pub broker_key: String,
    /// The name of the IAM user whose key it is.
    pub broker_user: String,
    /// Where CloudWatch puts the metrics.
    pub metrics_namespace: Namespace,
}

impl RotatorConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All [`Problems`] at once.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let broker_key = required(&lookup, &mut problems, BROKER_KEY, WHAT_BROKER_KEY_IS);
        let broker_user = required(&lookup, &mut problems, "HALLPASS_BROKER_USER", "the name of the IAM user");
        match (broker_key, broker_user, metrics_namespace(&lookup, &mut problems)) {
            (Some(broker_key), Some(broker_user), Some(metrics_namespace)) => {
                Ok(Self { broker_key, broker_user, metrics_namespace })
            }
            _ => Err(problems),
        }
    }
}

fn required(
    lookup: impl Fn(&str) -> Option<String>,
    problems: &mut Problems,
    name: &str,
    what: &str,
) -> Option<String> {
    let value = lookup(name).filter(|value| !value.trim().is_empty());
    if value.is_none() {
        problems.add(name, Problem::new(Rule::Missing, "is not set").help(format_args!("set it to {what}")));
    }
    value
}

fn public_url(lookup: impl Fn(&str) -> Option<String>, problems: &mut Problems) -> Option<PublicUrl> {
    let text = lookup("HALLPASS_PUBLIC_URL").filter(|text| !text.is_empty())?;
    let wrong = |must: &NotPublic| Problem::new(Rule::Url, format_args!("{must}: {}", quoted_url(&text)));
    text.parse().inspect_err(|must| problems.add("HALLPASS_PUBLIC_URL", wrong(must))).ok()
}

/// The region is the SDKs' own variable, and they report it if it is missing.
fn console(lookup: impl Fn(&str) -> Option<String>, problems: &mut Problems) -> Option<Console> {
    let partition = Partition::of_region(&lookup("AWS_REGION").unwrap_or_default())?;
    let stand_in = lookup(SIGN_IN_HOST).filter(|text| !text.is_empty());
    let wrong = |must: &NotPrivate| {
        Problem::new(Rule::Url, format_args!("{must}: {}", quoted_url(stand_in.as_deref().unwrap_or_default())))
    };
    Console::new(partition, stand_in.as_deref()).inspect_err(|must| problems.add(SIGN_IN_HOST, wrong(must))).ok()
}

fn metrics_namespace(lookup: impl Fn(&str) -> Option<String>, problems: &mut Problems) -> Option<Namespace> {
    let Some(text) = lookup("HALLPASS_METRICS_NAMESPACE").filter(|text| !text.is_empty()) else {
        return Some(Namespace::default());
    };
    let wrong = |must: &InvalidNamespace| Problem::new(Rule::Value, format_args!("{must}: {}", quoted(&text)));
    text.parse().inspect_err(|must| problems.add("HALLPASS_METRICS_NAMESPACE", wrong(must))).ok()
}

fn allowed_origins(lookup: impl Fn(&str) -> Option<String>, problems: &mut Problems) -> Vec<String> {
    let text = lookup("HALLPASS_ALLOWED_ORIGINS").unwrap_or_default();
    let mut origins: Vec<String> = Vec::new();
    let mut written = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    while let Some(origin) = written.next() {
        // User info may hold a comma. The text before that comma looks like a host, and is not to be shown either.
        let mut rest = written.clone().take_while(|part| !part.contains("://"));
        let shown = if rest.any(|part| part.contains('@')) {
            quoted("…")
        } else {
            // Escaped, so that a control character is visible.
            quoted_url(&origin.escape_debug().to_string())
        };
        if !is_origin(origin) {
            let what = "an origin is `scheme://host` or `scheme://host:port`, in lower case, without a path, `*` or a \
                scheme's default port";
            let problem = Problem::new(Rule::Value, format_args!("has {shown}")).help(what);
            problems.add("HALLPASS_ALLOWED_ORIGINS", problem);
        } else if origins.iter().any(|other| other == origin) {
            let problem =
                Problem::new(Rule::Duplicate, format_args!("has {shown} twice")).help("name each origin once");
            problems.add("HALLPASS_ALLOWED_ORIGINS", problem);
        }
        origins.push(origin.to_owned());
    }
    origins
}

/// Whether a browser or a web view could send this text as `Origin` (RFC 6454 §6.2). The scheme may be any: apps have
/// origins such as `capacitor://localhost`. Neither `*` nor `null` is one. Origins are compared as text, so another
/// spelling of an origin would never match: upper case, or a port that browsers leave out.
fn is_origin(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-._:/[]".contains(&byte);
    let as_sent = |url: url::Url| {
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{host}{port}", url.scheme()))
    };
    text.bytes().all(legal) && url::Url::parse(text).ok().and_then(as_sent).is_some_and(|sent| sent == text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn valid() -> BTreeMap<&'static str, &'static str> {
        BTreeMap::from([
            ("HALLPASS_ISSUERS", r#"[{"id":"corp","issuer":"https://login.example.com","audiences":["hallpass"]}]"#),
            ("HALLPASS_TABLE", "grants"),
            ("HALLPASS_STATE", "state"),
            ("HALLPASS_BROKER_KEY", "broker-key"),
        ])
    }

    fn read(variables: &BTreeMap<&str, &str>) -> Result<Config, Problems> {
        Config::from_lookup(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    fn places(variables: &BTreeMap<&str, &str>) -> Vec<String> {
        let problems = read(variables).map(drop).expect_err("a wrong configuration");
        problems.iter().map(|problem| problem.at.clone()).collect()
    }

    #[test]
    fn a_valid_configuration_is_read() {
        let config = read(&valid()).unwrap();
        assert_eq!((config.table.as_str(), config.state.as_str()), ("grants", "state"));
        assert_eq!(config.broker_key, "broker-key");
        assert_eq!((config.issuers.len(), config.allowed_origins.len()), (1, 0));
    }

    #[test]
    fn what_is_required_and_missing_or_blank_is_named_all_at_once() {
        let all = ["HALLPASS_ISSUERS", "HALLPASS_TABLE", "HALLPASS_STATE", "HALLPASS_BROKER_KEY"];
        assert_eq!(places(&BTreeMap::new()), all);
        assert_eq!(places(&all.into_iter().map(|name| (name, " ")).collect()), all);
    }

    #[test]
    fn the_table_that_is_written_to_cannot_be_the_one_that_is_trusted() {
        let mut variables = valid();
        variables.insert("HALLPASS_STATE", "grants");
        assert_eq!(places(&variables), ["HALLPASS_STATE"]);
    }

    #[test]
    fn a_wrong_issuer_is_named_beside_everything_else() {
        let mut variables = valid();
        variables.remove("HALLPASS_TABLE");
        variables.insert("HALLPASS_ISSUERS", "[{}]");
        let places = places(&variables);
        assert_eq!(places.first().map(String::as_str), Some("HALLPASS_TABLE"));
        assert!(places.contains(&"HALLPASS_ISSUERS/0/id".to_owned()), "{places:?}");
    }

    #[test]
    fn metrics_go_where_the_operator_says_or_else_to_hallpass() {
        let mut variables = valid();
        assert_eq!(read(&variables).unwrap().metrics_namespace, Namespace::default());
        variables.insert("HALLPASS_METRICS_NAMESPACE", "");
        assert_eq!(read(&variables).unwrap().metrics_namespace, Namespace::default());
        variables.insert("HALLPASS_METRICS_NAMESPACE", "Hallpass/shop");
        assert_eq!(read(&variables).unwrap().metrics_namespace, "Hallpass/shop".parse().unwrap());
        variables.remove("HALLPASS_TABLE");
        for bad in [" ", "AWS/Lambda", ":Hallpass", "Hall pass"] {
            variables.insert("HALLPASS_METRICS_NAMESPACE", bad);
            assert_eq!(places(&variables), ["HALLPASS_TABLE", "HALLPASS_METRICS_NAMESPACE"], "{bad}");
        }
    }

    #[test]
    fn the_public_url_is_the_operators_or_else_the_gateways() {
        let mut variables = valid();
        for (text, url) in [
            ("", None),
            ("https://hallpass.example.com/", Some("https://hallpass.example.com")),
            ("http://127.0.0.1:3000/x", Some("http://127.0.0.1:3000/x")),
        ] {
            variables.insert("HALLPASS_PUBLIC_URL", text);
            assert_eq!(read(&variables).unwrap().public_url.as_ref().map(PublicUrl::as_str), url);
        }
        variables.remove("HALLPASS_TABLE");
        for bad in [" ", "http://hallpass.example.com", "https://Hallpass.example.com", "https://a.example?x"] {
            variables.insert("HALLPASS_PUBLIC_URL", bad);
            assert_eq!(places(&variables), ["HALLPASS_TABLE", "HALLPASS_PUBLIC_URL"], "{bad}");
        }
    }

    #[test]
    fn the_sign_in_host_is_the_one_of_the_regions_partition_unless_something_stands_in() {
        let mut variables = valid();
        let federation = |variables: &BTreeMap<&str, &str>| {
            read(variables).unwrap().console.map(|console| console.federation().to_string())
        };
        for (region, host) in [
            ("eu-central-1", Some("https://signin.aws.amazon.com/federation")),
            ("cn-north-1", Some("https://signin.amazonaws.cn/federation")),
            ("us-gov-west-1", Some("https://signin.amazonaws-us-gov.com/federation")),
            ("us-iso-east-1", None),
        ] {
            variables.insert("AWS_REGION", region);
            assert_eq!(federation(&variables).as_deref(), host);
        }
        variables.insert("AWS_REGION", "eu-central-1");
        variables.insert("AWS_ENDPOINT_URL_SIGNIN", "");
        assert_eq!(federation(&variables).as_deref(), Some("https://signin.aws.amazon.com/federation"));
        variables.insert("AWS_ENDPOINT_URL_SIGNIN", "http://127.0.0.1:4701/");
        assert_eq!(federation(&variables).as_deref(), Some("http://127.0.0.1:4701/federation"));
        variables.remove("HALLPASS_TABLE");
        for bad in [" ", "signin.example.com", "http://signin.example.com"] {
            variables.insert("AWS_ENDPOINT_URL_SIGNIN", bad);
            assert_eq!(places(&variables), ["HALLPASS_TABLE", "AWS_ENDPOINT_URL_SIGNIN"], "{bad}");
        }
    }

    #[test]
    fn the_rotator_needs_the_secret_and_the_user() {
        let valid = BTreeMap::from([("HALLPASS_BROKER_KEY", "broker-key"), ("HALLPASS_BROKER_USER", "broker")]);
        let read = |variables: &BTreeMap<&str, &str>| {
            RotatorConfig::from_lookup(|name| variables.get(name).map(|value| (*value).to_owned()))
        };
        let config = read(&valid).unwrap();
        assert_eq!((config.broker_key.as_str(), config.broker_user.as_str()), ("broker-key", "broker"));
        assert_eq!(config.metrics_namespace, Namespace::default());
        assert_eq!(read(&BTreeMap::new()).unwrap_err().len(), 2);
        for (name, bad) in
            [("HALLPASS_BROKER_KEY", " "), ("HALLPASS_BROKER_USER", ""), ("HALLPASS_METRICS_NAMESPACE", "AWS/x")]
        {
            let mut variables = valid.clone();
            variables.insert(name, bad);
            assert!(read(&variables).unwrap_err().to_string().starts_with(name));
        }
    }

    #[test]
    fn origins_are_what_browsers_and_web_views_send() {
        let mut variables = valid();
        variables.insert("HALLPASS_ALLOWED_ORIGINS", " https://a.example , http://localhost:5173 ,");
        assert_eq!(read(&variables).unwrap().allowed_origins, ["https://a.example", "http://localhost:5173"]);
        for good in [
            "https://a.example:8443",
            "http://[::1]:5173",
            "https://xn--bcher-kva.example",
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "http://tauri.localhost",
            "app://obsidian.md",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://0f8fad5b-d9cb-469f-a165-70867728950e",
            "com.example.app+web://my_app:8080",
        ] {
            variables.insert("HALLPASS_ALLOWED_ORIGINS", good);
            assert_eq!(read(&variables).unwrap().allowed_origins, [good]);
        }
    }

    #[test]
    fn an_origin_that_nobody_sends_is_quoted() {
        let mut variables = valid();
        for bad in [
            "https://*.a.example",
            "*",
            "*://a.example",
            "capacitor://*",
            "null",
            "https://a.example/",
            "https://a.example/x",
            "capacitor://localhost/",
            "capacitor://localhost/x",
            "a.example",
            "//a.example",
            "://a.example",
            "capacitor:localhost",
            "capacitor:/localhost",
            "capacitor:///localhost",
            "capacitor://",
            "file://",
            "data:text",
            "https://A.example",
            "HTTPS://a.example",
            "Capacitor://localhost",
            "capacitor://LocalHost",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:",
            "https://a.example:065",
            "capacitor://localhost:",
            "capacitor://localhost:99999",
            "https://a example",
            "capacitor://local host",
            "https://a.example https://b.example",
            "capacitor://local%68ost",
            "https://bücher.example",
            "capacitor://bücher",
            "http://127.1",
            "1app://localhost",
            "+app://localhost",
        ] {
            variables.insert("HALLPASS_ALLOWED_ORIGINS", bad);
            let problems = read(&variables).map(drop).expect_err(bad).to_string();
            assert!(problems.starts_with(&format!("HALLPASS_ALLOWED_ORIGINS has `{bad}`; ")), "{problems}");
        }
        variables.insert("HALLPASS_ALLOWED_ORIGINS", "capacitor://local\thost\u{0}");
        let problems = read(&variables).map(drop).unwrap_err().to_string();
        assert!(problems.contains(r"`capacitor://local\thost\0`"), "{problems}");
    }

    #[test]
    fn no_message_shows_what_may_be_secret_in_an_origin() {
        let mut variables = valid();
        for (bad, shown) in [
            ("https://bob@a.example", "`…@a.example`"),
            ("https://bob:hunter2@a.example", "`…@a.example`"),
            ("capacitor://bob:hunter2@localhost", "`…@localhost`"),
            ("https://a.example?key=hunter2", "`https://a.example?…`"),
            ("https://a.example#hunter2", "`https://a.example#…`"),
            ("https://bob:hun,hunter2@a.example", "`…`; "),
            ("https://bob:hunter2,hunter2,x@a.example,https://b.example", "`…`; "),
        ] {
            variables.insert("HALLPASS_ALLOWED_ORIGINS", bad);
            let problems = read(&variables).map(drop).expect_err(bad).to_string();
            assert!(problems.starts_with(&format!("HALLPASS_ALLOWED_ORIGINS has {shown}")), "{problems}");
            assert!(!problems.contains("hunter2") && !problems.contains("bob"), "{problems}");
        }
        variables.insert("HALLPASS_ALLOWED_ORIGINS", "https://A.example,https://bob@b.example");
        let problems = read(&variables).map(drop).unwrap_err().to_string();
        assert!(
            problems.contains("has `https://A.example`; ") && problems.contains("has `…@b.example`; "),
            "{problems}"
        );
    }

    #[test]
    fn an_origin_that_is_named_twice_is_quoted() {
        let mut variables = valid();
        variables.insert("HALLPASS_ALLOWED_ORIGINS", "tauri://localhost,https://a.example, tauri://localhost");
        let problems = read(&variables).map(drop).unwrap_err().to_string();
        assert_eq!(problems, "HALLPASS_ALLOWED_ORIGINS has `tauri://localhost` twice; name each origin once");
    }
}
