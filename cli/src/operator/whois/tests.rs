//! Are arguments and events read strictly?
//!
//! The events have the shapes of published ones: the record of a technique in Stratus Red Team, and those of AWS's guides.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::asked::{Asked, What};
use super::event::{EventError, read};
use super::{Since, since};

const KEY: &str = "ASIAIOSFODNN7EXAMPLE";
const NAME: &str = "carol-3o2jzrlhnfnb";

/// A call of a session.
fn call() -> Value {
    json!({
        "awsRegion": "eu-central-1",
        "eventCategory": "Management",
        "eventID": "6e882b9d-2af8-4c67-b91f-aeac6a0e5e70",
        "eventName": "CreateProject",
        "eventSource": "codebuild.amazonaws.com",
        "eventTime": "2027-01-15T08:20:00Z",
        "eventType": "AwsApiCall",
        "eventVersion": "1.08",
        "recipientAccountId": "111122223333",
        "requestParameters": {"userIdentity": "a caller chose this"},
        "responseElements": null,
        "sourceIPAddress": "203.0.113.7",
        "userAgent": "aws-cli/2",
        "userIdentity": {
            "accessKeyId": KEY,
            "accountId": "111122223333",
            "arn": "arn:aws:sts::111122223333:federated-user/carol-3o2jzrlhnfnb",
            "principalId": "111122223333:carol-3o2jzrlhnfnb",
            "sessionContext": {
                "attributes": {"creationDate": "2027-01-15T08:00:01Z", "mfaAuthenticated": "false"},
                "sessionIssuer": {
                    "accountId": "111122223333",
                    "arn": "arn:aws:iam::111122223333:user/broker",
                    "principalId": "AIDACKCEVSQ6C2EXAMPLE",
                    "type": "IAMUser",
                    "userName": "broker",
                },
                "webIdFederationData": {},
            },
            "type": "FederatedUser",
        },
    })
}

/// The call that makes a session.
fn minting() -> Value {
    json!({
        "eventName": "GetFederationToken",
        "eventSource": "sts.amazonaws.com",
        "eventTime": "2027-01-15T08:00:01Z",
        "requestParameters": {"durationSeconds": 3600, "name": NAME, "policy": "{}"},
        "responseElements": {
            "credentials": {"accessKeyId": KEY, "expiration": "Jan 15, 2027, 9:00:01 AM", "sessionToken": "IQoJb3JpZ2lu"},
            "federatedUser": {
                "arn": "arn:aws:sts::111122223333:federated-user/carol-3o2jzrlhnfnb",
                "federatedUserId": "111122223333:carol-3o2jzrlhnfnb",
            },
            "packedPolicySize": 6,
        },
        "userIdentity": {
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "accountId": "111122223333",
            "arn": "arn:aws:iam::111122223333:user/broker",
            "principalId": "AIDACKCEVSQ6C2EXAMPLE",
            "type": "IAMUser",
            "userName": "broker",
        },
    })
}

fn asked(event: &Value) -> Asked {
    read(&event.to_string()).unwrap()
}

fn is_malformed(event: &Value) -> bool {
    matches!(read(&event.to_string()), Err(EventError::Malformed(_)))
}

#[test]
fn a_session_is_named_in_any_form_that_aws_shows() {
    let name = |text: &str| Asked { name: hallpass::session::FederatedName::parse(text), ..Asked::default() };
    let of_account = |text: &str| Asked { account: Some("111122223333".into()), ..name(text) };
    for (text, expected) in [
        (NAME, name(NAME)),
        ("carol@example.com", name("carol@example.com")),
        ("111122223333:carol", of_account("carol")),
        ("arn:aws:sts::111122223333:federated-user/carol", of_account("carol")),
        ("arn:aws-us-gov:sts::111122223333:federated-user/carol", of_account("carol")),
        (KEY, Asked { access_key_id: Some(KEY.into()), ..Asked::default() }),
        ("ASIA", name("ASIA")),
        ("asiaiosfodnn7example", name("asiaiosfodnn7example")),
    ] {
        assert_eq!(What::parse(text), Ok(What::Session(expected)), "{text}");
    }
    assert_eq!(What::parse("-"), Ok(What::Event));
    for text in [
        "",
        "a",
        "carol smith",
        "1111:carol",
        "111122223333:",
        "111122223333:a:b",
        "arn:aws:iam::111122223333:user/carol",
        "arn:aws:sts::111122223333:assumed-role/r/carol",
        "arn:aws:sts:us-east-1:111122223333:federated-user/carol",
        "arn:aws:sts::111122223333:federated-user/carol/x",
        "arn:AWS:sts::111122223333:federated-user/carol",
        "corp/user/carol",
        &"a".repeat(33),
    ] {
        assert!(What::parse(text).is_err(), "{text}");
    }
}

#[test]
fn since_is_a_length_or_a_time() {
    let ago = |seconds| Ok(Since::Ago(Duration::from_secs(seconds)));
    for (text, expected) in [("90m", ago(5_400)), ("36h", ago(129_600)), ("7d", ago(604_800)), ("0d", ago(0))] {
        assert_eq!(since(text), expected, "{text}");
    }
    let time = UNIX_EPOCH + Duration::from_hours(500_000);
    assert_eq!(since("2027-01-15T08:00:00Z"), Ok(Since::Time(time)));
    for text in
        ["", "d", "7", "-7d", "+7d", "7 d", "7w", "7é", "99999999999999999999d", "1e3d", "2027-01-15", "yesterday"]
    {
        assert!(since(text).is_err(), "{text}");
    }
    let now = time + Duration::from_hours(24);
    assert_eq!((Since::Ago(Duration::from_hours(24)).at(now), Since::Time(time).at(now)), (time, time));
    assert_eq!(Since::Ago(Duration::MAX).at(now), SystemTime::UNIX_EPOCH);
}

#[test]
fn a_call_of_a_session_says_which() {
    let expected = Asked {
        account: Some("111122223333".into()),
        name: hallpass::session::FederatedName::parse(NAME),
        access_key_id: Some(KEY.into()),
        is_minted: false,
        user: Some("broker".into()),
        at: Some(1_800_001_200),
        began: Some(1_800_000_001),
    };
    assert_eq!(asked(&call()), expected);
    let minted = Asked { is_minted: true, at: Some(1_800_000_001), began: None, ..expected.clone() };
    assert_eq!(asked(&minting()), minted);
    // As a sign-in to the console is published: without a key.
    let mut console = call();
    console["eventName"] = json!("ConsoleLogin");
    console["userIdentity"]
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !["accessKeyId", "sessionContext"].contains(&name.as_str()));
    assert_eq!(asked(&console), Asked { access_key_id: None, user: None, began: None, ..expected.clone() });
    // As IAM's own id comes before the name in other published records.
    let mut other = call();
    other["userIdentity"]["principalId"] = json!("AIDACKCEVSQ6C2EXAMPLE:carol-3o2jzrlhnfnb");
    assert_eq!(asked(&other), expected);
    let mut refused = minting();
    refused["errorCode"] = json!("AccessDenied");
    refused["responseElements"] = Value::Null;
    assert_eq!(asked(&refused), Asked { access_key_id: None, ..minted });
}

#[test]
fn an_event_may_be_wrapped() {
    let text = call().to_string();
    for wrapped in [
        json!({"Records": [call()]}),
        json!([call()]),
        json!({"version": "0", "detail-type": "AWS API Call via CloudTrail", "detail": call()}),
        json!({"CloudTrailEvent": text}),
        json!({"Events": [{"EventId": "1", "CloudTrailEvent": text}]}),
        json!(text),
        json!({"userIdentity": call()["userIdentity"], "eventTime": call()["eventTime"], "detail": "of the event itself"}),
    ] {
        assert_eq!(asked(&wrapped), asked(&call()), "{wrapped}");
    }
    assert_eq!(read(&format!("\n {text}\n")).unwrap(), asked(&call()));
    let deep = (0..9).fold(call(), |inner, _| json!([inner]));
    for bad in
        [json!([]), json!([call(), call()]), json!({"Records": []}), json!({"detail": 7}), json!(null), json!({}), deep]
    {
        assert!(is_malformed(&bad), "{bad}");
    }
    let twice = text.replacen('{', r#"{"userIdentity":{"type":"Root"},"#, 1);
    for bad in ["", "carol", "{", &twice, &format!("{text}{text}")] {
        assert!(matches!(read(bad), Err(EventError::Malformed(_))), "{bad}");
    }
}

#[test]
fn members_that_do_not_agree_are_nobodys() {
    let changed = |event: &Value, pointer: &str, value: Value| {
        let mut event = event.clone();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    for (pointer, value) in [
        ("/userIdentity", json!("carol")),
        ("/userIdentity", Value::Null),
        ("/userIdentity/arn", Value::Null),
        ("/userIdentity/arn", json!(["a"])),
        ("/userIdentity/arn", json!("arn:aws:sts::111122223333:assumed-role/r/carol")),
        ("/userIdentity/arn", json!("arn:aws:sts::111122223333:federated-user/mallory")),
        ("/userIdentity/principalId", json!("111122223333:mallory")),
        ("/userIdentity/principalId", json!("carol-3o2jzrlhnfnb")),
        ("/userIdentity/accountId", json!("444455556666")),
        ("/userIdentity/accessKeyId", json!("ASIA")),
        ("/userIdentity/accessKeyId", json!("ASIAIOSFODNN7EXAMPLE\" }")),
        ("/userIdentity/sessionContext", json!([])),
        ("/userIdentity/sessionContext/sessionIssuer", json!("broker")),
        ("/userIdentity/sessionContext/sessionIssuer/userName", json!("a\u{1b}[2J")),
        ("/userIdentity/sessionContext/attributes/creationDate", json!("20270115")),
        ("/eventTime", json!("then")),
        ("/eventTime", json!(1_800_000_000)),
        ("/userIdentity/type", json!("a\u{1b}")),
    ] {
        let bad = changed(&call(), pointer, value);
        assert!(is_malformed(&bad), "{pointer}: {}", bad.pointer(pointer).unwrap());
    }
    for (pointer, value) in [
        ("/requestParameters/name", json!("carol smith")),
        ("/requestParameters/name", json!("mallory")),
        ("/requestParameters", Value::Null),
        ("/responseElements/federatedUser/arn", json!("arn:aws:sts::111122223333:federated-user/mallory")),
        ("/responseElements/federatedUser/arn", json!("arn:aws:sts::444455556666:federated-user/carol-3o2jzrlhnfnb")),
        ("/responseElements/federatedUser", json!({})),
        ("/responseElements/credentials/accessKeyId", json!("x")),
    ] {
        let bad = changed(&minting(), pointer, value);
        assert!(is_malformed(&bad), "{pointer}: {}", bad.pointer(pointer).unwrap());
    }
}

#[test]
fn an_event_of_another_kind_of_caller_is_nobodys() {
    for kind in ["IAMUser", "AssumedRole", "Root", "AWSService", "IdentityCenterUser"] {
        let mut event = call();
        event["userIdentity"] = json!({"type": kind, "arn": "arn:aws:iam::111122223333:user/carol"});
        assert_eq!(read(&event.to_string()), Err(EventError::Other(kind.to_owned())));
    }
    // Only STS's own event is one of GetFederationToken.
    let mut event = minting();
    event["eventSource"] = json!("s3.amazonaws.com");
    assert_eq!(read(&event.to_string()), Err(EventError::Other("IAMUser".to_owned())));
}

/// Any JSON, with the members of events among it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(json!("FederatedUser")),
        Just(json!("arn:aws:sts::111122223333:federated-user/carol")),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let member = prop_oneof![
            Just("userIdentity"),
            Just("type"),
            Just("arn"),
            Just("Records"),
            Just("detail"),
            Just("sessionContext"),
            Just("responseElements"),
            Just("eventTime"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(member.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_input_is_a_panic(text in "\\PC{0,100}", value in any_json(), at in 0_usize..1_500, with in any::<char>()) {
        let _ = (read(&text), What::parse(&text), since(&text));
        let _ = read(&value.to_string());
        for event in [call(), minting()] {
            let changed: String =
                event.to_string().chars().enumerate().map(|(index, c)| if index == at { with } else { c }).collect();
            // An answer is always a name or a key that can stand in a pattern.
            if let Ok(asked) = read(&changed) {
                prop_assert!(asked.name.is_some());
                prop_assert!(asked.access_key_id.is_none_or(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')));
            }
            let _ = read(&event.to_string().chars().take(at).collect::<String>());
        }
    }
}
