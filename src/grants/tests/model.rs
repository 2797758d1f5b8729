//! Is a session what the rules say, when they are written once more as plainly as they can be?

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE32_NOPAD;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::Union;
use serde_json::Map;
use sha2::{Digest as _, Sha256};

use super::*;

const SOON: i64 = 1_800_000_000;

/// Everything that a decision depends on.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// What the issuer's configuration says beyond the usual.
    pub(super) issuer: Value,
    /// What the token says otherwise than the usual one.
    pub(super) claims: Value,
    pub(super) source_ip: Option<IpAddr>,
    /// For the caller's principals in their order.
    pub(super) items: Vec<Value>,
    pub(super) blocked: bool,
    pub(super) asked: Option<i64>,
    /// Whose the name is: the caller's, another's, or nobody's.
    pub(super) owned_by_me: Option<bool>,
}

impl Case {
    pub(super) fn caller(&self) -> Caller {
        caller_claiming(&self.issuer, &self.claims)
    }

    pub(super) fn decide(&self) -> Result<Pending, Denied> {
        self.decide_in_order(&(0..self.items.len()).collect::<Vec<_>>())
    }

    /// With the items as if they had been read in this order.
    pub(super) fn decide_in_order(&self, order: &[usize]) -> Result<Pending, Denied> {
        let caller = self.caller();
        let mut matches = matches_of(&caller, &self.items);
        matches.items = order.iter().map(|index| matches.items[*index].clone()).collect();
        if self.blocked {
            matches.blocked.extend(Principal::of(&caller).pop());
        }
        matches.name_owner = self.owner();
        let request = Request { source_ip: self.source_ip, ..request(self.asked) };
        authorize(&caller, &request, matches, now())
    }

    /// What is explained, where the items are among those of a table that `reversed` says the other way round.
    #[cfg(feature = "files")]
    pub(super) fn explain(&self, reversed: bool) -> crate::grants::explain::Explanation {
        use crate::grants::explain::{Known, KnownItem, explain};

        let caller = self.caller();
        let item = |StoredItem { principal, attributes }| KnownItem { principal, grant: "default".into(), attributes };
        let mut items: Vec<KnownItem> = matches_of(&caller, &self.items).items.into_iter().map(item).collect();
        let mut others = items.clone();
        for item in &mut others {
            item.grant = "other".into();
        }
        items.extend(others);
        for (index, principal) in
            ["corp/group/strangers", "corp/user/mallory", "other/everyone"].into_iter().enumerate()
        {
            let attributes = self.items.get(index).cloned().unwrap_or_else(|| json!({"enabled": false}));
            let attributes = attributes.as_object().cloned().unwrap();
            items.push(KnownItem {
                principal: Principal::parse(principal).unwrap(),
                grant: "default".into(),
                attributes,
            });
        }
        if reversed {
            items.reverse();
        }
        let mut blocked = vec![Principal::parse("corp/group/strangers").unwrap()];
        if self.blocked {
            blocked.extend(Principal::of(&caller).pop());
        }
        let request = Request { source_ip: self.source_ip, ..request(self.asked) };
        explain(&caller, &request, Known { blocked, items, name_owner: self.owner() }, now())
    }

    /// What is offered, where the items are those of one grant.
    pub(super) fn offers(&self) -> Result<Vec<Offer>, Denied> {
        let caller = self.caller();
        let blocked = if self.blocked { Principal::of(&caller).split_off(1) } else { Vec::new() };
        let grants = vec![(GrantName::default(), matches_of(&caller, &self.items).items)];
        offers(&caller, Holdings { blocked, grants, name_owner: self.owner() }, self.source_ip, now())
    }

    fn owner(&self) -> Option<String> {
        let me = format!("corp/user/{}", self.claims["sub"].as_str().unwrap());
        self.owned_by_me.map(|mine| if mine { me } else { "corp/user/mallory".into() })
    }
}

/// What a session is, without the types.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) statements: BTreeSet<String>,
    pub(super) arns: BTreeSet<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) seconds: i64,
    name: String,
    takes_name: Option<(String, String)>,
    spends: Option<String>,
}

impl Outcome {
    pub(super) fn of(pending: &Pending) -> Self {
        let session = pending.describe();
        let statements = session.policy().map(|_| statements(session)).unwrap_or_default();
        let tags = session.tags().iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let taken = pending.dues.name.as_ref().map(|due| (due.name.clone(), due.owner.to_string()));
        Self {
            statements: statements.iter().map(Value::to_string).collect(),
            arns: session.policy_arns().iter().map(|arn| arn.as_str().to_owned()).collect(),
            tags: tags.collect(),
            seconds: session.duration().as_secs().into(),
            name: session.name().as_str().to_owned(),
            takes_name: taken,
            spends: pending.dues.token.as_ref().map(|token| token.token_id.clone()),
        }
    }
}

pub(super) const fn kind(denied: &Denied) -> &'static str {
    match denied {
        Denied::Refused(Refused::Blocked(_)) => "blocked",
        Denied::Refused(Refused::NoGrant) => "no grant",
        Denied::Refused(Refused::Disabled(_)) => "disabled",
        Denied::Refused(Refused::OutOfTime) => "out of time",
        Denied::Refused(Refused::ClaimRefused(_)) => "claim refused",
        Denied::Refused(Refused::StepUp(_)) => "step-up",
        Denied::Refused(Refused::OverMaximum { .. }) => "over maximum",
        Denied::Refused(Refused::TokenEndsTooSoon) => "token ends",
        Denied::Refused(Refused::NameOwned { .. }) => "name owned",
        Denied::Refused(Refused::NoSourceAddress) => "no address",
        Denied::Unusable(Unusable::Item { .. }) => "unusable",
        Denied::Unusable(Unusable::Contradiction(_)) => "contradiction",
        Denied::Unusable(Unusable::Name(_)) => "name",
        Denied::Unusable(Unusable::Template { .. }) => "template",
        Denied::Unusable(Unusable::Tags(_)) => "tags",
        Denied::Unusable(Unusable::PolicyTooLarge { .. }) => "too large",
        Denied::Unusable(Unusable::TooManyStatements) => "too many statements",
        Denied::Unusable(Unusable::TooManyArns(_)) => "too many arns",
    }
}

/// The session, or the kinds of refusal that are right: several where one step of the order finds several things wrong.
fn model(case: &Case) -> Result<Outcome, Vec<&'static str>> {
    let claims = claims_of(&case.claims);
    let claims = &claims;
    // Blocked, items well-formed, disabled, time.
    if case.blocked {
        return Err(vec!["blocked"]);
    }
    if case.items.is_empty() {
        return Err(vec!["no grant"]);
    }
    if case.items.iter().any(is_malformed) {
        return Err(vec!["unusable"]);
    }
    if case.items.iter().any(|item| item["enabled"] == json!(false)) {
        return Err(vec!["disabled"]);
    }
    let mut items = case.items.clone();
    items.retain(|item| item["not_before"].as_i64().is_none_or(|begin| begin <= SOON));
    items.retain(|item| item["not_after"].as_i64().is_none_or(|end| end >= SOON + 900));
    if items.is_empty() {
        return Err(vec!["out of time"]);
    }
    check_requirements(&items, claims)?;

    // Duration.
    let smallest = |name: &str| items.iter().map(|item| item[name].as_i64().unwrap_or(3_600)).min().unwrap();
    let (maximum, default) = (smallest("max_duration"), smallest("duration"));
    if case.asked.is_some_and(|asked| asked > maximum) {
        return Err(vec!["over maximum"]);
    }
    let mut seconds = case.asked.unwrap_or(default).min(maximum);
    for end in items.iter().filter_map(|item| item["not_after"].as_i64()) {
        seconds = seconds.min(end - SOON);
    }
    if case.issuer["session_ends_with_token"] == json!(true) {
        let whole_seconds = claims["exp"].to_string().split('.').next().unwrap().parse::<i64>().unwrap();
        if whole_seconds - SOON < 900 {
            return Err(vec!["token ends"]);
        }
        seconds = seconds.min(whole_seconds - SOON);
    }

    // Name and templates.
    let name = model_name(&case.issuer, claims).ok_or(vec!["name"])?;
    let (statements, arns, tags) = contents(case, &items, claims, &name)?;

    // The name's owner, and what is due.
    let mut takes_name = None;
    if case.issuer.get("name_claim").is_some() {
        match case.owned_by_me {
            Some(true) => {}
            None if case.issuer["name_owners"] == "first_use" => {
                let me = format!("corp/user/{}", claims["sub"].as_str().unwrap());
                takes_name = Some((name.to_lowercase(), me));
            }
            Some(false) | None => return Err(vec!["name owned"]),
        }
    }
    let spends = (case.issuer["single_use"] == json!(true)).then(|| claims["jti"].as_str().unwrap().to_owned());
    Ok(Outcome { statements, arns, tags, seconds, name, takes_name, spends })
}

/// What of [`any_item`] is wrong in itself.
fn is_malformed(item: &Value) -> bool {
    let list = model_statements(item);
    let names = |list: &Value, text: &str| list.to_string().contains(text);
    let seconds_are_wrong = |name: &str| item[name].as_i64().is_some_and(|seconds| !(900..=129_600).contains(&seconds));
    let policy = model_policy(item);
    let is_old = policy["Version"] != "2012-10-17";
    let lapsing = item["not_before"].is_number() || item["not_after"].is_number();
    let tags = item["tags"].as_object().cloned().unwrap_or_default();
    let folded: BTreeSet<String> = tags.keys().map(|key| key.to_lowercase()).collect();
    item.get("colour").is_some()
        || seconds_are_wrong("max_duration")
        || seconds_are_wrong("duration")
        || (is_old && names(&policy, "${"))
        || ["${JWT:", "${self:", "$${", ":s*:"].iter().any(|text| names(&policy, text))
        || list.iter().any(|one| lapsing && one["Effect"] == "Deny")
        || list.iter().any(|one| one["Effect"] == "Allow" && names(one, "iam:") && item["allow_iam"] != json!(true))
        || folded.len() < tags.len()
        || tags.keys().any(|key| key.starts_with("aws:"))
        || names(&item["tags"], "${aws:")
        || names(&item["tags"], "{{")
        || names(&item["require"], "[]")
}

fn check_requirements(items: &[Value], claims: &Value) -> Result<(), Vec<&'static str>> {
    let list = |value: &Value| value.as_array().cloned();
    let mut acr: Option<Vec<Value>> = None;
    let mut amr: Vec<Value> = Vec::new();
    let mut max_age: Option<i64> = None;
    let mut wanted: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for require in items.iter().map(|item| &item["require"]) {
        if let Some(one) = list(&require["acr"]) {
            acr = Some(acr.unwrap_or_else(|| one.clone()).into_iter().filter(|value| one.contains(value)).collect());
        }
        amr.extend(list(&require["amr"]).unwrap_or_default());
        if let Some(age) = require["max_age"].as_i64() {
            max_age = Some(max_age.unwrap_or(age).min(age));
        }
        for (pointer, values) in require["claims"].as_object().cloned().unwrap_or_default() {
            let values = list(&values).unwrap();
            wanted.entry(pointer).or_insert_with(|| values.clone()).retain(|value| values.contains(value));
        }
    }
    if acr.as_ref().is_some_and(Vec::is_empty) || wanted.values().any(Vec::is_empty) {
        return Err(vec!["contradiction"]);
    }
    let is_there = |(pointer, values): (&String, &Vec<Value>)| {
        let found = match claims.pointer(pointer) {
            Some(Value::Array(list)) if list.iter().all(|one| one.is_string() || one.is_boolean()) => list.clone(),
            Some(one) if one.is_string() || one.is_boolean() => vec![one.clone()],
            _ => vec![],
        };
        found.iter().any(|one| values.contains(one))
    };
    if !wanted.iter().all(is_there) {
        return Err(vec!["claim refused"]);
    }
    let strings = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    let methods_hold = amr.is_empty()
        || (strings(&claims["amr"]) && amr.iter().all(|one| claims["amr"].as_array().unwrap().contains(one)));
    let context_holds = acr.is_none_or(|acr| acr.contains(&claims["acr"]));
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "seconds are small")]
    let fresh = max_age.is_none_or(|age| {
        let age_is = claims["auth_time"].as_f64().map(|time| SOON as f64 - time);
        age_is.is_some_and(|seconds| seconds >= -30.0 && seconds <= (age + 30) as f64)
    });
    if methods_hold && context_holds && fresh { Ok(()) } else { Err(vec!["step-up"]) }
}

fn model_name(issuer: &Value, claims: &Value) -> Option<String> {
    let legal = |c: &char| c.is_ascii_alphanumeric() || ['_', '=', ',', '.', '@', '+', '-'].contains(c);
    let Some(pointer) = issuer["name_claim"].as_str() else {
        let subject = claims["sub"].as_str().unwrap();
        let mut bytes = vec![0, 0, 0, 4];
        bytes.extend(b"corp");
        bytes.extend([0, 0, 0, u8::try_from(subject.len()).unwrap()]);
        bytes.extend(subject.bytes());
        let digest = BASE32_NOPAD.encode(&Sha256::digest(&bytes)).to_lowercase();
        let readable: String = subject.chars().filter(legal).take(19).collect();
        return Some(format!("{readable}-{}", digest.chars().take(12).collect::<String>()));
    };
    if pointer == "/email" && claims["email_verified"] != json!(true) {
        return None;
    }
    let name = claims.pointer(pointer)?.as_str()?;
    let characters: Vec<char> = name.chars().collect();
    let length = characters.len();
    let base32 = |c: &char| "abcdefghijklmnopqrstuvwxyz234567".contains(c.to_ascii_lowercase());
    let hashed = length >= 13 && characters[length - 13] == '-' && characters[length - 12..].iter().all(base32);
    ((2..=32).contains(&length) && characters.iter().all(legal) && !hashed).then(|| name.to_owned())
}

type Contents = (BTreeSet<String>, BTreeSet<String>, BTreeMap<String, String>);

fn contents(case: &Case, items: &[Value], claims: &Value, name: &str) -> Result<Contents, Vec<&'static str>> {
    let mut wrong = Vec::new();
    let mut merged: BTreeSet<String> = BTreeSet::new();
    for statement in items.iter().flat_map(model_statements) {
        match fill(&statement, claims, name) {
            Some(filled) => drop(merged.insert(filled.to_string())),
            None => wrong.push("template"),
        }
    }
    if items.iter().any(|item| item["pin_source_ip"] == json!(true)) {
        // An IPv4 address is itself also where it came in IPv6's notation.
        let block = case.source_ip.map(|address| match address.to_string().strip_prefix("::ffff:") {
            Some(mapped) => format!("{mapped}/32"),
            None if address.is_ipv4() => format!("{address}/32"),
            None => format!("{address}/128"),
        });
        match block {
            Some(block) => drop(merged.insert(pin_to(&block).to_string())),
            None => wrong.push("no address"),
        }
    }
    let list: Vec<&str> = merged.iter().map(String::as_str).collect();
    let text = format!(r#"{{"Statement":[{}],"Version":"2012-10-17"}}"#, list.join(","));
    if text.chars().count() > 2_048 {
        wrong.push("too large");
    }
    let strings = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let arns = items.iter().flat_map(|item| strings(&item["policy_arns"]));
    let arns: BTreeSet<String> = arns.map(|arn| arn.as_str().unwrap().to_owned()).collect();
    if arns.len() > 10 {
        wrong.push("too many arns");
    }
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in items.iter().flat_map(|item| item["tags"].as_object().cloned().unwrap_or_default()) {
        let Some(value) = fill(&value, claims, name) else {
            wrong.push("template");
            continue;
        };
        let value = value.as_str().unwrap().to_owned();
        let legal = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
        let clashes = |(k, v): (&String, &String)| k.to_lowercase() == key.to_lowercase() && (*k != key || *v != value);
        if value.chars().count() > 256 || !value.chars().all(legal) || tags.iter().any(clashes) {
            wrong.push("tags");
        }
        tags.insert(key, value);
    }
    if wrong.is_empty() { Ok((merged, arns, tags)) } else { Err(wrong) }
}

/// The value with our templates replaced, if every claim can be.
fn fill(value: &Value, claims: &Value, name: &str) -> Option<Value> {
    match value {
        Value::String(text) => {
            let mut text = text.clone();
            for pointer in ["/sub", "/department", "/nested/unit", "/absent"] {
                let template = format!("${{jwt:{pointer}}}");
                if text.contains(&template) {
                    let claim = claims.pointer(pointer)?.as_str()?;
                    let harmless = |c: char| c.is_ascii_alphanumeric() || "_.@+=,|-".contains(c);
                    if claim.is_empty() || claim.len() > 256 || !claim.chars().all(harmless) {
                        return None;
                    }
                    text = text.replace(&template, claim);
                }
            }
            Some(Value::String(text.replace("${session:name}", name)))
        }
        Value::Array(list) => list.iter().map(|one| fill(one, claims, name)).collect::<Option<_>>().map(Value::Array),
        Value::Object(members) => {
            let filled = members.iter().map(|(key, one)| Some((key.clone(), fill(one, claims, name)?)));
            filled.collect::<Option<_>>().map(Value::Object)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.clone()),
    }
}

pub(super) fn pin_to(block: &str) -> Value {
    json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
        "NotIpAddress": {"aws:SourceIp": block}, "BoolIfExists": {"aws:ViaAWSService": "false"}}})
}

fn model_policy(item: &Value) -> Value {
    let policy = &item["policy"];
    policy.as_str().map_or_else(|| policy.clone(), |text| serde_json::from_str(text).unwrap())
}

/// What an item's policy says, without `Sid`.
pub(super) fn model_statements(item: &Value) -> Vec<Value> {
    let statement = &model_policy(item)["Statement"];
    if statement.is_null() {
        return Vec::new();
    }
    let mut list = statement.as_array().cloned().unwrap_or_else(|| vec![statement.clone()]);
    for statement in &mut list {
        statement.as_object_mut().unwrap().remove("Sid");
    }
    list
}

/// One of these values, each as often as its weight says.
fn any_of(values: Vec<(u32, Value)>) -> impl Strategy<Value = Value> {
    Union::new_weighted(values.into_iter().map(|(weight, value)| (weight, Just(value))).collect())
}

fn any_statement() -> impl Strategy<Value = Value> {
    let action = any_of(vec![
        (18, json!("s3:GetObject")),
        (18, json!(["s3:PutObject", "sqs:SendMessage"])),
        (9, json!(["s3:GetObject"])),
        (1, json!("iam:GetUser")),
    ]);
    let resource = any_of(vec![
        (20, json!("*")),
        (16, json!(["arn:aws:s3:::shop/*", "*"])),
        (6, json!("arn:aws:s3:::home/${jwt:/sub}/*")),
        (4, json!(["arn:aws:s3:::d/${jwt:/department}/${session:name}/${jwt:/sub}"])),
        (4, json!("arn:aws:s3:::u/${aws:userid}/${session:name}")),
        (1, json!("arn:aws:s3:::n/${jwt:/nested/unit}")),
        (1, json!("arn:aws:s3:::x/${jwt:/absent}")),
        (1, json!("arn:aws:s3:::x/${JWT:/sub}")),
        (1, json!("arn:aws:s3:::x/${self:custom.bucket}")),
        (1, json!(["*", "arn:aws:s3:::$${jwt:/sub}"])),
        (1, json!("arn:aws:s*:::x")),
        (1, json!("arn:aws-us-gov:s3:::${aws:PrincipalTag/team, 'x'}")),
        (1, json!(format!("arn:aws:s3:::{}/${{session:name}}", "x".repeat(900)))),
        (1, json!(format!("arn:aws:s3:::{}/*", "y".repeat(900)))),
    ]);
    let condition = weighted(
        0.3,
        any_of(vec![
            (1, json!({"StringEquals": {"aws:PrincipalTag/team": "${jwt:/department}"}})),
            (1, json!({"StringLike": {"s3:prefix": ["${session:name}/*", "${aws:userid}"]}})),
            (1, json!({"NumericLessThan": {"s3:max-keys": 10}, "Bool": {"aws:SecureTransport": true}})),
        ]),
    );
    let effect = prop_oneof![6 => Just("Allow"), 1 => Just("Deny")];
    (effect, action, resource, condition, weighted(0.2, Just("One"))).prop_map(
        |(effect, action, resource, condition, sid)| {
            let mut statement = json!({"Effect": effect, "Action": action, "Resource": resource});
            if let Some(condition) = condition {
                statement["Condition"] = condition;
            }
            if let Some(sid) = sid {
                statement["Sid"] = sid.into();
            }
            statement
        },
    )
}

fn any_policy() -> impl Strategy<Value = Value> {
    let statement = prop_oneof![
        4 => prop::collection::vec(any_statement(), 1..3).prop_map(Value::Array),
        1 => any_statement(),
    ];
    let version = any_of(vec![(40, json!("2012-10-17")), (1, json!("2008-10-17")), (1, Value::Null)]);
    (statement, version, prop::bool::weighted(0.1)).prop_map(|(statement, version, as_text)| {
        let mut policy = json!({"Statement": statement});
        if !version.is_null() {
            policy["Version"] = version;
        }
        if as_text { Value::String(policy.to_string()) } else { policy }
    })
}

fn any_requirement() -> impl Strategy<Value = Value> {
    let acr = weighted(
        0.5,
        any_of(vec![(12, json!(["gold"])), (12, json!(["silver", "gold"])), (2, json!(["silver"])), (1, json!([]))]),
    );
    let amr = weighted(0.5, any_of(vec![(6, json!(["mfa"])), (4, json!(["hwk", "mfa"])), (1, json!(["otp"]))]));
    let max_age = weighted(0.5, any_of(vec![(3, json!(900)), (3, json!(3_600)), (1, json!(0))]));
    let department = weighted(
        0.4,
        any_of(vec![
            (6, json!(["payments", "shop_1"])),
            (4, json!(["payments"])),
            (1, json!(["shop_1"])),
            (1, json!([true])),
            (1, json!([])),
        ]),
    );
    let contractor = weighted(0.3, any_of(vec![(6, json!([false])), (1, json!(["false", true]))]));
    (acr, amr, max_age, department, contractor).prop_map(|(acr, amr, max_age, department, contractor)| {
        let mut require = Map::new();
        let all = [("acr", acr), ("amr", amr), ("max_age", max_age)];
        require.extend(all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        let claims = [("/department", department), ("/contractor", contractor)];
        let claims = claims.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let claims: Map<String, Value> = claims.collect();
        if !claims.is_empty() {
            require.insert("claims".into(), Value::Object(claims));
        }
        Value::Object(require)
    })
}

fn any_tags() -> impl Strategy<Value = Value> {
    let tags = vec![
        (16, json!({"team": "payments"})),
        (16, json!({"team": "${jwt:/department}", "who": "${session:name}"})),
        (6, json!({"who": "${session:name}", "cost center": "7 / ${jwt:/sub}"})),
        (1, json!({"Team": "payments"})),
        (1, json!({"who": "a,b"})),
        (1, json!({"team": "a", "TEAM": "a"})),
        (1, json!({"aws:team": "a"})),
        (1, json!({"team": "${aws:userid}"})),
        (1, json!({"team": "{{resolve:ssm:/team}}"})),
    ];
    any_of(tags)
}

/// An item that may be anything that a table can hold: usable or not.
pub(super) fn any_item() -> impl Strategy<Value = Value> {
    let seconds = || weighted(0.5, prop_oneof![80 => 900_i64..10_000, 1 => Just(899_i64)]);
    let time = |range: std::ops::Range<i64>| weighted(0.08, range.prop_map(|offset| SOON + offset));
    let arns: Vec<String> = (0..12).map(|number| format!("arn:aws:iam::aws:policy/Policy{number}")).collect();
    let arns = weighted(0.2, subsequence(arns, 0..=9));
    let flags = (
        weighted(0.15, prop::bool::weighted(0.9)),
        weighted(0.3, any::<bool>()),
        weighted(0.25, any::<bool>()),
        weighted(0.01, Just("red")),
        weighted(0.1, Just(false)),
    );
    let contents = (weighted(0.7, any_policy()), arns, weighted(0.25, any_tags()), weighted(0.25, any_requirement()));
    (contents, seconds(), seconds(), time(-1_000..200), time(-500..4_000), flags).prop_map(
        |((policy, arns, tags, require), maximum, default, begin, end, (enabled, pin, allow_iam, colour, deleting))| {
            let all = [
                ("policy", policy),
                ("policy_arns", arns.map(Value::from)),
                ("tags", tags),
                ("require", require),
                ("max_duration", maximum.map(Value::from)),
                ("duration", default.map(Value::from)),
                ("not_before", begin.map(Value::from)),
                ("not_after", end.map(Value::from)),
                ("enabled", enabled.map(Value::from)),
                ("pin_source_ip", pin.map(Value::from)),
                ("allow_iam", allow_iam.map(Value::from)),
                ("colour", colour.map(Value::from)),
                ("aws:rep:deleting", deleting.map(Value::from)),
            ];
            Value::Object(all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
        },
    )
}

fn any_claims() -> impl Strategy<Value = Value> {
    let long = |length: usize| json!("x".repeat(length));
    let who = (
        any_of(vec![
            (20, json!("carol")),
            (3, json!("auth0|carol")),
            (1, json!("carol/x")),
            (1, json!("кэрол*")),
            (1, json!("${jwt:/department}")),
            (1, json!("o'brien\"")),
            (1, json!("a-subject-of-many-more-than-nineteen-characters")),
        ]),
        any_of(vec![
            (20, json!("payments")),
            (4, json!("shop_1")),
            (1, Value::Null),
            (1, json!(7)),
            (1, json!(["payments"])),
            (1, json!(["audit", "shop_1", true])),
            (1, json!(["payments", 7])),
            (1, json!([["payments"]])),
            (1, json!([])),
            (1, json!("a*b")),
            (1, json!("${aws:userid}")),
            (1, json!("a/b")),
            (1, json!("")),
            (1, long(256)),
            (1, long(257)),
            (1, json!("pay,ments")),
            (1, json!(true)),
        ]),
        any_of(vec![(1, Value::Null), (1, json!({"unit": "u1"})), (1, json!("u1"))]),
        any_of(vec![(9, json!(false)), (1, json!(true)), (1, json!("false")), (1, Value::Null), (1, json!([false]))]),
        any_of(vec![
            (8, json!("carol")),
            (4, json!("Carol.Smith")),
            (1, Value::Null),
            (1, json!(7)),
            (1, json!("c")),
            (1, json!("carol/x")),
            (1, json!("carol-3o2jzrlhnfnb")),
            (1, json!("CAROL-ABCDEFGHIJKL")),
            (1, long(33)),
        ]),
        any_of(vec![(9, json!("carol@example.com")), (1, json!("two words@example.com")), (1, Value::Null)]),
        any_of(vec![(9, json!(true)), (1, json!(false)), (1, json!("true")), (1, Value::Null)]),
    );
    let how = (
        any_of(vec![
            (16, json!("gold")),
            (3, json!("silver")),
            (1, json!("bronze")),
            (1, Value::Null),
            (1, json!(["gold"])),
        ]),
        any_of(vec![
            (16, json!(["mfa", "hwk"])),
            (3, json!(["mfa"])),
            (1, Value::Null),
            (1, json!("mfa")),
            (1, json!(["mfa", "hwk", 1])),
            (1, json!([])),
        ]),
        any_of(vec![
            (12, json!(SOON - 20)),
            (2, json!(SOON - 930)),
            (1, json!(SOON - 931)),
            (1, json!(1_799_999_069.5)),
            (1, json!(SOON + 30)),
            (1, json!(SOON + 31)),
            (1, json!(SOON.to_string())),
            (1, Value::Null),
        ]),
        any_of(vec![
            (1, json!(SOON + 600)),
            (1, json!(SOON + 899)),
            (1, json!(1_800_000_899.75)),
            (2, json!(1_800_000_900.75)),
            (2, json!(SOON + 1_234)),
            (6, json!(SOON + 40_000)),
        ]),
    );
    (who, how).prop_map(|((sub, department, nested, contractor, username, email, verified), (acr, amr, time, exp))| {
        json!({
            "sub": sub, "department": department, "nested": nested, "contractor": contractor, "username": username,
            "email": email, "email_verified": verified, "acr": acr, "amr": amr, "auth_time": time, "exp": exp,
            "jti": "t-1",
        })
    })
}

pub(super) fn any_case() -> impl Strategy<Value = Case> {
    let name_claim = weighted(0.3, any_of(vec![(4, json!("/username")), (2, json!("/email")), (1, json!("/sub"))]));
    let issuer = (prop::bool::weighted(0.3), name_claim, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(ends_with_token, name_claim, first_use, single_use)| {
            let mut issuer = json!({"session_ends_with_token": ends_with_token, "single_use": single_use});
            if let Some(claim) = name_claim {
                issuer["name_claim"] = claim;
                issuer["name_owners"] = if first_use { "first_use" } else { "registered" }.into();
            }
            issuer
        },
    );
    let address = prop_oneof![
        8 => Just(Some("203.0.113.7")),
        3 => Just(Some("2001:db8::7")),
        2 => Just(Some("::ffff:203.0.113.7")),
        1 => Just(None),
    ];
    let items = prop_oneof![1 => Just(Vec::new()), 30 => prop::collection::vec(any_item(), 1..=4)];
    let asked = weighted(0.3, 900_i64..8_000);
    let owner = weighted(0.6, prop::bool::weighted(0.7));
    (issuer, any_claims(), address, items, prop::bool::weighted(0.02), asked, owner).prop_map(
        |(issuer, claims, address, items, blocked, asked, owned_by_me)| {
            let source_ip = address.map(|address| address.parse().unwrap());
            Case { issuer, claims, source_ip, items, blocked, asked, owned_by_me }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn a_session_is_what_the_naive_model_says(case in any_case()) {
        match (case.decide(), model(&case)) {
            (Ok(pending), Ok(expected)) => prop_assert_eq!(Outcome::of(&pending), expected),
            (Err(denied), Err(kinds)) => prop_assert!(kinds.contains(&kind(&denied)), "{denied}, not one of {kinds:?}"),
            (code, model) => prop_assert!(false, "{code:?}, and the model says {model:?}"),
        }
    }
}
