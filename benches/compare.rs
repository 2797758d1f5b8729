//! Do two builds of the function behave alike?
//!
//! `make compare BASE=COMMIT` asks this build and an earlier one the same: each event of `events/`, each token of the
//! corpus, and some thousand random requests against random grants, some of them with a fault of AWS. It compares
//! statuses, headers, bodies, calls to AWS, audit lines and metrics, and fails if any of them differ.
//!
//! | left out | why |
//! | --- | --- |
//! | times, latencies, ages, signatures, ids of invocations | they differ in each run |
//! | calls to the provider and to Secrets Manager | caches make them, by the clock |
//! | calls of a list that `DynamoDB` fails | they run at the same time, and the first failure ends the others |
//! | texts for people | they are counted apart: wording may change |

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool of developers prints, and stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, slice};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use hallpass_testing::answer::Answer;
use hallpass_testing::aws::{dynamodb, query};
use hallpass_testing::clock;
use hallpass_testing::corpus::Corpus;
use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::provider::Provider;
use hallpass_testing::server::{Call, Fault};
use hallpass_testing::world::{World, policy};

/// Names the earlier build.
const BASE: &str = "HALLPASS_COMPARE_BASE";

/// How many random requests there are.
const RANDOM: usize = 4000;

/// Seconds that may pass between making a token of the corpus and verifying it.
const SLACK: u64 = 20;

/// A build that refuses its configuration ends sooner.
const START: Duration = Duration::from_secs(5);

/// Texts for people, by the name of the member.
const WORDING: [&str; 5] = ["message", "Message", "title", "error_description", "detail"];

/// What differs in each run, by the name of the member.
const VOLATILE: [&str; 5] = ["Expiration", "expiration", "time", "lambda_request_id", "attempt"];

/// What the fakes number, for both builds together: invocations and sessions.
const NUMBERED: [&str; 2] = ["00000000-0000-4000-8000-", "ASIASESSION"];

/// What may differ by a second that passed between the two builds.
const SECONDS: [&str; 4] = ["DurationSeconds", "duration", "expires_at", "max_duration"];

#[tokio::main]
async fn main() -> ExitCode {
    let Some(base) = env::var_os(BASE).map(PathBuf::from) else {
        println!("`make compare BASE=COMMIT` runs this; {BASE} names the earlier build");
        return ExitCode::SUCCESS;
    };
    let builds = [base, PathBuf::from(env!("CARGO_BIN_EXE_broker"))];
    let mut world = World::new().await;
    world.set("HALLPASS_ALLOWED_ORIGINS", "http://localhost:5173");
    let mut differences = Differences::default();

    let corpus = Corpus::new(&world.provider.issuer(), clock::now(), SLACK);
    for (id, key_set) in &corpus.key_sets {
        world.provider.publish_below(id, key_set);
        world.dynamodb.grant(&format!("{id}/everyone"), "default", &json!({ "policy": policy(&["s3:ListBucket"]) }));
    }
    trust_what_both_know(&mut world, corpus.issuers, &builds).await;
    let mut pair = Pair::start(&world, &builds).await;
    let refused = corpus.refused.iter().map(|forgery| (&forgery.what, &forgery.token));
    let accepted = corpus.accepted.iter().map(|genuine| (&genuine.what, &genuine.token));
    for (what, token) in refused.chain(accepted) {
        let event = Event::get("/v1/credentials").bearer(token).payload();
        pair.ask(&world, &format!("corpus: {what}"), event, &[]).await;
    }
    pair.end(&mut differences).await;

    let issuers = issuers(&world.provider);
    trust_what_both_know(&mut world, issuers, &builds).await;
    for (id, _) in ISSUERS {
        world.provider.publish_below(id, &json!({"keys": [world.key.jwk()]}));
    }
    let mut pair = Pair::start(&world, &builds).await;
    for (what, event) in events(&world) {
        pair.ask(&world, &what, event, &[]).await;
    }
    let mut runner = TestRunner::deterministic();
    let cases = case();
    for number in 0..RANDOM {
        let case = cases.new_tree(&mut runner).unwrap().current();
        world.dynamodb.clear();
        case.put(&world);
        let what = format!("random {number}: {case:?}");
        pair.ask(&world, &what, case.event(&world), &case.faults).await;
    }
    pair.end(&mut differences).await;
    differences.print()
}

/// Configures these issuers, but those that one build does not start with.
async fn trust_what_both_know(world: &mut World, issuers: Vec<Value>, builds: &[PathBuf; 2]) {
    let mut known = Vec::new();
    for issuer in issuers {
        world.trust(slice::from_ref(&issuer));
        let mut starts = true;
        for build in builds {
            let function = world.spawn_build(build).await;
            starts &= tokio::time::timeout(START, function.runtime.first_poll()).await.is_ok();
        }
        if starts {
            known.push(issuer);
        } else {
            println!("left out, because one build does not start with it: {issuer}");
        }
    }
    world.trust(&known);
}

/// The two functions, and what was seen of them.
struct Pair {
    functions: [Function; 2],
    asked: Vec<String>,
    /// By request, as the client and AWS saw it.
    seen: Vec<[Value; 2]>,
}

impl Pair {
    async fn start(world: &World, [base, ours]: &[PathBuf; 2]) -> Self {
        let functions = [world.spawn_build(base).await, world.spawn_build(ours).await];
        for function in &functions {
            function.started().await;
        }
        Self { functions, asked: Vec::new(), seen: Vec::new() }
    }

    async fn ask(&mut self, world: &World, what: &str, event: String, faults: &[(Service, Trouble)]) {
        let fails = faults.iter().any(|(service, _)| matches!(service, Service::DynamoDb));
        let races = fails && event.contains("/v1/grants");
        let mut seen = [Value::Null, Value::Null];
        for (function, seen) in self.functions.iter().zip(&mut seen) {
            world.dynamodb.clear_records();
            for (_, server) in world.upstreams() {
                server.forget_calls();
                server.heal();
            }
            for (service, trouble) in faults {
                trouble.strike(*service, world);
            }
            let answer = function.call_raw(event.clone()).await;
            let calls = if races { Value::Null } else { seen_by_aws(world) };
            *seen = json!({"answer": seen_by_client(&answer), "calls": calls});
        }
        self.asked.push(what.to_owned());
        self.seen.push(seen);
    }

    /// Ends both functions, and compares all that they did and wrote.
    async fn end(self, differences: &mut Differences) {
        let Self { functions: [base, ours], asked, seen } = self;
        let logs = [base.end().await.records(), ours.end().await.records()];
        let lines = [audited(&logs[0]), audited(&logs[1])];
        assert_eq!([lines[0].len(), lines[1].len()], [asked.len(); 2], "one outcome a request");
        for (number, what) in asked.iter().enumerate() {
            let [base, ours] = &seen[number];
            let status = |side: &Value| side["answer"]["status"].clone();
            if status(base) != status(ours) {
                // All else follows.
                let told = |side: usize| json!([status(&seen[number][side]), lines[side][number]["outcome"]["reason"]]);
                differences.between(
                    what,
                    "/status and reason",
                    &json!(told(0).to_string()),
                    &json!(told(1).to_string()),
                );
                continue;
            }
            differences.between(what, "", base, ours);
            differences.between(what, "/audit", &lines[0][number], &lines[1][number]);
        }
        differences.between("all requests", "/metrics", &metrics(&logs[0]), &metrics(&logs[1]));
        let is_full = |calls: &Value| calls.as_array().is_some_and(|calls| !calls.is_empty());
        let issued = seen.iter().filter(|[_, ours]| is_full(&ours["calls"]["sts"])).count();
        println!("asked {} requests, {issued} of which came to STS", asked.len());
    }
}

/// Differences by the place where they are.
#[derive(Default)]
struct Differences(BTreeMap<String, Vec<String>>);

impl Differences {
    fn between(&mut self, what: &str, place: &str, base: &Value, ours: &Value) {
        match (base, ours) {
            (Value::Object(base), Value::Object(ours)) => {
                for name in base.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                    let place = format!("{place}/{name}");
                    let at = |side: &Map<String, Value>| side.get(name).cloned().unwrap_or(json!("(nothing)"));
                    self.between(what, &place, &at(base), &at(ours));
                }
            }
            (Value::Array(base), Value::Array(ours)) if base.len() == ours.len() => {
                for (base, ours) in base.iter().zip(ours) {
                    self.between(what, &format!("{place}/*"), base, ours);
                }
            }
            _ if base == ours || is_a_second_apart(place, base, ours) => {}
            _ => self.0.entry(place.to_owned()).or_default().push(format!("{base} → {ours}\n      {what}")),
        }
    }

    fn print(&self) -> ExitCode {
        let is_wording = |place: &str| place.rsplit('/').next().is_some_and(|name| WORDING.contains(&name));
        for (place, differences) in &self.0 {
            let kind = if is_wording(place) { "wording  " } else { "BEHAVIOUR" };
            println!("{kind} {place}: {} times", differences.len());
            // One example of each pair of values.
            let mut pairs = BTreeMap::new();
            for difference in differences {
                let (pair, what) = difference.split_once('\n').unwrap();
                pairs.entry(pair).or_insert((0, what)).0 += 1;
            }
            for (pair, (times, what)) in pairs.iter().take(40) {
                println!("    {times} × {pair}\n{what:.300}");
            }
        }
        let alike = self.0.keys().all(|place| is_wording(place));
        println!("{}", if alike { "alike, but for wording" } else { "not alike" });
        if alike { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Whether two numbers, or texts of numbers, are as far apart as the clock can make them.
fn is_a_second_apart(place: &str, base: &Value, ours: &Value) -> bool {
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let name = place.rsplit('/').find(|name| *name != "N").unwrap_or_default();
    SECONDS.contains(&name) && matches!((number(base), number(ours)), (Some(a), Some(b)) if a.abs_diff(b) <= 1)
}

fn seen_by_client(answer: &Answer) -> Value {
    let body = serde_json::from_str(&answer.body).unwrap_or_else(|_| json!(answer.body));
    let mut headers = json!(answer.headers);
    // The description in a challenge is a text for people.
    if let Some(challenge) = answer.header("www-authenticate") {
        let (kept, described): (Vec<&str>, Vec<&str>) =
            challenge.split(", ").partition(|parameter| !parameter.starts_with("error_description="));
        headers["www-authenticate"] = json!({"parameters": kept, "error_description": described});
    }
    // It counts the body, whose wording may have changed.
    headers.as_object_mut().unwrap().remove("content-length");
    json!({"status": answer.status, "headers": headers, "body": steady(&body)})
}

/// The calls to `DynamoDB` and STS, without what differs in each run.
fn seen_by_aws(world: &World) -> Value {
    let mut dynamodb: Vec<Value> = world.dynamodb.server.calls().iter().map(seen_call).collect();
    // Those of one request run at the same time.
    dynamodb.sort_by_key(Value::to_string);
    let sts: Vec<Value> = world.sts.server.calls().iter().map(seen_call).collect();
    let keys: BTreeSet<_> = world.dynamodb.batches().iter().flat_map(dynamodb::BatchGet::grant_keys).collect();
    json!({"keys": format!("{keys:?}"), "dynamodb": dynamodb, "sts": sts})
}

fn seen_call(call: &Call) -> Value {
    let mut body = if call.header("x-amz-target").is_some() { call.json() } else { json!(call.form()) };
    // All batches of a request are one set of keys, which is compared apart.
    if let Some(tables) = body.get_mut("RequestItems").and_then(Value::as_object_mut) {
        for table in tables.values_mut() {
            table["Keys"] = json!(table["Keys"].as_array().unwrap().len());
        }
    }
    json!({
        "method": call.method,
        "path": call.path,
        "operation": call.operation(),
        "key": call.access_key(),
        "body": steady(&body),
    })
}

/// The audit lines of each request, which end with its outcome.
fn audited(records: &[Value]) -> Vec<Value> {
    let mut requests = Vec::new();
    let mut lines = Map::new();
    for record in records {
        if let Some(event) = record["event"].as_str() {
            lines.insert(event.to_owned(), steady(record));
            if event == "outcome" {
                requests.push(Value::Object(std::mem::take(&mut lines)));
            }
        }
    }
    requests
}

/// Without what differs in each run.
fn steady(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), steady(value))).collect()
        }
        Value::Array(values) => values.iter().map(steady).collect(),
        Value::String(text) if NUMBERED.iter().any(|prefix| text.starts_with(prefix)) => json!("(numbered)"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// How often each metric was reported with each value, by namespace, dimensions and unit, however many of them share a
/// line. Times and ages only count.
fn metrics(records: &[Value]) -> Value {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for record in records {
        for directive in record["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            for metric in directive["Metrics"].as_array().into_iter().flatten() {
                let name = metric["Name"].as_str().unwrap();
                let is_steady = ["Issued", "Refused", "PackedPolicySize"].contains(&name);
                let value = if is_steady { record[name].to_string() } else { String::new() };
                for dimensions in directive["Dimensions"].as_array().into_iter().flatten() {
                    let dimensions: BTreeMap<&str, &Value> = dimensions
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|name| (name.as_str().unwrap(), &record[name.as_str().unwrap()]))
                        .collect();
                    let unit = &metric["Unit"];
                    let place = format!("{} {name} {unit} {dimensions:?} {value}", directive["Namespace"]);
                    *seen.entry(place.replace('/', "|")).or_default() += 1;
                }
            }
        }
    }
    json!(seen)
}

/// Each event of `events/`, as the person that `index.json` names.
fn events(world: &World) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let index: Map<String, Value> =
        serde_json::from_str(&fs::read_to_string(folder.join("index.json")).unwrap()).unwrap();
    let deploy = json!({
        "policy": policy(&["s3:PutObject"]), "require": {"amr": ["mfa"], "max_age": 900}, "max_duration": 7200,
    });
    world.dynamodb.grant("corp/group/deployers", "deploy", &deploy);
    let person = |who: &str| {
        let mut claims = claims(world, "corp", who);
        let groups: Vec<String> =
            if who == "heidi" { (0..300).map(|group| group.to_string()).collect() } else { vec![] };
        match who {
            "erin" => claims["amr"] = json!(["pwd", "mfa"]),
            "heidi" => claims["groups"] = json!(groups),
            _ => {}
        }
        claims["auth_time"] = json!(clock::now());
        world.sign(&claims)
    };
    let files = index.iter().map(|(name, case)| {
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        (format!("events/{name}.json"), text.replace("TOKEN", &person(case["who"].as_str().unwrap_or("carol"))))
    });
    files.collect()
}

/// The issuers of events and random requests.
const ISSUERS: [(&str, &str); 4] = [
    ("corp", "{}"),
    ("named", r#"{"name_claim": "/login", "name_owners": "first_use", "groups_required": true}"#),
    ("once", r#"{"single_use": true, "required_claims": {"/tenant": ["one", "two"]}}"#),
    ("ends", r#"{"session_ends_with_token": true, "groups_claim": "/realm/roles"}"#),
];

fn issuers(provider: &Provider) -> Vec<Value> {
    let configured = ISSUERS.map(|(id, terms)| {
        let url = format!("{}/{id}", provider.issuer());
        let mut issuer = json!({"id": id, "issuer": url, "audiences": ["hallpass"]});
        let terms: Value = serde_json::from_str(terms).unwrap();
        issuer.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        issuer
    });
    configured.to_vec()
}

fn claims(world: &World, issuer: &str, subject: &str) -> Value {
    json!({
        "iss": format!("{}/{issuer}", world.provider.issuer()),
        "sub": subject,
        "aud": "hallpass",
        "iat": clock::now(),
        "exp": clock::now() + 3000,
        "groups": ["deployers"],
    })
}

#[derive(Clone, Copy, Debug)]
enum Service {
    DynamoDb,
    Sts,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    ResetsOnce,
    FailsOnce,
    Fails,
    Throttles,
    Denies,
    RefusesPolicy,
}

impl Trouble {
    fn strike(self, service: Service, world: &World) {
        let (server, error): (_, fn(u16, &str) -> _) = match service {
            Service::DynamoDb => (&world.dynamodb.server, dynamodb::error),
            Service::Sts => (&world.sts.server, query::error),
        };
        match self {
            Self::ResetsOnce => server.fail_times(1, &Fault::Resets),
            Self::FailsOnce => server.fail_times(1, &Fault::Answers(error(500, "InternalFailure"))),
            Self::Fails => server.fail_always(&Fault::Answers(error(500, "InternalFailure"))),
            Self::Throttles => server.fail_always(&Fault::Answers(error(400, "ThrottlingException"))),
            Self::Denies => server.fail_always(&Fault::Answers(error(400, "AccessDeniedException"))),
            Self::RefusesPolicy => server.fail_always(&Fault::Answers(error(400, "MalformedPolicyDocument"))),
        }
    }
}

/// One random request, and the grants that it meets.
#[derive(Clone, Debug)]
struct Case {
    issuer: &'static str,
    claims: Vec<(&'static str, Value)>,
    /// By principal without its issuer, and grant.
    items: Vec<(&'static str, &'static str, Value)>,
    request: (&'static str, Option<&'static str>, Option<&'static str>),
    faults: Vec<(Service, Trouble)>,
}

impl Case {
    fn put(&self, world: &World) {
        for (principal, grant, item) in &self.items {
            let mut item = item.clone();
            // Seconds from now, in the strategy.
            for name in ["not_before", "not_after"] {
                if let Some(seconds) = item.get(name).and_then(Value::as_i64) {
                    item[name] = json!(i64::try_from(clock::now()).unwrap() + seconds);
                }
            }
            world.dynamodb.grant(&format!("{}/{principal}", self.issuer), grant, &item);
        }
    }

    fn event(&self, world: &World) -> String {
        let mut claims = claims(world, self.issuer, "carol");
        claims["jti"] = json!("token-1");
        for (name, value) in &self.claims {
            claims[*name] = match (*name, value.as_i64()) {
                ("auth_time", Some(ago)) => json!(i64::try_from(clock::now()).unwrap() - ago),
                _ => value.clone(),
            };
        }
        let (kind, grant, duration) = self.request;
        let fields = [("grant", grant), ("duration", duration)];
        let fields: Vec<_> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let query: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = query.join("&");
        let event = match kind {
            "list" => Event::get("/v1/grants"),
            "post" => {
                let number = |value: &str| value.parse::<u64>().map_or(json!(value), |number| json!(number));
                let body: Map<String, Value> =
                    fields.iter().map(|(name, value)| ((*name).to_owned(), number(value))).collect();
                Event::post("/v1/credentials").json(&Value::Object(body))
            }
            "path" => Event::get(&format!("/v1/credentials/{}", grant.unwrap_or("default"))),
            _ if query.is_empty() => Event::get("/v1/credentials"),
            _ => Event::get("/v1/credentials").query(&query),
        };
        event.bearer(&world.sign(&claims)).payload()
    }
}

/// One of these texts of JSON.
fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    select(values).prop_map(|text| serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}")))
}

fn case() -> impl Strategy<Value = Case> {
    let faults = prop_oneof![
        8 => Just(Vec::new()),
        1 => fault().prop_map(|fault| vec![fault]),
    ];
    let grants = select(&["default", "default", "default", "deploy"][..]);
    let principals = select(&["user/carol", "user/dave", "group/deployers", "group/devs", "everyone"][..]);
    let block = (principals.clone(), Just("#blocked"), Just(json!({})));
    let items = proptest::collection::vec((principals, grants, item()), 1..5);
    let items = (items, proptest::option::weighted(0.05, block)).prop_map(|(mut items, block)| {
        items.extend(block);
        items
    });
    let issuers = select(&["corp", "corp", "corp", "named", "once", "ends"][..]);
    (issuers, caller(), items, request(), faults).prop_map(|(issuer, claims, items, request, faults)| Case {
        issuer,
        claims,
        items,
        request,
        faults,
    })
}

fn fault() -> impl Strategy<Value = (Service, Trouble)> {
    let troubles = [
        Trouble::ResetsOnce,
        Trouble::FailsOnce,
        Trouble::Fails,
        Trouble::Throttles,
        Trouble::Denies,
        Trouble::RefusesPolicy,
    ];
    (select(&[Service::DynamoDb, Service::Sts][..]), select(troubles.to_vec()))
}

fn request() -> impl Strategy<Value = (&'static str, Option<&'static str>, Option<&'static str>)> {
    let grant = prop_oneof![
        6 => Just(None),
        4 => select(&["default", "deploy"][..]).prop_map(Some),
        1 => select(&["other", "Bad!", ""][..]).prop_map(Some),
    ];
    let duration = prop_oneof![
        6 => Just(None),
        4 => select(&["900", "1800", "3600", "7200"][..]).prop_map(Some),
        1 => select(&["899", "43200", "129601", "x", "-1", "1e3"][..]).prop_map(Some),
    ];
    (select(&["get", "get", "get", "post", "path", "list"][..]), grant, duration)
}

/// Some claims changed.
fn caller() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let claim = |weight: f64, name: &'static str, values: &'static [&'static str]| {
        proptest::option::weighted(weight, one_of(values).prop_map(move |value| (name, value)))
    };
    [
        claim(0.2, "sub", &[r#""dave""#, r#""émile@x""#, r#""00u1/x y""#]).boxed(),
        claim(0.4, "groups", &[r#"["deployers", "devs"]"#, r#"["devs", "devs"]"#, "[]", r#""devs""#]).boxed(),
        claim(0.04, "groups", &["null", "7", r#"["devs", 7]"#, r#"["", "devs"]"#]).boxed(),
        claim(0.5, "realm", &[r#"{"roles": ["deployers"]}"#, r#"{"roles": 7}"#, "{}", "[]"]).boxed(),
        claim(0.5, "amr", &[r#"["mfa"]"#, r#"["pwd", "mfa", "hwk"]"#]).boxed(),
        claim(0.03, "amr", &[r#""mfa""#, "7"]).boxed(),
        claim(0.5, "acr", &[r#""gold""#, r#""silver""#, "1"]).boxed(),
        claim(0.5, "auth_time", &["5", "5", "600", "100000", r#""now""#]).boxed(),
        claim(0.7, "department", &[r#""sales""#, r#""sales""#, r#""a b""#, r#""*""#, "7", r#"["sales"]"#]).boxed(),
        claim(0.7, "tenant", &[r#""one""#, r#""one""#, r#""one""#, r#""three""#, r#"["two"]"#, "true"]).boxed(),
        claim(0.8, "login", &[r#""carol.jones""#, r#""c""#, r#""Carol""#, r#""x-aaaaaaaaaaaa""#, r#""a/b""#]).boxed(),
        claim(0.4, "email_verified", &["true", "false"]).boxed(),
        claim(0.05, "jti", &[r#""""#, r#""token-2""#, "null"]).boxed(),
        claim(0.1, "aud", &[r#"["hallpass", "x"]"#]).boxed(),
        claim(0.02, "aud", &[r#""x""#, "null"]).boxed(),
        claim(0.02, "cnf", &[r#"{"jkt": "x"}"#]).boxed(),
    ]
    .to_vec()
    .prop_map(|claims| claims.into_iter().flatten().collect())
}

fn item() -> impl Strategy<Value = Value> {
    // Mostly well-formed, or nearly everything would be refused for its items.
    let attribute = |name: &'static str, weight: f64, values: &'static [&'static str]| {
        proptest::option::weighted(weight, one_of(values).prop_map(move |value| (name, value))).boxed()
    };
    let attributes = vec![
        proptest::option::weighted(0.8, policies().prop_map(|policy| ("policy", policy))).boxed(),
        attribute(
            "policy_arns",
            0.15,
            &[
                r#"["arn:aws:iam::aws:policy/ReadOnlyAccess"]"#,
                r#"["arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/x"]"#,
            ],
        ),
        attribute("policy_arns", 0.01, &["[]", r#"["x"]"#]),
        attribute("max_duration", 0.3, &["3600", "7200", "43200", "129600", "900"]),
        attribute("duration", 0.2, &["900", "3600", "7200"]),
        attribute("duration", 0.01, &["899", "129601", r#""3600""#, "1.5"]),
        attribute(
            "tags",
            0.2,
            &[
                r#"{"team": "${jwt:/department}"}"#,
                r#"{"team": "shop"}"#,
                r#"{"Team": "shop"}"#,
                r#"{"who": "${session:name}"}"#,
            ],
        ),
        attribute("tags", 0.01, &[r#"{"aws:x": "y"}"#, r#"{"a": "<"}"#, "7"]),
        attribute(
            "require",
            0.25,
            &[
                r#"{"amr": ["mfa"]}"#,
                r#"{"amr": ["mfa", "hwk"], "max_age": 900}"#,
                r#"{"acr": ["gold", "silver"]}"#,
                r#"{"acr": ["gold"]}"#,
                r#"{"max_age": 60}"#,
                r#"{"claims": {"/department": ["sales"]}}"#,
                r#"{"claims": {"/tenant": ["one"], "/email_verified": [true]}}"#,
            ],
        ),
        attribute("require", 0.01, &[r#"{"acr": []}"#, r#"{"other": 1}"#, "7"]),
        attribute("pin_source_ip", 0.15, &["true", "false"]),
        attribute("not_before", 0.1, &["-1000", "1000"]),
        attribute("not_after", 0.1, &["-1000", "600", "2000", "100000"]),
        attribute("enabled", 0.1, &["true", "true", "false"]),
        attribute("allow_iam", 0.1, &["true", "false"]),
        attribute("description", 0.2, &[r#""what it is for""#, r#""""#]),
        attribute("revision", 0.2, &[r#""7-0123456789abcdef""#]),
        attribute("pin_source_ip", 0.01, &[r#""true""#]),
        attribute("description", 0.01, &["7"]),
        attribute("revision", 0.01, &["7"]),
        attribute("unknown", 0.01, &["1"]),
    ];
    attributes.prop_map(|attributes| {
        let attributes = attributes.into_iter().flatten();
        attributes.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
    })
}

/// A session policy, as a map or as text.
fn policies() -> impl Strategy<Value = Value> {
    let version = prop_oneof![
        18 => Just(Some(json!("2012-10-17"))),
        1 => Just(Some(json!("2008-10-17"))),
        1 => Just(None),
    ];
    let odd = one_of(&[r#""{""#, r#""[]""#, "{}", "7", r#"{"Version": "2012-10-17"}"#, r#"{"Statement": [], "x": 1}"#]);
    let statements = proptest::collection::vec(statements(), 1..4);
    let sound = (version, statements, any::<bool>()).prop_map(|(version, statements, is_text)| {
        let mut policy = json!({ "Statement": statements });
        if let Some(version) = version {
            policy["Version"] = version;
        }
        if is_text { json!(policy.to_string()) } else { policy }
    });
    prop_oneof![50 => sound, 1 => odd]
}

fn statements() -> impl Strategy<Value = Value> {
    let effect = one_of(&[r#""Allow""#, r#""Allow""#, r#""Deny""#]);
    let actions = one_of(&[
        r#""s3:GetObject""#,
        r#"["s3:GetObject", "s3:PutObject"]"#,
        r#"["s3:*"]"#,
        r#""*""#,
        r#"["S3:getobject"]"#,
        r#"["sts:AssumeRole"]"#,
        r#"["dynamodb:GetItem", "dynamodb:GetItem"]"#,
        r#"["ec2:Describe*"]"#,
    ]);
    let resources = one_of(&[
        r#""*""#,
        r#"["arn:aws:s3:::b/*"]"#,
        r#"["arn:aws:s3:::b/*", "arn:aws:s3:::c"]"#,
        r#"["arn:aws:s3:::b/${jwt:/sub}/*"]"#,
        r#""arn:aws:s3:::b/${session:name}/*""#,
        r#"["arn:aws:s3:::b/${aws:username}"]"#,
        r#"["arn:aws:s3:::b/${jwt:/department}"]"#,
        r#"["arn:aws:s3:::émile/*"]"#,
    ]);
    let conditions = one_of(&[
        r#"{"StringEquals": {"aws:PrincipalTag/team": "${jwt:/department}"}}"#,
        r#"{"Bool": {"aws:SecureTransport": true}}"#,
        r#"{"NumericLessThan": {"s3:max-keys": 10}}"#,
        r#"{"IpAddress": {"aws:SourceIp": ["203.0.113.0/24"]}}"#,
        r#"{"StringLike": {"s3:prefix": ["${session:name}/*", ""]}}"#,
        r#"{"Null": {"aws:TokenIssueTime": "false"}}"#,
    ]);
    let spoils = one_of(&[
        r#"{"Principal": "*"}"#,
        r#"{"Effect": "allow"}"#,
        r#"{"Resource": ["arn:aws:s3:::b/${jwt:/sub"]}"#,
        r#"{"Resource": ["s3:::b"]}"#,
        r#"{"Action": ["GetObject"]}"#,
        r#"{"Action": []}"#,
        r#"{"Action": ["iam:PassRole"]}"#,
        r#"{"NotResource": ["*"]}"#,
        r#"{"Condition": {"StringEqual": {"a:b": "c"}}}"#,
        r#"{"Condition": {"Bool": {"aws:SecureTransport": "maybe"}}}"#,
        r#"{"x": 1}"#,
    ]);
    let sid = proptest::option::weighted(0.2, one_of(&[r#""One""#, r#""""#]));
    let negated = (proptest::bool::weighted(0.1), proptest::bool::weighted(0.1));
    let conditions = proptest::option::weighted(0.3, conditions);
    let spoils = proptest::option::weighted(0.02, spoils);
    (effect, actions, resources, conditions, sid, negated, spoils).prop_map(
        |(effect, actions, resources, condition, sid, (not_action, not_resource), spoil)| {
            let mut statement = Map::from_iter([("Effect".to_owned(), effect)]);
            statement.insert(if not_action { "NotAction" } else { "Action" }.to_owned(), actions);
            statement.insert(if not_resource { "NotResource" } else { "Resource" }.to_owned(), resources);
            statement.extend(condition.map(|condition| ("Condition".to_owned(), condition)));
            statement.extend(sid.map(|sid| ("Sid".to_owned(), sid)));
            statement.extend(spoil.iter().flat_map(|spoil| spoil.as_object().unwrap().clone()));
            Value::Object(statement)
        },
    )
}
