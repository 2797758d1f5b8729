//! Whose token is accepted: each refusal starts from carol's and breaks one thing.

use serde_json::{Value, json};

use crate::support::clock;
use crate::support::events::Event;
use crate::support::function::Function;
use crate::support::signer::TestKey;
use crate::support::world::{World, sign_with};

#[tokio::test]
async fn a_token_with_a_claim_missing_or_wrong_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let now = clock::now();
    let issuer = world.provider.issuer();
    for (claim, value) in [
        ("iss", json!(null)),
        ("iss", json!("https://login.example.net")),
        ("iss", json!([issuer])),
        ("iss", json!(format!("{issuer}/"))),
        ("aud", json!(null)),
        ("aud", json!("")),
        ("aud", json!("hallpass2")),
        ("aud", json!("HALLPASS")),
        ("aud", json!([])),
        ("aud", json!(["hallpass2"])),
        ("aud", json!(["hallpass", 7])),
        ("aud", json!({"hallpass": true})),
        ("exp", json!(null)),
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(true)),
        ("exp", json!(now - 31)),
        ("exp", json!(1e18)),
        ("exp", json!(-1)),
        ("exp", json!(now + 86_500)),
        ("iat", json!(null)),
        ("iat", json!(now.to_string())),
        ("iat", json!(now + 45)),
        ("iat", json!(now + 600)),
        ("iat", json!(now - 90_000)),
        ("nbf", json!(now + 45)),
        ("nbf", json!(now.to_string())),
        ("nbf", json!({})),
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!(["carol"])),
        ("sub", json!("c".repeat(256))),
        ("sub", json!("carol\n")),
        ("sub", json!("carol\u{0}")),
        ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
    ] {
        refused(&function, &world.sign(&world.claims_with(claim, value.clone())), &format!("{claim} {value}")).await;
    }
    for claim in ["iss", "aud", "exp", "iat", "sub"] {
        let mut claims = world.claims();
        claims.as_object_mut().unwrap().remove(claim);
        refused(&function, &world.sign(&claims), &format!("no {claim}")).await;
    }
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn a_token_at_the_edge_of_the_rules_is_accepted() {
    let world = World::new().await;
    let function = world.start().await;
    let now = clock::now();
    for (claim, value) in [
        ("aud", json!(["another", "hallpass"])),
        ("exp", json!(now - 15)),
        ("exp", json!(f64::from(u32::try_from(now).unwrap()) + 600.5)),
        ("iat", json!(now + 15)),
        ("nbf", json!(now + 15)),
        ("azp", json!("some-app")),
        ("groups", json!("deployers")),
        ("groups", json!([])),
    ] {
        let mut claims = world.claims_with(claim, value.clone());
        if claims["exp"].as_f64() <= claims["iat"].as_f64() {
            claims["iat"] = json!(now - 600);
        }
        let answer = function.call(world.request_with(&claims)).await;
        assert_eq!(answer.status, 200, "{claim} {value}: {answer:?}");
    }
}

#[tokio::test]
async fn every_algorithm_that_is_configured_verifies() {
    let mut world = World::new().await;
    let (rsa, p256, p384, ed25519) =
        (TestKey::rsa("rsa"), TestKey::p256("p256"), TestKey::p384("p384"), TestKey::ed25519("ed25519"));
    world.provider.publish(&[&rsa, &p256, &p384, &ed25519]);
    let signers = [
        (&rsa, "RS256"),
        (&rsa, "RS384"),
        (&rsa, "RS512"),
        (&rsa, "PS256"),
        (&rsa, "PS384"),
        (&rsa, "PS512"),
        (&p256, "ES256"),
        (&p384, "ES384"),
        (&ed25519, "EdDSA"),
    ];
    let mut issuer = world.issuer();
    issuer["algorithms"] = json!(signers.map(|(_, alg)| alg));
    world.trust(&[issuer]);
    let function = world.start().await;
    for (key, alg) in signers {
        let token = sign_with(key, alg, &world.claims());
        let answer = function.call(Event::get("/v1/credentials").bearer(&token)).await;
        assert_eq!(answer.status, 200, "{alg}: {answer:?}");
    }
}

#[tokio::test]
async fn an_issuers_own_terms_are_held() {
    for (term, value, good, bad) in [
        ("audience_claim", json!("/client_id"), json!({"client_id": "hallpass"}), json!({"client_id": "another"})),
        ("authorized_parties", json!(["app"]), json!({"azp": "app"}), json!({"azp": "another", "client_id": "app"})),
        ("authorized_parties", json!(["app"]), json!({"client_id": "app"}), json!({})),
        (
            "required_claims",
            json!({"/hd": ["example.com"]}),
            json!({"hd": "example.com"}),
            json!({"hd": ["example.com"]}),
        ),
        (
            "required_claims",
            json!({"/email_verified": [true]}),
            json!({"email_verified": true}),
            json!({"email_verified": "true"}),
        ),
        ("subject_claim", json!("/oid"), json!({"oid": "carol", "sub": "x"}), json!({"oid": null})),
        ("groups_claim", json!("/realm_access/roles"), json!({"realm_access": {"roles": ["a"]}}), json!({"sub": ""})),
        ("max_token_lifetime", json!(700), json!({}), json!({"exp": clock::now() + 900})),
    ] {
        let mut world = World::new().await;
        let mut issuer = world.issuer();
        issuer[term] = value.clone();
        world.trust(&[issuer]);
        let function = world.start().await;
        let with = |changes: &Value| {
            let mut claims = world.claims();
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            world.sign(&claims)
        };
        let answer = function.call(Event::get("/v1/credentials").bearer(&with(&good))).await;
        assert_eq!(answer.status, 200, "{term} {value} {good}: {answer:?}");
        refused(&function, &with(&bad), &format!("{term} {value} {bad}")).await;
    }
}

#[tokio::test]
async fn a_configured_token_type_is_the_only_one() {
    let mut world = World::new().await;
    let mut issuer = world.issuer();
    issuer["token_type"] = json!("at+jwt");
    world.trust(&[issuer]);
    let function = world.start().await;
    let typed =
        |typ: Value| world.key.sign(&json!({"alg": "ES256", "kid": world.key.kid(), "typ": typ}), &world.claims());
    function.call(Event::get("/v1/credentials").bearer(&typed(json!("at+jwt")))).await.credentials();
    refused(&function, &typed(json!("JWT")), "another type").await;
    refused(&function, &typed(json!(null)), "no type").await;
}

#[tokio::test]
async fn a_token_with_a_header_that_asks_for_trust_is_refused() {
    let mut world = World::new().await;
    let attacker = TestKey::p256(world.key.kid());
    let (p384, rsa) = (TestKey::p384("key-384"), TestKey::rsa("key-rsa"));
    world.provider.publish(&[&world.key, &p384, &rsa]);
    world.trust(&[world.issuer()]);
    let function = world.start().await;
    let claims = world.claims();
    let header = json!({"alg": "ES256", "kid": world.key.kid()});
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let elsewhere = format!("{}/stolen", world.provider.issuer());
    for (what, token) in [
        ("alg none", world.key.sign(&with("alg", json!("none")), &claims)),
        ("alg of the public key's bytes", world.key.sign(&with("alg", json!("HS256")), &claims)),
        ("alg not configured", sign_with(&p384, "ES384", &claims)),
        ("alg PS256 not configured", sign_with(&rsa, "PS256", &claims)),
        ("alg of another key type", signed_as(&rsa, "RS256", &json!({"alg": "ES256", "kid": rsa.kid()}), &claims)),
        ("kid of another key", world.key.sign(&with("kid", json!(rsa.kid())), &claims)),
        ("kid unknown", world.key.sign(&with("kid", json!("key-9")), &claims)),
        ("kid a number", world.key.sign(&with("kid", json!(1)), &claims)),
        ("no kid among several keys", world.key.sign(&json!({"alg": "ES256"}), &claims)),
        ("another's signature", attacker.sign(&header, &claims)),
        ("another's signature and key", attacker.sign(&with("jwk", attacker.jwk()), &claims)),
        ("another's signature and jku", attacker.sign(&with("jku", json!(elsewhere)), &claims)),
        ("another's signature and x5u", attacker.sign(&with("x5u", json!(elsewhere)), &claims)),
        ("crit", world.key.sign(&with("crit", json!(["exp"])), &claims)),
        ("crit, empty", world.key.sign(&with("crit", json!([])), &claims)),
        ("typ of a logout token", world.key.sign(&with("typ", json!("logout+jwt")), &claims)),
        ("typ of a proof", world.key.sign(&with("typ", json!("dpop+jwt")), &claims)),
        ("typ a number", world.key.sign(&with("typ", json!(1)), &claims)),
    ] {
        refused(&function, &token, what).await;
    }
    assert!(world.provider.server.calls().iter().all(|call| !call.path.contains("stolen")), "a header was followed");
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let token = world.key.sign(&with("typ", json!(typ)), &claims);
        function.call(Event::get("/v1/credentials").bearer(&token)).await.credentials();
    }
    let token = sign_with(&rsa, "RS256", &claims);
    function.call(Event::get("/v1/credentials").bearer(&token)).await.credentials();
}

#[tokio::test]
async fn a_token_that_is_written_oddly_is_refused() {
    let world = World::new().await;
    let function = world.start().await;
    let header = json!({"alg": "ES256", "kid": world.key.kid()}).to_string();
    let claims = world.claims().to_string();
    let signed = |header: &[u8], claims: &[u8]| world.key.sign_bytes("ES256", header, claims);
    let with_member = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let nested = |depth: usize| format!("\"x\":{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let token = world.token();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = input.split_once('.').unwrap();
    let mut broken_utf8 = with_member(&claims, "\"x\":\"?\"").into_bytes();
    let at = broken_utf8.iter().position(|byte| *byte == b'?').unwrap();
    broken_utf8[at] = 0xff;
    for (what, token) in [
        ("a member twice", signed(header.as_bytes(), with_member(&claims, "\"sub\":\"mallory\"").as_bytes())),
        (
            "a nested member twice",
            signed(header.as_bytes(), with_member(&claims, "\"x\":{\"y\":1,\"y\":1}").as_bytes()),
        ),
        ("a header member twice", signed(with_member(&header, "\"alg\":\"ES256\"").as_bytes(), claims.as_bytes())),
        ("nested too deep", signed(header.as_bytes(), with_member(&claims, &nested(65)).as_bytes())),
        ("a byte order mark", signed(header.as_bytes(), format!("\u{feff}{claims}").as_bytes())),
        ("no UTF-8", signed(header.as_bytes(), &broken_utf8)),
        ("claims that are a list", signed(header.as_bytes(), b"[]")),
        ("text after the claims", signed(header.as_bytes(), format!("{claims}{{}}").as_bytes())),
        ("no signature", format!("{input}.")),
        ("two parts", input.to_owned()),
        ("four parts", format!("{token}.{signature}")),
        ("padding", format!("{token}==")),
        ("a space", format!("{head}. {body}.{signature}")),
        ("plain base64", format!("{input}+/{signature}")),
        ("another signature for the same bytes", format!("{input}.{}", respell(signature))),
        ("a changed signature", format!("{input}.{}", signature.chars().rev().collect::<String>())),
        ("nothing in it", "..".to_owned()),
        ("no token", "carol".to_owned()),
        ("too long", world.sign(&world.claims_with("x", "x".repeat(8_000)))),
    ] {
        refused(&function, &token, what).await;
    }
    let deepest = signed(header.as_bytes(), with_member(&claims, &nested(64)).as_bytes());
    function.call(Event::get("/v1/credentials").bearer(&deepest)).await.credentials();
    let longest = world.sign(&world.claims_with("x", "x".repeat(7_000)));
    function.call(Event::get("/v1/credentials").bearer(&longest)).await.credentials();
}

#[tokio::test]
async fn groups_that_cannot_be_known_are_a_refusal_of_their_own() {
    let mut world = World::new().await;
    let mut strict = world.issuer();
    strict["groups_required"] = json!(true);
    let function = world.start().await;
    let many = |count: usize| json!((0..count).map(|number| format!("g{number}")).collect::<Vec<_>>());
    for (claim, value) in [
        ("groups", json!(null)),
        ("groups", json!(7)),
        ("groups", json!({"deployers": true})),
        ("groups", json!("")),
        ("groups", json!(["deployers", null])),
        ("groups", json!(["deployers", ""])),
        ("groups", json!(["deployers", "a\tb"])),
        ("groups", json!(["deployers", "g".repeat(256)])),
        ("groups", many(201)),
        ("_claim_names", json!({"groups": "src1"})),
        ("hasgroups", json!(true)),
    ] {
        let answer = function.call(world.request_with(&world.claims_with(claim, value.clone()))).await;
        assert_eq!(answer.status, 403, "{claim} {value}: {answer:?}");
        answer.refusal(403, "groups_unavailable");
    }
    let twice = json!((0..400).map(|number| format!("g{}", number % 200)).collect::<Vec<_>>());
    function.call(world.request_with(&world.claims_with("groups", twice))).await.credentials();

    let mut claims = world.claims();
    claims.as_object_mut().unwrap().remove("groups");
    function.call(world.request_with(&claims)).await.credentials();
    world.trust(&[strict]);
    let function = world.start().await;
    function.call(world.request_with(&claims)).await.refusal(403, "groups_unavailable");
    function.call(world.request()).await.credentials();
}

#[tokio::test]
async fn a_refusal_names_what_is_wrong_only_once_the_signature_holds() {
    let world = World::new().await;
    let function = world.start().await;
    let attacker = TestKey::p256(world.key.kid());
    let expired = world.claims_with("exp", clock::now() - 100);
    let forged = [expired.clone(), world.claims(), world.claims_with("aud", "another")];
    let mut told = Vec::new();
    for claims in forged {
        let request = Event::get("/v1/credentials").bearer(&sign_with(&attacker, "ES256", &claims));
        told.push(function.call(request).await.refusal(401, "invalid_token"));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "a forger learns what would match: {told:?}");
    let message = function.call(world.request_with(&expired)).await.refusal(401, "invalid_token");
    assert!(message.contains("expired") || message.contains("iat") || message.contains("exp"), "{message}");
    assert_ne!([message], [told.remove(0)]);
}

async fn refused(function: &Function, token: &str, what: &str) {
    let answer = function.call(Event::get("/v1/credentials").bearer(token)).await;
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    answer.refusal(401, "invalid_token");
}

/// A token whose header is not about the algorithm that signed it.
fn signed_as(key: &TestKey, alg: &str, header: &Value, claims: &Value) -> String {
    key.sign_bytes(alg, header.to_string().as_bytes(), claims.to_string().as_bytes())
}

/// The same 64 bytes in base64url that is not canonical: the last character's four unused bits are set.
fn respell(signature: &str) -> String {
    let (rest, last) = signature.split_at(signature.len() - 1);
    let respelt = match last {
        "A" => 'P',
        "Q" => 'f',
        "g" => 'v',
        _ => '_',
    };
    format!("{rest}{respelt}")
}
