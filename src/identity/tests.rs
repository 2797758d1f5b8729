//! Can the verifier be fooled?
//!
//! Each case is one mutation of a token that is accepted. Every [`Refusal`] is reached by one, which is checked.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::signer::{TestKey, valid_claims};
use super::*;
use crate::problems::Problems;

const ISSUER: &str = "https://login.example.com";
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn issuer(more: &Value) -> Issuer {
    let mut entry = json!({"id": "corp", "issuer": ISSUER, "audiences": ["hallpass", "other-name"]});
    for (name, value) in more.as_object().unwrap() {
        entry[name] = value.clone();
    }
    let mut problems = Problems::default();
    let issuers = parse_issuers(&json!([entry]).to_string(), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    issuers.into_iter().next().unwrap()
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    valid_claims(ISSUER, NOW)
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn header(key: &TestKey) -> Value {
    json!({"alg": "ES256", "typ": "JWT", "kid": key.kid()})
}

fn header_with(key: &TestKey, name: &str, value: Value) -> Value {
    let mut header = header(key);
    header[name] = value;
    header
}

fn check(token: &str, issuer: &Issuer, keys: &KeySet) -> Result<Caller, Refusal> {
    verify(UnverifiedToken::parse(token)?, issuer, keys, now())
}

/// One issuer with its key, and a way to change one thing.
struct Desk {
    key: TestKey,
    issuer: Issuer,
    keys: KeySet,
}

impl Desk {
    fn new() -> Self {
        Self::with(&json!({}))
    }

    fn with(more: &Value) -> Self {
        let key = TestKey::p256("k1");
        let keys = key_set(&[key.jwk()]);
        Self { key, issuer: issuer(more), keys }
    }

    fn claims(&self, claims: &Value) -> Result<Caller, Refusal> {
        check(&self.key.sign(&header(&self.key), claims), &self.issuer, &self.keys)
    }

    fn header(&self, header: &Value) -> Result<Caller, Refusal> {
        check(
            &self.key.sign_bytes("ES256", header.to_string().as_bytes(), claims().to_string().as_bytes()),
            &self.issuer,
            &self.keys,
        )
    }

    fn raw(&self, header: &str, claims: &str) -> Result<Caller, Refusal> {
        check(&self.key.sign_bytes("ES256", header.as_bytes(), claims.as_bytes()), &self.issuer, &self.keys)
    }

    fn text(&self, token: &str) -> Result<Caller, Refusal> {
        check(token, &self.issuer, &self.keys)
    }

    fn valid(&self) -> String {
        self.key.sign(&header(&self.key), &claims())
    }
}

/// Every case: what it is, which rule it breaks, and what came of it.
#[expect(clippy::too_many_lines, reason = "a list, to be read as one")]
fn corpus() -> Vec<(&'static str, Refusal, Result<Caller, Refusal>)> {
    use Refusal::*;
    let desk = Desk::new();
    let key = &desk.key;
    let valid = desk.valid();
    let (head, rest) = valid.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let compact = claims().to_string();
    let plain = header(key).to_string();
    let flipped = {
        let mut bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        bytes[0] ^= 1;
        BASE64URL_NOPAD.encode(&bytes)
    };
    let required = Desk::with(&json!({"required_claims": {"/hd": ["example.com"], "/email_verified": [true]}}));
    let approved = |hd: Value, verified: Value| {
        let mut claims = with("hd", hd);
        claims["email_verified"] = verified;
        required.claims(&claims)
    };
    let parties = Desk::with(&json!({"authorized_parties": ["app-1"]}));
    let at_jwt = Desk::with(&json!({"token_type": "at+jwt"}));
    let nested = Desk::with(&json!({"groups_claim": "/realm_access/roles"}));
    let groups_required = Desk::with(&json!({"groups_required": true}));
    let deep = format!(r#"{{"a":{}1{},{}"#, "[".repeat(64), "]".repeat(64), compact.trim_start_matches('{'));
    let two_keys = key_set(&[TestKey::p256("k1").jwk(), TestKey::p256("k2").jwk()]);
    let no_kid = key.sign(&json!({"alg": "ES256"}), &claims());
    let rsa = TestKey::rsa("k1");
    let rsa_keys = key_set(&[rsa.jwk()]);
    let rsa_only_384 = {
        let mut jwk = rsa.jwk();
        jwk["alg"] = "RS384".into();
        key_set(&[jwk])
    };
    let rs256 = rsa.sign(&json!({"alg": "RS256", "kid": "k1"}), &claims());
    let everything = issuer(&json!({"algorithms": ["RS256", "PS256", "ES256", "ES384", "EdDSA"]}));
    let ps_named_rs = rsa.sign_bytes("PS256", br#"{"alg":"RS256","kid":"k1"}"#, compact.as_bytes());
    let many: Vec<String> = (0..201).map(|number| format!("group-{number}")).collect();
    let audience = |value: Value| desk.claims(&with("aud", value));
    let groups = |value: Value| desk.claims(&with("groups", value));
    vec![
        ("one byte more than 10,000", TooLong, desk.text(&"a".repeat(10_001))),
        ("two parts", NotCompactJws, desk.text(&format!("{head}.{body}"))),
        ("four parts", NotCompactJws, desk.text(&format!("{valid}."))),
        ("the five parts of a JWE", NotCompactJws, desk.text(&format!("{valid}.e30.e30"))),
        ("no text at all", NotCompactJws, desk.text("")),
        ("a comma between two tokens", NotCompactJws, desk.text(&format!("{valid}, {valid}"))),
        ("padding", NotBase64Url, desk.text(&format!("{head}.{body}.{signature}=="))),
        ("a character outside the alphabet", NotBase64Url, desk.text(&format!("{head}.{body}.+{signature}"))),
        ("white space", NotBase64Url, desk.text(&format!(" {valid}"))),
        ("a line end behind", NotBase64Url, desk.text(&format!("{valid}\n"))),
        // `e30` is {}: of the last character two bits are spare, and set here.
        ("spare bits that are set", NotBase64Url, desk.text(&format!("e31.{body}.{signature}"))),
        ("a header that is no JSON", HeaderMalformed, desk.raw("{", &compact)),
        ("a header that is a list", HeaderMalformed, desk.raw("[]", &compact)),
        ("a byte order mark", HeaderMalformed, desk.raw(&format!("\u{feff}{plain}"), &compact)),
        ("two `alg`", HeaderMalformed, desk.raw(r#"{"alg":"none","alg":"ES256","kid":"k1"}"#, &compact)),
        ("two `alg`, one escaped", HeaderMalformed, desk.raw(r#"{"alg":"ES256","\u0061lg":"ES256"}"#, &compact)),
        ("claims that are no JSON", ClaimsMalformed, desk.raw(&plain, "claims")),
        ("a nested JWT", ClaimsMalformed, desk.raw(&plain, &valid)),
        (
            "two `sub`",
            ClaimsMalformed,
            desk.raw(&plain, &format!(r#"{{"sub":"x",{}"#, compact.trim_start_matches('{'))),
        ),
        (
            "two `groups` inside",
            ClaimsMalformed,
            desk.raw(&plain, &format!(r#"{{"a":{{"b":1,"b":2}},{}"#, compact.trim_start_matches('{'))),
        ),
        ("a NUL behind", ClaimsMalformed, desk.raw(&plain, &format!("{compact}\0"))),
        ("65 levels", ClaimsMalformed, desk.raw(&plain, &deep)),
        ("no issuer", IssuerMissing, desk.claims(&without("iss"))),
        ("a list that holds the issuer", IssuerMissing, desk.claims(&with("iss", json!([ISSUER])))),
        ("another issuer", IssuerUnknown, desk.claims(&with("iss", "https://evil.example".into()))),
        ("a slash behind the issuer", IssuerUnknown, desk.claims(&with("iss", format!("{ISSUER}/").into()))),
        ("another case", IssuerUnknown, desk.claims(&with("iss", "https://LOGIN.example.com".into()))),
        ("userinfo before the host", IssuerUnknown, desk.claims(&with("iss", "https://x@login.example.com".into()))),
        ("no `alg`", AlgorithmUnsupported, desk.raw(r#"{"kid":"k1"}"#, &compact)),
        ("`alg` as a list", AlgorithmUnsupported, desk.header(&header_with(key, "alg", json!(["ES256"])))),
        ("`alg` none", AlgorithmUnsupported, desk.header(&header_with(key, "alg", "none".into()))),
        ("`alg` nOnE", AlgorithmUnsupported, desk.header(&header_with(key, "alg", "nOnE".into()))),
        ("`alg` empty", AlgorithmUnsupported, desk.header(&header_with(key, "alg", "".into()))),
        ("`alg` in another case", AlgorithmUnsupported, desk.header(&header_with(key, "alg", "es256".into()))),
        ("HS256 with the public key", AlgorithmUnsupported, {
            desk.text(&key.sign_bytes("HS256", br#"{"alg":"HS256","kid":"k1"}"#, compact.as_bytes()))
        }),
        ("an algorithm that is not the issuer's", AlgorithmNotAllowed, {
            desk.header(&header_with(key, "alg", "ES384".into()))
        }),
        ("`crit`", CriticalHeader, desk.header(&header_with(key, "crit", json!(["exp"])))),
        ("an empty `crit`", CriticalHeader, desk.header(&header_with(key, "crit", json!([])))),
        ("`b64` false", CriticalHeader, desk.header(&header_with(key, "b64", json!(false)))),
        ("a logout token's `typ`", TypeNotAccepted, desk.header(&header_with(key, "typ", "logout+jwt".into()))),
        ("a DPoP proof's `typ`", TypeNotAccepted, desk.header(&header_with(key, "typ", "dpop+jwt".into()))),
        ("`typ` as a number", TypeNotAccepted, desk.header(&header_with(key, "typ", json!(1)))),
        ("another `typ` than configured", TypeNotAccepted, at_jwt.claims(&claims())),
        ("no `typ` where one is configured", TypeNotAccepted, {
            at_jwt.text(&at_jwt.key.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims()))
        }),
        ("`kid` as a number", KeyIdMalformed, desk.header(&header_with(key, "kid", json!(1)))),
        ("`kid` null", KeyIdMalformed, desk.header(&header_with(key, "kid", Value::Null))),
        ("`kid` as a list", KeyIdMalformed, desk.header(&header_with(key, "kid", json!(["k1"])))),
        ("an unknown `kid`", KeyUnknown, desk.header(&header_with(key, "kid", "k2".into()))),
        ("a path as `kid`", KeyUnknown, desk.header(&header_with(key, "kid", "../k1".into()))),
        ("no `kid` and two keys", KeyAmbiguous, check(&no_kid, &desk.issuer, &two_keys)),
        ("no `kid`, and two keys of which one fits", KeyAmbiguous, {
            check(&no_kid, &desk.issuer, &key_set(&[key.jwk(), TestKey::ed25519("k2").jwk()]))
        }),
        ("a `kid` that two keys have", KeyAmbiguous, {
            check(&valid, &desk.issuer, &key_set(&[key.jwk(), TestKey::p256("k1").jwk(), TestKey::p256("k2").jwk()]))
        }),
        ("an RSA key for ES256", KeyMismatch, check(&valid, &desk.issuer, &rsa_keys)),
        ("a key of another curve", KeyMismatch, check(&valid, &desk.issuer, &key_set(&[TestKey::p384("k1").jwk()]))),
        ("a key that is for another `alg`", KeyMismatch, check(&rs256, &everything, &rsa_only_384)),
        ("a signature with one bit changed", SignatureInvalid, desk.text(&format!("{head}.{body}.{flipped}"))),
        ("no signature", SignatureInvalid, desk.text(&format!("{head}.{body}."))),
        ("a signature of zeros", SignatureInvalid, {
            desk.text(&format!("{head}.{body}.{}", BASE64URL_NOPAD.encode(&[0; 64])))
        }),
        ("a signature in DER", SignatureInvalid, {
            let raw = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
            desk.text(&format!("{head}.{body}.{}", BASE64URL_NOPAD.encode(&der(&raw))))
        }),
        ("another's key under the same `kid`", SignatureInvalid, {
            check(&valid, &desk.issuer, &key_set(&[TestKey::p256("k1").jwk()]))
        }),
        ("a key brought along in `jwk`", SignatureInvalid, {
            let own = TestKey::p256("k1");
            let mut header = header(&own);
            header["jwk"] = own.jwk();
            header["jku"] = "https://evil.example/keys".into();
            header["x5u"] = "https://evil.example/chain".into();
            desk.text(&own.sign(&header, &claims()))
        }),
        ("a PSS signature under RS256", SignatureInvalid, check(&ps_named_rs, &everything, &rsa_keys)),
        ("other claims under the signature", SignatureInvalid, {
            let other = BASE64URL_NOPAD.encode(with("sub", "mallory".into()).to_string().as_bytes());
            desk.text(&format!("{head}.{other}.{signature}"))
        }),
        ("`events`", LogoutToken, desk.claims(&with("events", json!({})))),
        ("`cnf`", SenderConstrained, desk.claims(&with("cnf", json!({"jkt": "x"})))),
        ("no audience", AudienceMalformed, desk.claims(&without("aud"))),
        ("an audience that is null", AudienceMalformed, audience(Value::Null)),
        ("an audience that is an object", AudienceMalformed, audience(json!({"hallpass": true}))),
        ("a list of audiences with a number in it", AudienceMalformed, audience(json!(["hallpass", 1]))),
        ("another audience", AudienceMismatch, audience("hallpass2".into())),
        ("an audience in another case", AudienceMismatch, audience("Hallpass".into())),
        ("an empty audience", AudienceMismatch, audience("".into())),
        ("no audience in the list", AudienceMismatch, audience(json!([]))),
        ("both audiences in one string", AudienceMismatch, audience("hallpass other-name".into())),
        ("a party that is not authorized", PartyNotAuthorized, parties.claims(&with("azp", "app-2".into()))),
        ("no party", PartyNotAuthorized, parties.claims(&claims())),
        ("a party as a list", PartyNotAuthorized, parties.claims(&with("azp", json!(["app-1"])))),
        ("an `azp` of another, though `client_id` is ours", PartyNotAuthorized, {
            let mut claims = with("azp", "app-2".into());
            claims["client_id"] = "app-1".into();
            parties.claims(&claims)
        }),
        ("no `exp`", ExpiryMalformed, desk.claims(&without("exp"))),
        ("`exp` as a string", ExpiryMalformed, desk.claims(&with("exp", (NOW + 600).to_string().into()))),
        ("`exp` null", ExpiryMalformed, desk.claims(&with("exp", Value::Null))),
        ("`exp` true", ExpiryMalformed, desk.claims(&with("exp", json!(true)))),
        ("no `iat`", IssuedAtMalformed, desk.claims(&without("iat"))),
        ("`iat` as a list", IssuedAtMalformed, desk.claims(&with("iat", json!([NOW])))),
        ("`nbf` as a string", NotBeforeMalformed, desk.claims(&with("nbf", NOW.to_string().into()))),
        ("`nbf` null", NotBeforeMalformed, desk.claims(&with("nbf", Value::Null))),
        ("expired 30 s ago", Expired, desk.claims(&with("exp", (NOW - 30).into()))),
        ("a negative `exp`", Expired, desk.claims(&with("exp", json!(-1)))),
        ("valid in 31 s", NotYetValid, desk.claims(&with("nbf", (NOW + 31).into()))),
        ("issued in 31 s", IssuedInFuture, desk.claims(&with("iat", (NOW + 31).into()))),
        ("expiring as it is issued", ExpiryBeforeIssue, {
            let mut claims = with("exp", (NOW + 20).into());
            claims["iat"] = (NOW + 20).into();
            desk.claims(&claims)
        }),
        ("living for a day and a second", LifetimeTooLong, desk.claims(&with("exp", (NOW + 86_401).into()))),
        ("`exp` of 1e18", LifetimeTooLong, desk.claims(&with("exp", json!(1e18)))),
        ("a lifetime that began long ago", LifetimeTooLong, desk.claims(&with("iat", (NOW - 86_400).into()))),
        ("no subject", SubjectMalformed, desk.claims(&without("sub"))),
        ("an empty subject", SubjectMalformed, desk.claims(&with("sub", "".into()))),
        ("a subject that is a number", SubjectMalformed, desk.claims(&with("sub", json!(7)))),
        ("a subject of 256 bytes", SubjectMalformed, desk.claims(&with("sub", "é".repeat(128).into()))),
        ("a subject with a control character", SubjectMalformed, desk.claims(&with("sub", "ca\u{7f}rol".into()))),
        ("a required claim missing", RequiredClaim, required.claims(&claims())),
        ("a required claim of another value", RequiredClaim, approved("evil.example".into(), json!(true))),
        ("a required claim of another type", RequiredClaim, approved("example.com".into(), "true".into())),
        ("a required claim in a list", RequiredClaim, approved(json!(["example.com"]), json!(true))),
        ("groups that are null", GroupsMalformed, groups(Value::Null)),
        ("groups that are an object", GroupsMalformed, groups(json!({"a": 1}))),
        ("one bad group among good ones", GroupsMalformed, groups(json!(["a", 1]))),
        ("an empty group", GroupsMalformed, groups(json!(["a", ""]))),
        ("a group with a line end", GroupsMalformed, groups(json!(["a\n"]))),
        ("groups in what is no object", GroupsMalformed, nested.claims(&with("realm_access", Value::Null))),
        ("groups in a list", GroupsMalformed, nested.claims(&with("realm_access", json!([{"roles": ["a"]}])))),
        ("201 groups", GroupsTooMany, groups(json!(many))),
        ("`_claim_names` that names the groups", GroupsOverage, {
            desk.claims(&with("_claim_names", json!({"groups": "src1"})))
        }),
        ("`_claim_names` of another type", GroupsOverage, desk.claims(&with("_claim_names", "groups".into()))),
        ("`hasgroups`", GroupsOverage, desk.claims(&with("hasgroups", json!(true)))),
        ("`hasgroups` as a string", GroupsOverage, desk.claims(&with("hasgroups", "true".into()))),
        ("no groups where they are required", GroupsMissing, groups_required.claims(&without("groups"))),
    ]
}

/// A fixed-length ECDSA signature as DER, which other protocols use and JOSE does not.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let mut bytes = vec![0];
        bytes.extend(half);
        let mut out = vec![2, u8::try_from(bytes.len()).unwrap()];
        out.extend(bytes);
        out
    };
    let (r, s) = raw.split_at(32);
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

#[test]
fn every_forged_stale_confused_or_malformed_token_is_refused_for_its_own_reason() {
    for (name, expected, result) in corpus() {
        assert_eq!(result.map(|_| ()), Err(expected), "{name}");
    }
}

#[test]
fn every_refusal_is_reached_by_a_case() {
    let reached: HashSet<Refusal> = corpus().into_iter().map(|(_, refusal, _)| refusal).collect();
    let missed: Vec<_> = Refusal::ALL.iter().filter(|refusal| !reached.contains(refusal)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn every_refusal_has_a_name_of_its_own() {
    let names: HashSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.reason()).collect();
    assert_eq!(names.len(), Refusal::ALL.len());
}

#[test]
fn a_valid_token_makes_a_caller() {
    let caller = Desk::new().claims(&with("jti", "t-1".into())).unwrap();
    assert_eq!((caller.issuer().as_str(), caller.subject(), caller.token_id()), ("corp", "carol", Some("t-1")));
    assert_eq!(caller.groups().collect::<Vec<_>>(), ["deployers"]);
    assert_eq!(caller.session_ends_at(), None);
    let ending = Desk::with(&json!({"session_ends_with_token": true})).claims(&with("exp", json!(NOW + 600))).unwrap();
    assert_eq!(ending.session_ends_at(), Some(i64::try_from(NOW + 600).unwrap()));
}

#[test]
fn the_valid_variants_are_accepted() {
    let desk = Desk::new();
    let groups_as = |value: Value| desk.claims(&with("groups", value)).map(|caller| caller.groups().count());
    for (name, claims) in [
        ("a fractional `exp`", with("exp", json!(1_800_000_600.75))),
        ("expired within the leeway", {
            let mut claims = with("exp", (NOW - 29).into());
            claims["iat"] = (NOW - 600).into();
            claims
        }),
        ("issued within the leeway", with("iat", (NOW + 30).into())),
        ("valid within the leeway", with("nbf", (NOW + 30).into())),
        ("a whole day", with("exp", (NOW + 86_400).into())),
        ("one audience in a list", with("aud", json!(["hallpass"]))),
        ("several audiences, as Auth0 sends them", with("aud", json!(["https://example.com/userinfo", "other-name"]))),
        ("a subject of 255 bytes", with("sub", "a".repeat(255).into())),
        ("`_claim_names` that names something else", with("_claim_names", json!({"roles": "src1"}))),
        ("`hasgroups` false", with("hasgroups", json!(false))),
    ] {
        assert_eq!(desk.claims(&claims).map(|_| ()), Ok(()), "{name}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT", "application/JWT"] {
        assert_eq!(desk.header(&header_with(&desk.key, "typ", typ.into())).map(|_| ()), Ok(()), "{typ}");
    }
    assert!(desk.text(&desk.key.sign(&json!({"alg": "ES256"}), &claims())).is_ok(), "no `kid` and one key");
    assert_eq!(desk.claims(&without("groups")).map(|caller| caller.groups().count()), Ok(0));
    assert_eq!(groups_as("one".into()), Ok(1));
    let nested = Desk::with(&json!({"groups_claim": "/realm_access/roles"}));
    let roles = |access: Value| nested.claims(&with("realm_access", access)).map(|caller| caller.groups().count());
    assert_eq!((roles(json!({"roles": ["a", "b"]})), roles(json!({}))), (Ok(2), Ok(0)));
    assert_eq!(nested.claims(&claims()).map(|caller| caller.groups().count()), Ok(0));
    assert_eq!(groups_as(json!(["a", "b", "a"])), Ok(2));
    let many: Vec<String> = (0..400).map(|number| format!("group-{}", number % 200)).collect();
    assert_eq!(groups_as(json!(many)), Ok(200));
}

#[test]
fn every_supported_algorithm_verifies() {
    let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    let issuer = issuer(&json!({ "algorithms": names }));
    let (rsa, p256, p384, ed) = (TestKey::rsa("r"), TestKey::p256("e"), TestKey::p384("f"), TestKey::ed25519("d"));
    let keys = key_set(&[rsa.jwk(), p256.jwk(), p384.jwk(), ed.jwk()]);
    for algorithm in Algorithm::ALL {
        let key = match algorithm.name() {
            "ES256" => &p256,
            "ES384" => &p384,
            "EdDSA" => &ed,
            _ => &rsa,
        };
        let token = key.sign(&json!({"alg": algorithm.name(), "kid": key.kid()}), &claims());
        assert_eq!(check(&token, &issuer, &keys).map(|_| ()), Ok(()), "{}", algorithm.name());
    }
}

#[test]
fn configured_claims_are_used_instead_of_the_usual_ones() {
    let desk = Desk::with(&json!({
        "audience_claim": "/client_id", "subject_claim": "/oid", "groups_claim": "/https:~1~1example.com~1groups",
        "authorized_parties": ["portal"], "party_claim": "/party/id",
    }));
    let mut claims = without("aud");
    claims["client_id"] = "hallpass".into();
    claims["oid"] = "0b7e".into();
    claims["https://example.com/groups"] = json!(["a"]);
    claims["party"] = json!({"id": "portal"});
    claims["hasgroups"] = json!(true);
    let caller = desk.claims(&claims).unwrap();
    assert_eq!((caller.subject(), caller.groups().collect::<Vec<_>>()), ("0b7e", vec!["a"]));
}

#[test]
fn one_issuers_key_never_verifies_anothers_token() {
    let (ours, theirs) = (Desk::new(), Desk::with(&json!({"id": "lab", "issuer": "https://lab.example.com"})));
    let claims = valid_claims("https://lab.example.com", NOW);
    let token = ours.key.sign(&header(&ours.key), &claims);
    assert_eq!(theirs.text(&token).map(|_| ()), Err(Refusal::SignatureInvalid));
    assert_eq!(ours.text(&token).map(|_| ()), Err(Refusal::IssuerUnknown));
}

#[test]
fn one_bad_key_does_not_spoil_a_set_and_identical_ones_collapse() {
    let key = TestKey::p256("k1");
    let change = |name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    let unusable = [
        json!(null),
        json!("k1"),
        json!({}),
        change("kty", "oct".into()),
        change("crv", "P-521".into()),
        change("use", "enc".into()),
        change("use", json!(1)),
        change("key_ops", json!(["sign"])),
        change("key_ops", json!("verify")),
        change("alg", "ES384".into()),
        change("alg", "ECDH-ES".into()),
        change("alg", json!(null)),
        change("kid", json!(1)),
        change("x", "AA".into()),
        TestKey::rsa_bits("k1", 1024).jwk(),
    ];
    for jwk in &unusable {
        let text = json!({"keys": [jwk]}).to_string();
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{jwk}");
        let set = key_set(&[jwk.clone(), key.jwk(), key.jwk(), jwk.clone()]);
        let token = key.sign(&json!({"alg": "ES256"}), &claims());
        assert!(check(&token, &issuer(&json!({})), &set).is_ok(), "{jwk}");
    }
    for good in [change("key_ops", json!(["verify"])), change("alg", "ES256".into())] {
        assert!(check(&key.sign(&header(&key), &claims()), &issuer(&json!({})), &key_set(&[good])).is_ok());
    }
}

#[test]
fn rsa_exponents_that_prove_nothing_make_a_key_unusable() {
    for exponent in ["AQ", "Ag", "AAAA", "", "AQABAAEAAQ"] {
        let mut jwk = TestKey::rsa("k1").jwk();
        jwk["e"] = exponent.into();
        assert!(KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).is_err(), "{exponent}");
    }
}

#[test]
fn what_is_no_key_set_is_refused() {
    for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_every_problem_and_its_place() {
    let mut problems = Problems::default();
    let text = json!([
        {"id": "Corp", "issuer": "http://login.example.com", "audiences": [], "algorithms": ["HS256"],
         "subject_claim": "sub", "max_token_lifetime": 0, "groups_required": "yes", "colour": "red",
         "single_use": true, "dpop": "required", "name_claim": "/email", "required_claims": {"hd": ["x"]}},
        {"id": "google", "issuer": "https://accounts.google.com", "audiences": ["x"]},
        {"id": "gh", "issuer": "https://token.actions.githubusercontent.com", "audiences": ["x"]},
        {"id": "gl", "issuer": "https://gitlab.com", "audiences": ["x"]},
        {"id": "a", "issuer": "https://a.example", "audiences": ["x"]},
        {"id": "a", "issuer": "https://a.example", "audiences": ["x"]},
        7,
    ]);
    parse_issuers(&text.to_string(), &mut problems);
    let found: Vec<&str> = problems.iter().filter_map(|problem| problem.split(' ').next()).collect();
    for place in [
        "[0].id",
        "[0].issuer",
        "[0].audiences",
        "[0].algorithms",
        "[0].subject_claim",
        "[0].max_token_lifetime",
        "[0].groups_required",
        "[0].colour",
        "[0].single_use",
        "[0].dpop",
        "[0].name_claim",
        "[0].required_claims",
        "[1].required_claims",
        "[2].required_claims",
        "[3].required_claims",
        "[5].id",
        "[5].issuer",
        "[6]",
    ] {
        assert!(found.contains(&format!("HALLPASS_ISSUERS{place}").as_str()), "{place} in {problems}");
    }
    assert_eq!(found.len(), 18, "{problems}");
}

#[test]
fn issuers_that_strangers_use_need_the_claim_that_tells_ours_apart() {
    for (url, claim) in [
        ("https://accounts.google.com", "/hd"),
        ("https://token.actions.githubusercontent.com", "/repository_owner_id"),
        ("https://gitlab.com", "/namespace_id"),
    ] {
        issuer(&json!({"issuer": url, "required_claims": {claim: ["ours"]}}));
    }
}

#[test]
fn google_by_its_bare_name_needs_its_claim_too() {
    let entry = json!([{"id": "g", "issuer": "accounts.google.com", "audiences": ["x"],
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs"}]);
    let mut problems = Problems::default();
    parse_issuers(&entry.to_string(), &mut problems);
    assert_eq!(problems.len(), 1, "{problems}");
}

#[test]
fn a_providers_document_leads_to_https_or_where_the_operator_began() {
    let leads = |issuer: &Issuer, to: &str| {
        let document = json!({"issuer": issuer.url(), "jwks_uri": to}).to_string();
        key_set_address(document.as_bytes(), issuer).is_ok()
    };
    let safe = issuer(&json!({}));
    assert!(leads(&safe, "https://keys.example.com/"));
    for to in
        ["http://127.0.0.1:9001/2018-06-01/runtime/invocation/next", "http://localhost/", "http://keys.example.com/"]
    {
        assert!(!leads(&safe, to), "{to}");
    }
    let local = issuer(&json!({"issuer": "http://127.0.0.1:4000"}));
    assert!(leads(&local, "http://127.0.0.1:4000/keys") && !leads(&local, "http://keys.example.com/"));
}

#[test]
fn plain_http_is_for_loopback_or_for_those_who_ask_for_it() {
    for url in ["http://localhost:4000", "http://127.0.0.1:4000", "http://[::1]:4000"] {
        issuer(&json!({"issuer": url}));
    }
    issuer(&json!({"issuer": "http://idp.internal", "insecure_http": true}));
    issuer(
        &json!({"issuer": "http://adfs.example.com/adfs/services/trust", "jwks_uri": "https://adfs.example.com/keys"}),
    );
    for bad in [
        json!({"issuer": "http://127.0.0.1.evil.example"}),
        json!({"issuer": "https://user@login.example.com"}),
        json!({"issuer": "https://login.example.com?x=1"}),
        json!({"issuer": "ftp://login.example.com"}),
        json!({"jwks_uri": "http://login.example.com/keys"}),
        json!({"jwks_uri": "file:///etc/passwd"}),
    ] {
        let mut entry = json!({"id": "corp", "issuer": ISSUER, "audiences": ["x"]});
        entry.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        let mut problems = Problems::default();
        parse_issuers(&json!([entry]).to_string(), &mut problems);
        assert_eq!(problems.len(), 1, "{bad}");
    }
}

#[test]
fn a_configuration_that_is_no_list_of_issuers_or_too_long_is_refused() {
    let long = format!("[{}]", " ".repeat(3_500));
    for text in ["", "{}", "[]", "[", long.as_str()] {
        let mut problems = Problems::default();
        assert!(parse_issuers(text, &mut problems).is_empty());
        assert_eq!(problems.len(), 1, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = UnverifiedToken::parse(&text);
    }

    #[test]
    fn a_token_with_any_one_byte_changed_is_refused(at in 0_usize..400, byte in any::<u8>()) {
        let desk = Desk::new();
        let mut token = desk.valid().into_bytes();
        let at = at % token.len();
        prop_assume!(token[at] != byte);
        token[at] = byte;
        if let Ok(token) = String::from_utf8(token) {
            prop_assert!(desk.text(&token).is_err());
        }
    }
}
