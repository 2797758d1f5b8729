//! Which keys verify, and when they are fetched.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use serde_json::{Value, json};

use hallpass_testing::answer::Answer;
use hallpass_testing::clock;
use hallpass_testing::events::Event;
use hallpass_testing::function::Function;
use hallpass_testing::provider::Provider;
use hallpass_testing::server::{Fault, Reply};
use hallpass_testing::signer::{TestKey, valid_claims};
use hallpass_testing::world::{World, sign_with};

/// The longest wait for another fetch: 30 s after an unknown key, and a margin.
const COOLDOWN: Duration = Duration::from_secs(33);

/// DESIGN's 1.5 s for a whole request and a margin for a busy machine: botocore gives up at 2 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_key_that_the_provider_has_rotated_in_is_found() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let next = TestKey::p256("key-2");
    world.provider.publish(&[&world.key, &next]);
    let request = Event::get("/v1/credentials").bearer(&sign_with(&next, "ES256", &world.claims()));
    until_served(&function, &request).await.credentials();
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn unknown_keys_cost_the_provider_at_most_one_fetch() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let fetched = world.provider.key_fetches();
    for number in 0..10 {
        let stranger = TestKey::p256(&format!("stranger-{number}"));
        let request = Event::get("/v1/credentials").bearer(&sign_with(&stranger, "ES256", &world.claims()));
        function.call(request).await.refusal(401, "invalid_token");
    }
    assert!(world.provider.key_fetches() <= fetched + 1, "{} fetches", world.provider.key_fetches() - fetched);
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn keys_are_fetched_once_for_many_requests() {
    let world = World::new().await;
    let function = world.start().await;
    for _ in 0..5 {
        function.call(world.request()).await.credentials();
    }
    assert_eq!(world.provider.key_fetches(), 1);
}

#[tokio::test]
async fn a_key_of_one_issuer_never_verifies_anothers_token() {
    let mut world = World::new().await;
    let theirs = TestKey::p256(world.key.kid());
    let partner = Provider::start(&[&theirs]).await;
    let trusted = json!({"id": "partner", "issuer": partner.issuer(), "audiences": ["hallpass"]});
    world.trust(&[world.issuer(), trusted]);
    world.dynamodb.grant("partner/user/carol", "default", &json!({}));
    let function = world.start().await;
    let their_claims = valid_claims(&partner.issuer(), clock::now());
    for (key, claims) in [(&theirs, &world.claims()), (&world.key, &their_claims)] {
        let request = Event::get("/v1/credentials").bearer(&sign_with(key, "ES256", claims));
        function.call(request).await.refusal(401, "invalid_token");
    }
    for (key, claims) in [(&world.key, &world.claims()), (&theirs, &their_claims)] {
        let request = Event::get("/v1/credentials").bearer(&sign_with(key, "ES256", claims));
        function.call(request).await.credentials();
    }
    let names: Vec<String> = world.sts.mints().iter().map(|mint| mint.name().to_owned()).collect();
    assert_ne!(names[0], names[1], "two people share a name");
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_is_asked_again() {
    let world = World::new().await;
    world.provider.server.fail_always(&Fault::Resets);
    let function = world.start().await;
    function.call(world.request()).await.refusal(503, "identity_provider_unavailable");
    world.provider.server.heal();
    until_served(&function, &world.request()).await.credentials();
}

#[tokio::test]
async fn held_keys_serve_while_the_provider_is_down() {
    let world = World::new().await;
    let function = world.start().await;
    world.provider.server.fail_always(&Fault::Resets);
    let stranger = TestKey::p256("key-2");
    let request = Event::get("/v1/credentials").bearer(&sign_with(&stranger, "ES256", &world.claims()));
    function.call(request).await.refusal(401, "invalid_token");
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn held_keys_serve_while_the_providers_answers_break_off_or_never_end() {
    for fault in [Fault::Truncates, Fault::Drips, Fault::Hangs, Fault::Slow(Duration::from_millis(800))] {
        let world = World::new().await;
        let function = world.start().await;
        world.provider.server.fail_always(&fault);
        let stranger = TestKey::p256("key-2");
        let request = Event::get("/v1/credentials").bearer(&sign_with(&stranger, "ES256", &world.claims()));
        function.call(request).await.refusal(401, "invalid_token");
        function.call(world.request()).await.credentials();
    }
}

#[tokio::test]
async fn an_answer_without_usable_keys_never_replaces_good_ones() {
    for answer in ["", "{", "null", "{}", "[]", "{\"keys\":[]}", "{\"keys\":{}}", "{\"keys\":[{\"kty\":\"EC\"}]}"] {
        let world = World::new().await;
        let function = world.start().await;
        world.provider.publish_raw(answer);
        let stranger = TestKey::p256("key-2");
        let request = Event::get("/v1/credentials").bearer(&sign_with(&stranger, "ES256", &world.claims()));
        function.call(request).await.refusal(401, "invalid_token");
        function.call(world.request()).await.credentials();
    }
}

#[tokio::test]
async fn one_bad_key_does_not_spoil_the_set() {
    let world = World::new().await;
    let good = world.key.jwk();
    let other = TestKey::rsa("key-rsa");
    let mut odd = good.clone();
    odd["kid"] = json!("odd");
    odd["x"] = json!("AA");
    let keys =
        json!({"keys": [null, 7, {}, {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, odd, other.jwk(), good, good]});
    world.provider.publish_raw(keys.to_string());
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let request = Event::get("/v1/credentials").bearer(&sign_with(&other, "RS256", &world.claims()));
    function.call(request).await.credentials();
}

#[tokio::test]
async fn a_key_that_is_not_for_this_is_not_used() {
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("alg", json!("ES384")),
        ("alg", json!("ECDH-ES")),
        ("kid", json!(7)),
    ] {
        let world = World::new().await;
        let mut key = world.key.jwk();
        key[member] = value.clone();
        world.provider.publish_raw(json!({"keys": [key, TestKey::p256("key-2").jwk()]}).to_string());
        let function = world.start().await;
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 401, "{member} {value}: {answer:?}");
    }
}

#[tokio::test]
async fn a_short_rsa_key_is_not_used() {
    let world = World::new().await;
    let (short, long) = (TestKey::rsa_bits("short", 1024), TestKey::rsa_bits("long", 2048));
    world.provider.publish(&[&short, &long]);
    let function = world.start().await;
    let request = |key| Event::get("/v1/credentials").bearer(&sign_with(key, "RS256", &world.claims()));
    function.call(request(&short)).await.refusal(401, "invalid_token");
    function.call(request(&long)).await.credentials();
}

#[tokio::test]
async fn a_key_set_that_is_served_only_by_its_own_media_type_is_read() {
    for (discovery, keys) in [
        ("application/json", "application/jwk-set+json"),
        ("application/json", "application/json"),
        ("application/jwk-set+json", "application/jwk-set+json"),
    ] {
        let world = World::new().await;
        world.provider.serve_discovery_only_as(discovery);
        world.provider.serve_keys_only_as(keys);
        let function = world.start().await;
        function.call(world.request()).await.credentials();
    }
    let world = World::new().await;
    world.provider.serve_keys_only_as("application/xml");
    let function = world.start().await;
    function.call(world.request()).await.refusal(503, "identity_provider_unavailable");
}

#[tokio::test]
async fn a_provider_that_takes_0_6_s_for_each_document_serves() {
    let world = World::new().await;
    world.provider.server.fail_always(&Fault::Slow(Duration::from_millis(600)));
    let function = world.start().await;
    // The start and the first request together may have waited long enough already.
    let first = function.call(world.request()).await;
    assert!([200, 503].contains(&first.status), "{first:?}");
    function.call(world.request()).await.credentials();
    assert_eq!(world.provider.key_fetches(), 1);
}

#[tokio::test]
async fn a_request_waits_a_second_for_keys_and_the_next_one_is_served() {
    let world = World::new().await;
    world.provider.server.fail_times(1, &Fault::KeepsAnswer);
    let function = world.start().await;
    for _ in 0..2 {
        let answer = function.call(world.request()).await;
        answer.refusal(503, "identity_provider_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.took < ANSWERED_WITHIN, "{answer:?}");
    }
    world.provider.server.release();
    function.call(world.request()).await.credentials();
    assert_eq!(world.provider.server.calls().len(), 2, "one fetch of two documents");
}

#[tokio::test]
async fn a_new_key_that_comes_slowly_serves_the_next_request() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let next = TestKey::p256("key-2");
    world.provider.publish(&[&world.key, &next]);
    world.provider.server.fail_times(1, &Fault::KeepsAnswer);
    let request = || Event::get("/v1/credentials").bearer(&sign_with(&next, "ES256", &world.claims()));
    let answer = function.call(request()).await;
    answer.refusal(401, "invalid_token");
    assert!(answer.took < ANSWERED_WITHIN, "{answer:?}");
    // Those with a key that is held do not wait.
    let answer = function.call(world.request()).await;
    answer.credentials();
    assert!(answer.took < Duration::from_millis(900), "{answer:?}");
    world.provider.server.release();
    function.call(request()).await.credentials();
    assert_eq!(world.provider.key_fetches(), 2);
}

#[tokio::test]
async fn an_answer_that_comes_while_the_function_is_frozen_is_not_lost() {
    let world = World::new().await;
    // The key set is late, and no later fetch ever ends.
    world.provider.server.fail_call(1, &Fault::KeepsAnswer);
    for call in 2..20 {
        world.provider.server.fail_call(call, &Fault::Hangs);
    }
    let function = world.start().await;
    function.call(world.request()).await.refusal(503, "identity_provider_unavailable");
    function.signal("STOP");
    world.provider.server.release();
    // Longer than any fetch may take.
    tokio::time::sleep(Duration::from_secs(8)).await;
    function.signal("CONT");
    until_served(&function, &world.request()).await.credentials();
    assert_eq!(world.provider.key_fetches(), 1);
}

#[tokio::test]
async fn both_documents_come_over_one_connection_which_is_not_kept() {
    let world = World::new().await;
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert_eq!((world.provider.server.calls().len(), world.provider.server.opened()), (2, 1));
    // An idle one would be dead when the function wakes.
    world.provider.server.all_closed().await;
}

#[tokio::test]
async fn one_key_listed_for_several_algorithms_verifies_by_each_of_them() {
    let mut world = World::new().await;
    world.trust_with(&json!({"algorithms": ["RS256", "RS384", "PS256", "PS384", "ES256"]}));
    let key = TestKey::rsa("k");
    let listed = ["RS256", "RS384", "PS256"].map(|alg| with(key.jwk(), "alg", alg));
    world.provider.publish_raw(json!({ "keys": listed }).to_string());
    let function = world.start().await;
    let request = |alg: &str| Event::get("/v1/credentials").bearer(&sign_with(&key, alg, &world.claims()));
    for alg in ["RS256", "RS384", "PS256"] {
        function.call(request(alg)).await.credentials();
        let nameless = key.sign(&json!({ "alg": alg }), &world.claims());
        function.call(Event::get("/v1/credentials").bearer(&nameless)).await.credentials();
    }
    function.call(request("PS384")).await.refusal(401, "invalid_token");
}

#[tokio::test]
async fn one_id_may_name_a_key_of_each_type() {
    let world = World::new().await;
    let rsa = TestKey::rsa(world.key.kid());
    world.provider.publish(&[&rsa, &world.key]);
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let request = |key, alg| Event::get("/v1/credentials").bearer(&sign_with(key, alg, &world.claims()));
    function.call(request(&rsa, "RS256")).await.credentials();
    // Whatever the header says, a key that is not published verifies nothing.
    let (twin, other) = (TestKey::p256(world.key.kid()), TestKey::rsa(world.key.kid()));
    for (key, alg) in [(&twin, "ES256"), (&other, "RS256")] {
        function.call(request(key, alg)).await.refusal(401, "invalid_token");
    }
    for key in [&rsa, &world.key] {
        let nameless = key.sign(&json!({"alg": key.usual_alg()}), &world.claims());
        function.call(Event::get("/v1/credentials").bearer(&nameless)).await.refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn two_keys_of_one_type_void_their_id_for_this_type_alone() {
    let world = World::new().await;
    let (twin, rsa) = (TestKey::p256(world.key.kid()), TestKey::rsa(world.key.kid()));
    world.provider.publish(&[&world.key, &rsa, &twin]);
    let function = world.start().await;
    let request = |key, alg| Event::get("/v1/credentials").bearer(&sign_with(key, alg, &world.claims()));
    for key in [&world.key, &twin] {
        function.call(request(key, "ES256")).await.refusal(401, "invalid_token");
    }
    function.call(request(&rsa, "RS256")).await.credentials();
}

#[tokio::test]
async fn coordinates_of_another_length_are_the_same_number() {
    let key = TestKey::p256_beginning_with_zero("k");
    let full = key.jwk()["x"].clone();
    let bytes = BASE64URL_NOPAD.decode(full.as_str().unwrap().as_bytes()).unwrap();
    let sign_byte = BASE64URL_NOPAD.encode(&[&[0], bytes.as_slice()].concat());
    let shifted = BASE64URL_NOPAD.encode(&[&bytes[1..], &[1, 1]].concat());
    for (x, status) in [
        (full, 200),
        (json!("VUOJSvPQDtfXQKvb11yWsGh3t4fbX3Dup4uQqNfACg"), 200),
        (json!(sign_byte), 200),
        (json!(shifted), 401),
        (json!(""), 401),
        (json!(BASE64URL_NOPAD.encode(&[0; 32])), 401),
    ] {
        let world = World::new().await;
        let keys = json!({"keys": [with(key.jwk(), "x", x.clone()), world.key.jwk()]});
        world.provider.publish_raw(keys.to_string());
        let function = world.start().await;
        let request = Event::get("/v1/credentials").bearer(&sign_with(&key, "ES256", &world.claims()));
        let answer = function.call(request).await;
        assert_eq!(answer.status, status, "{x}: {answer:?}");
        function.call(world.request()).await.credentials();
    }
}

#[tokio::test]
async fn key_sets_are_read_as_providers_write_them() {
    let key = TestKey::rsa("k");
    let n = BASE64URL_NOPAD.decode(key.jwk()["n"].as_str().unwrap().as_bytes()).unwrap();
    let set = |key: Value| json!({ "keys": [key] }).to_string();
    let null = ["alg", "use", "key_ops", "x5c", "x5t"].iter().fold(key.jwk(), |key, name| with(key, name, Value::Null));
    for (what, keys, status) in [
        ("padded base64url", set(with(key.jwk(), "n", BASE64URL.encode(&n))), 200),
        ("padded base64", set(with(key.jwk(), "n", BASE64.encode(&n))), 200),
        ("base64", set(with(key.jwk(), "n", BASE64_NOPAD.encode(&n))), 200),
        ("both alphabets", set(with(key.jwk(), "e", "-+AB")), 503),
        ("members that are null", set(null), 200),
        ("a modulus that is null", set(with(key.jwk(), "n", Value::Null)), 503),
        ("a byte order mark", format!("\u{feff}{}", set(key.jwk())), 200),
        ("two of them", format!("\u{feff}\u{feff}{}", set(key.jwk())), 503),
    ] {
        let world = World::new().await;
        world.provider.publish_raw(keys);
        let function = world.start().await;
        let request = Event::get("/v1/credentials").bearer(&sign_with(&key, "RS256", &world.claims()));
        let answer = function.call(request).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_before_discovery_means_nothing_and_before_a_token_it_is_malformed() {
    let world = World::new().await;
    let issuer = world.provider.issuer();
    let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "token_endpoint": null});
    world.provider.publish_raw_discovery(format!("\u{feff}{document}"));
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let header = json!({"alg": "ES256", "kid": world.key.kid()}).to_string();
    let claims = world.claims().to_string();
    for (header, claims) in [(format!("\u{feff}{header}"), claims.clone()), (header, format!("\u{feff}{claims}"))] {
        let token = world.key.sign_bytes("ES256", header.as_bytes(), claims.as_bytes());
        function.call(Event::get("/v1/credentials").bearer(&token)).await.refusal(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_key_that_is_left_out_is_logged_once_with_its_id_and_the_reason() {
    let world = World::new().await;
    let (short, twin) = (TestKey::rsa_bits("short", 1024), [TestKey::p256("twin"), TestKey::p256("twin")]);
    let keys = json!({"keys": [
        world.key.jwk(),
        short.jwk(),
        short.jwk(),
        twin[0].jwk(),
        twin[1].jwk(),
        with(TestKey::rsa("enc").jwk(), "use", "enc"),
        with(TestKey::p256("forged\nline").jwk(), "x", "AQ"),
        null,
    ]});
    world.provider.publish_raw(keys.to_string());
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    let stranger = TestKey::p256("stranger");
    let request = Event::get("/v1/credentials").bearer(&sign_with(&stranger, "ES256", &world.claims()));
    function.call(request).await.refusal(401, "invalid_token");
    assert_eq!(world.provider.key_fetches(), 2);

    let ended = function.end().await;
    let records = ended.records();
    let of_keys = records.iter().filter(|record| record["message"] == "a published key is not used");
    let logged: BTreeMap<&str, (&str, &str)> = of_keys
        .clone()
        .map(|record| {
            assert_eq!(record["issuer.id"], "corp");
            let text = |name: &str| record[name].as_str().unwrap_or_default();
            (text("kid"), (text("level"), text("reason")))
        })
        .collect();
    let expected = [
        ("short", ("WARN", "its RSA modulus does not have 2048 to 8192 bits")),
        ("twin", ("WARN", "another key of the same type has the same `kid`")),
        ("enc", ("INFO", "it is not for verifying signatures")),
        ("forged\\nline", ("WARN", "its `x` or `y` does not have the length of its curve")),
        ("", ("WARN", "it is not a JSON object")),
    ];
    assert_eq!(logged, BTreeMap::from(expected));
    assert_eq!(of_keys.count(), expected.len(), "each of them once");
    let modulus = short.jwk()["n"].as_str().unwrap().to_owned();
    assert!(!ended.log.contains(&modulus), "nothing else of a key is logged");
}

#[tokio::test]
async fn two_keys_under_one_id_void_that_id_alone() {
    let world = World::new().await;
    let (twin, single) = (TestKey::p256(world.key.kid()), TestKey::p256("key-2"));
    world.provider.publish(&[&world.key, &twin, &single]);
    let function = world.start().await;
    for key in [&world.key, &twin] {
        let request = Event::get("/v1/credentials").bearer(&sign_with(key, "ES256", &world.claims()));
        function.call(request).await.refusal(401, "invalid_token");
    }
    let request = Event::get("/v1/credentials").bearer(&sign_with(&single, "ES256", &world.claims()));
    function.call(request).await.credentials();
}

#[tokio::test]
async fn a_token_without_a_key_id_is_for_the_only_key() {
    let world = World::new().await;
    let function = world.start().await;
    let token = world.key.sign(&json!({"alg": "ES256"}), &world.claims());
    function.call(Event::get("/v1/credentials").bearer(&token)).await.credentials();
}

#[tokio::test]
async fn a_configured_key_set_needs_no_discovery() {
    let mut world = World::new().await;
    let mut issuer = world.issuer();
    issuer["jwks_uri"] = json!(format!("{}/keys", world.provider.issuer()));
    world.trust(&[issuer]);
    let function = world.start().await;
    function.call(world.request()).await.credentials();
    assert!(world.provider.server.calls().iter().all(|call| call.path == "/keys"));
}

#[tokio::test]
async fn an_issuer_that_ends_in_a_slash_keeps_it_in_its_tokens() {
    let mut world = World::new().await;
    let issuer = format!("{}/", world.provider.issuer());
    world.provider.publish_discovery(&json!({"issuer": issuer, "jwks_uri": format!("{issuer}keys")}));
    world.trust(&[json!({"id": "corp", "issuer": issuer, "audiences": ["hallpass"]})]);
    let function = world.start().await;
    function.call(world.request_with(&world.claims_with("iss", issuer))).await.credentials();
    function.call(world.request()).await.refusal(401, "invalid_token");
}

#[tokio::test]
async fn a_discovery_that_cannot_be_trusted_gives_no_keys() {
    let world = World::new().await;
    let issuer = world.provider.issuer();
    let keys = format!("{issuer}/keys");
    for discovery in [
        json!({"issuer": "https://login.example.net", "jwks_uri": keys}),
        json!({"issuer": format!("{issuer}/"), "jwks_uri": keys}),
        json!({"jwks_uri": keys}),
        json!({ "issuer": issuer }),
        json!({"issuer": issuer, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": issuer, "jwks_uri": "http://login.example.net/keys"}),
        json!([]),
    ] {
        world.provider.publish_discovery(&discovery);
        let function = world.start().await;
        let answer = function.call(world.request()).await;
        assert_eq!(answer.status, 503, "{discovery}: {answer:?}");
        answer.refusal(503, "identity_provider_unavailable");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::new().await;
    let elsewhere = Provider::start(&[&world.key]).await;
    let document = json!({"issuer": world.provider.issuer(), "jwks_uri": format!("{}/keys", elsewhere.issuer())});
    elsewhere.publish_discovery(&document);
    for status in [301, 302, 307, 308] {
        let location = format!("{}/.well-known/openid-configuration", elsewhere.issuer());
        let redirect = Reply::new(status, "text/plain", "").header("location", location);
        world.provider.server.fail_always(&Fault::Answers(redirect));
        let function = world.start().await;
        function.call(world.request()).await.refusal(503, "identity_provider_unavailable");
    }
    assert!(elsewhere.server.calls().is_empty());
}

#[tokio::test]
async fn a_key_set_without_end_is_not_read() {
    let world = World::new().await;
    let key = world.key.jwk();
    world.provider.publish_raw(json!({"keys": [key], "x": "x".repeat(256 * 1024)}).to_string());
    let function = world.start().await;
    function.call(world.request()).await.refusal(503, "identity_provider_unavailable");
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

/// The first good answer within the cooldown of fetches.
async fn until_served(function: &Function, request: &Event) -> Answer {
    let deadline = tokio::time::Instant::now() + COOLDOWN;
    loop {
        let answer = function.call(request.clone()).await;
        if answer.status == 200 || tokio::time::Instant::now() > deadline {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
