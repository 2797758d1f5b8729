//! Can the verifier be fooled?
//!
//! The corpus is run by the whole function too, in `tests/it/tokens.rs`.

mod providers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::read::problems::Problems;
use hallpass_testing::corpus::Corpus;
use hallpass_testing::provider::Provider;
use hallpass_testing::server::Fault;
use hallpass_testing::signer::{TestKey, valid_claims};

const ISSUER: &str = "https://login.example.com";
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// The trusted issuers, with keys that are at hand.
struct Desk {
    issuers: Vec<Issuer>,
    keys: BTreeMap<String, KeySet>,
}

impl Desk {
    fn new(issuers: &[Value], key_sets: &[(&str, Value)]) -> Self {
        let mut problems = Problems::default();
        let issuers = parse_issuers(&json!(issuers).to_string(), &mut problems);
        assert!(problems.is_empty(), "{problems}");
        let parse = |set: &Value| KeySet::parse(set.to_string().as_bytes()).unwrap();
        Self { issuers, keys: key_sets.iter().map(|(id, set)| ((*id).to_owned(), parse(set))).collect() }
    }

    fn verify(&self, token: &str) -> Result<Caller, TokenError> {
        let token = UnverifiedToken::parse(token)?;
        let named = token.issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.url() == named).ok_or(TokenError::IssuerUnknown)?;
        verify(token.check_header(issuer)?, &self.keys[issuer.id().as_str()], now())
    }
}

/// An issuer `corp`, on these terms too, with one key.
fn desk(terms: &Value) -> (TestKey, Desk) {
    let key = TestKey::p256("k1");
    let mut issuer = json!({"id": "corp", "issuer": ISSUER, "audiences": ["hallpass"]});
    issuer.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
    let desk = Desk::new(&[issuer], &[("corp", json!({"keys": [key.jwk()]}))]);
    (key, desk)
}

fn sign(key: &TestKey, claims: &Value) -> String {
    key.sign(&json!({"alg": "ES256", "kid": key.kid()}), claims)
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = valid_claims(ISSUER, NOW);
    claims[name] = value.into();
    claims
}

/// The case of the corpus that reaches each rule. A rule without one does not compile.
const fn case(refusal: TokenError) -> &'static str {
    match refusal {
        TokenError::TooLong => "one byte more than 10,000",
        TokenError::NotCompactJws => "the five parts of a JWE",
        TokenError::NotBase64Url => "spare bits of the signature set",
        TokenError::HeaderMalformed => "two `alg`, one of them escaped",
        TokenError::ClaimsMalformed => "two `sub`",
        TokenError::IssuerMissing => "`iss` in a list",
        TokenError::IssuerUnknown => "`iss` with a slash behind",
        TokenError::AlgorithmUnsupported => "HS256 with the public key as PEM",
        TokenError::AlgorithmNotAllowed => "PS256, which is not this issuer's",
        TokenError::CriticalHeader => "`crit` empty",
        TokenError::TypeNotAccepted => "`typ` of a DPoP proof",
        TokenError::KeyIdMalformed => "`kid` as a number",
        TokenError::KeyUnknown => "a key of another issuer",
        TokenError::KeyAmbiguous => "no `kid` and two keys",
        TokenError::KeyMismatch => "RS256 with a key that is for RS384",
        TokenError::SignatureInvalid => "a key of another issuer under the same `kid`",
        TokenError::LogoutToken => "`events` of a logout",
        TokenError::SenderConstrained => "`cnf` of DPoP",
        TokenError::AudienceMalformed => "no `aud`",
        TokenError::AudienceMismatch => "`aud` of another",
        TokenError::PartyNotAuthorized => "a party that is not authorized",
        TokenError::ExpiryMalformed => "`exp` as a string",
        TokenError::IssuedAtMalformed => "no `iat`",
        TokenError::NotBeforeMalformed => "`nbf` null",
        TokenError::Expired => "`exp` past the leeway",
        TokenError::NotYetValid => "`nbf` ahead",
        TokenError::IssuedInFuture => "`iat` ahead",
        TokenError::ExpiryBeforeIssue => "expiring as it is issued",
        TokenError::LifetimeTooLong => "`exp` of 1e18",
        TokenError::SubjectMalformed => "`sub` empty",
        TokenError::TokenIdMissing => "no `jti` where each token serves once",
        TokenError::RequiredClaim => "a required claim of another value",
        TokenError::GroupsMalformed => "`groups` with a bad one among good ones",
        TokenError::GroupsInText => "`groups` as a list in a string, as Cognito maps SAML",
        TokenError::GroupsTooMany => "`groups` that are 201",
        TokenError::GroupsOverage => "`hasgroups` true",
        TokenError::GroupsMissing => "no groups where they are required",
    }
}

fn corpus() -> (Corpus, Desk) {
    let corpus = Corpus::new(ISSUER, NOW, 0);
    let key_sets: Vec<_> = corpus.key_sets.iter().map(|(id, set)| (*id, set.clone())).collect();
    let desk = Desk::new(&corpus.issuers, &key_sets);
    (corpus, desk)
}

#[test]
fn every_forged_stale_confused_or_malformed_token_is_refused_for_its_own_reason() {
    let (corpus, desk) = corpus();
    for forgery in &corpus.refused {
        let refused = desk.verify(&forgery.token).map(|_| ()).map_err(TokenError::reason);
        assert_eq!(refused, Err(forgery.reason), "{}", forgery.what);
    }
    for refusal in TokenError::ALL {
        let reaches =
            corpus.refused.iter().any(|forgery| (&*forgery.what, forgery.reason) == (case(*refusal), refusal.reason()));
        assert!(reaches, "`{}` does not reach {refusal:?}", case(*refusal));
    }
}

#[test]
fn every_genuine_token_is_accepted() {
    let (corpus, desk) = corpus();
    for genuine in &corpus.accepted {
        assert_eq!(desk.verify(&genuine.token).map(|_| ()), Ok(()), "{}", genuine.what);
    }
}

#[test]
fn no_two_cases_and_no_two_refusals_have_one_name() {
    let (corpus, _) = corpus();
    let cases: BTreeSet<&str> = corpus.refused.iter().map(|forgery| &*forgery.what).collect();
    let reasons: BTreeSet<&str> = TokenError::ALL.iter().map(|refusal| refusal.reason()).collect();
    assert_eq!((cases.len(), reasons.len()), (corpus.refused.len(), TokenError::ALL.len()));
}

#[test]
fn a_text_that_is_no_token_is_refused() {
    let (key, desk) = desk(&json!({}));
    let valid = sign(&key, &valid_claims(ISSUER, NOW));
    for (text, refusal) in [
        (String::new(), TokenError::NotCompactJws),
        ("..".to_owned(), TokenError::HeaderMalformed),
        (format!("{valid}, {valid}"), TokenError::NotCompactJws),
        (format!(" {valid}"), TokenError::NotBase64Url),
        (format!("{valid}\n"), TokenError::NotBase64Url),
        (format!("{valid}\0"), TokenError::NotBase64Url),
        ("\u{e9}.e30.e30".to_owned(), TokenError::NotBase64Url),
    ] {
        assert_eq!(desk.verify(&text).map(|_| ()), Err(refusal), "{text:?}");
    }
}

#[test]
fn an_unverified_token_names_issuer_and_subject_and_shows_nothing() {
    let (key, _) = desk(&json!({}));
    let names = |claims: &Value| {
        let token = UnverifiedToken::parse(&sign(&key, claims)).unwrap();
        assert_eq!(format!("{token:?}"), "UnverifiedToken");
        let (issuer, subject) = token.unverified_names();
        (issuer.map(str::to_owned), subject.map(str::to_owned))
    };
    assert_eq!(names(&valid_claims(ISSUER, NOW)), (Some(ISSUER.into()), Some("carol".into())));
    assert_eq!(names(&json!({"iss": [ISSUER], "sub": 7})), (None, None));
}

#[test]
fn a_valid_token_makes_a_caller() {
    let (key, desk) = desk(&json!({}));
    let caller = desk.verify(&sign(&key, &with("jti", "t-1"))).unwrap();
    assert_eq!((caller.issuer().as_str(), caller.subject(), caller.token_id()), ("corp", "carol", Some("t-1")));
    assert_eq!(caller.groups().collect::<Vec<_>>(), ["deployers"]);
    assert_eq!(caller.session_ends_at(), None);
}

#[test]
fn a_session_may_be_bound_to_the_tokens_end() {
    let (key, desk) = desk(&json!({"session_ends_with_token": true}));
    let ends = |exp: Value| desk.verify(&sign(&key, &with("exp", exp))).unwrap().session_ends_at();
    let end = i64::try_from(NOW + 600).unwrap();
    assert_eq!((ends(json!(NOW + 600)), ends(json!(1_800_000_600.9))), (Some(end), Some(end)));
}

#[test]
fn a_token_that_serves_once_is_remembered_until_it_is_dead() {
    let (key, desk) = desk(&json!({"single_use": true}));
    let once = |exp: Value| {
        let mut claims = with("jti", "t-1");
        claims["exp"] = exp;
        desk.verify(&sign(&key, &claims)).unwrap().single_use().unwrap()
    };
    let until = |dead_from| SingleUse { token_id: "t-1".into(), dead_from };
    let exp = i64::try_from(NOW + 600).unwrap();
    assert_eq!(once(json!(exp)), until(exp + 30));
    assert_eq!(once(json!(1_800_000_600.25)), until(exp + 31), "never less than the verifier's own leeway");
}

#[test]
fn claims_are_found_by_pointer_and_not_shown() {
    let (key, desk) = desk(&json!({}));
    let caller = desk.verify(&sign(&key, &with("a/b", json!({"c": ["secretary"]})))).unwrap();
    assert_eq!(caller.claim("/a~1b/c/0"), Some(&json!("secretary")));
    assert_eq!((caller.claim("/a"), caller.claim("")), (None, None));
    assert_eq!(format!("{caller:?}"), "Caller(corp/user/carol)");
    assert_eq!((caller.name_rule(), caller.single_use()), (None, None));
}

#[test]
fn groups_are_what_the_token_says_each_once() {
    let (key, desk) = desk(&json!({}));
    let groups = |value: Value| {
        let caller = desk.verify(&sign(&key, &with("groups", value))).unwrap();
        caller.groups().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(groups(json!("one")), ["one"]);
    assert_eq!(groups(json!(["b", "a", "b", "A"])), ["A", "a", "b"]);
    assert_eq!(groups(json!([])), Vec::<String>::new());
    let many: Vec<String> = (0..400).map(|number| format!("group-{}", number % 200)).collect();
    assert_eq!(groups(json!(many)).len(), MAX_GROUPS);
    let mut none = valid_claims(ISSUER, NOW);
    none.as_object_mut().unwrap().remove("groups");
    assert_eq!(desk.verify(&sign(&key, &none)).unwrap().groups().count(), 0);
}

#[test]
fn one_string_is_one_group_unless_the_operator_names_a_separator() {
    let groups = |separator: Value, value: &str| {
        let (key, desk) = desk(&json!({ "groups_separator": separator }));
        let caller = desk.verify(&sign(&key, &with("groups", value)))?;
        Ok(caller.groups().map(str::to_owned).collect::<Vec<_>>())
    };
    let distinguished = "CN=Domain Users,OU=Staff,DC=example,DC=com";
    for whole in ["Domain Users", distinguished, " a ", "a,,b", "a, b", " "] {
        assert_eq!(groups(json!(null), whole), Ok(vec![whole.to_owned()]));
    }
    assert_eq!(groups(json!(","), " Domain Users ,\u{a0}b,b"), Ok(vec!["Domain Users".into(), "b".into()]));
    assert_eq!(groups(json!(" "), "devs a,b"), Ok(vec!["a,b".into(), "devs".into()]));
    assert_eq!(groups(json!(" "), " "), Err(TokenError::GroupsMalformed));
    assert_eq!(groups(json!(","), " , "), Err(TokenError::GroupsMalformed));
}

#[test]
fn groups_that_are_to_be_fetched_elsewhere_are_not_absent_whatever_their_claim_is_called() {
    for (pointer, name) in [
        ("/groups", "groups"),
        ("/roles", "roles"),
        ("/realm_access/roles", "realm_access"),
        ("/https:~1~1example.com~1groups", "https://example.com/groups"),
    ] {
        let (key, desk) = desk(&json!({ "groups_claim": pointer }));
        let verify = |named: &str| {
            let mut claims = with("_claim_names", json!({ named: "src1" }));
            claims.as_object_mut().unwrap().remove("groups");
            desk.verify(&sign(&key, &claims)).map(|caller| caller.groups().count())
        };
        assert_eq!(verify(name), Err(TokenError::GroupsOverage), "{pointer}");
        assert_eq!(verify("address"), Ok(0), "{pointer}");
    }
}

#[test]
fn configured_claims_are_used_instead_of_the_usual_ones() {
    let (key, desk) = desk(&json!({
        "audience_claim": "/client_id", "subject_claim": "/oid", "groups_claim": "/https:~1~1example.com~1groups",
    }));
    let mut claims = with("aud", "another");
    claims["client_id"] = "hallpass".into();
    claims["oid"] = "0b7e".into();
    claims["https://example.com/groups"] = json!(["a"]);
    // Entra's marker is about the claim `groups`, which is not read here.
    claims["hasgroups"] = json!(true);
    let caller = desk.verify(&sign(&key, &claims)).unwrap();
    assert_eq!((caller.subject(), caller.groups().collect::<Vec<_>>()), ("0b7e", vec!["a"]));
}

#[test]
fn a_subject_that_looks_like_another_is_another() {
    let (key, desk) = desk(&json!({}));
    for subject in ["Carol", "carol ", " carol", "carol/", "c\u{430}rol", "ca\u{200b}rol", "caro\u{301}l"] {
        let caller = desk.verify(&sign(&key, &with("sub", subject))).unwrap();
        assert_eq!(caller.subject().as_bytes(), subject.as_bytes());
    }
}

#[test]
fn only_the_time_of_the_request_counts() {
    let (key, desk) = desk(&json!({}));
    let token = sign(&key, &valid_claims(ISSUER, NOW));
    let at = |seconds: u64| {
        let token = UnverifiedToken::parse(&token).unwrap();
        verify(token.check_header(&desk.issuers[0])?, &desk.keys["corp"], UNIX_EPOCH + Duration::from_secs(seconds))
            .map(|_| ())
    };
    assert_eq!([at(NOW - 30), at(NOW + 629)], [Ok(()), Ok(())]);
    assert_eq!([at(NOW - 31), at(NOW + 630)], [Err(TokenError::IssuedInFuture), Err(TokenError::Expired)]);
}

#[tokio::test]
async fn each_issuer_is_asked_for_its_own_keys_and_nobody_else_for_any() {
    let (ours, theirs) = (TestKey::p256("k1"), TestKey::p256("k1"));
    let (here, there) = (Provider::start(&[&ours]).await, Provider::start(&[&theirs]).await);
    let entry = |id: &str, at: &Provider| json!({"id": id, "issuer": at.issuer(), "audiences": ["hallpass"]});
    let issuers = json!([entry("here", &here), entry("there", &there)]).to_string();
    let identity = Identity::new(parse_issuers(&issuers, &mut Problems::default()), &Https::in_tests());
    let ask = async |token: String| {
        let identified = identity.identify(UnverifiedToken::parse(&token).unwrap(), now()).await;
        identified.map(|identified| identified.caller.issuer().as_str().to_owned())
    };
    let refused = |refusal| Err(IdentityError::Token(refusal));

    // What can never be accepted costs nobody a fetch.
    let stranger = valid_claims("https://stranger.example", NOW);
    assert_eq!(ask(sign(&ours, &stranger)).await, refused(TokenError::IssuerUnknown));
    let unsigned = ours.sign(&json!({"alg": "none"}), &valid_claims(&here.issuer(), NOW));
    assert_eq!(ask(unsigned).await, refused(TokenError::AlgorithmUnsupported));
    assert!(here.server.calls().is_empty() && there.server.calls().is_empty());

    assert_eq!(ask(sign(&ours, &valid_claims(&here.issuer(), NOW))).await, Ok("here".into()));
    assert_eq!((here.key_fetches(), there.key_fetches()), (1, 0));
    assert_eq!(ask(sign(&ours, &valid_claims(&there.issuer(), NOW))).await, refused(TokenError::SignatureInvalid));
    assert_eq!(ask(sign(&theirs, &valid_claims(&there.issuer(), NOW))).await, Ok("there".into()));
    assert_eq!((here.key_fetches(), there.key_fetches()), (1, 1));
}

#[tokio::test]
async fn a_refresh_that_hangs_is_waited_for_only_by_its_own_issuers_callers() {
    let (ours, theirs) = (TestKey::p256("k1"), TestKey::p256("k1"));
    let (here, hanging) = (Provider::start(&[&ours]).await, Provider::start(&[&theirs]).await);
    let issuers = json!([
        {"id": "here", "issuer": here.issuer(), "audiences": ["hallpass"]},
        {"id": "hanging", "issuer": hanging.issuer(), "audiences": ["hallpass"]},
    ]);
    let issuers = parse_issuers(&issuers.to_string(), &mut Problems::default());
    let identity = Identity::new(issuers, &Https::in_tests());
    identity.prepare(now()).await;
    hanging.server.fail_always(&Fault::Hangs);
    let later = NOW + 601;
    let later_time = UNIX_EPOCH + Duration::from_secs(later);
    let token = UnverifiedToken::parse(&sign(&theirs, &valid_claims(&hanging.issuer(), later))).unwrap();
    identity.identify(token, later_time).await.unwrap();
    assert!(identity.refreshed("here", later_time).now_or_never().is_some());
    assert!(identity.refreshed("hanging", later_time).now_or_never().is_none());
}

#[tokio::test]
async fn all_keys_are_prepared_at_once_and_one_providers_silence_is_no_others() {
    let (ours, theirs) = (TestKey::p256("k1"), TestKey::p256("k1"));
    let (here, silent) = (Provider::start(&[&ours]).await, Provider::start(&[&theirs]).await);
    silent.server.fail_always(&Fault::Hangs);
    let entry = |id: &str, at: &Provider| json!({"id": id, "issuer": at.issuer(), "audiences": ["hallpass"]});
    let issuers = json!([entry("silent", &silent), entry("here", &here)]).to_string();
    let identity = Identity::new(parse_issuers(&issuers, &mut Problems::default()), &Https::in_tests());
    let waiting = async {
        identity.prepare(now()).await;
        let token = UnverifiedToken::parse(&sign(&theirs, &valid_claims(&silent.issuer(), NOW))).unwrap();
        identity.identify(token, now()).await
    };
    let served = async {
        while here.key_fetches() == 0 {
            tokio::task::yield_now().await;
        }
        let token = UnverifiedToken::parse(&sign(&ours, &valid_claims(&here.issuer(), NOW))).unwrap();
        identity.identify(token, now()).await
    };
    tokio::select! {
        biased;
        _ = waiting => panic!("a provider that is silent has answered"),
        identified = served => assert_eq!(identified.unwrap().caller.subject(), "carol"),
    }
    assert_eq!(here.key_fetches(), 1, "the request used what was prepared");
}

/// Text in which separators, brackets and white space are as frequent as letters.
const GROUPS_IN_TEXT: &str = "[ab,\\[{ \t\u{a0}\u{e9}]{0,12}";

proptest! {
    #[test]
    fn a_text_is_split_into_all_of_its_groups_or_refused(text in GROUPS_IN_TEXT, separator in "[, ]") {
        // The key is not needed: nothing but the claim is in question.
        let (_, desk) = desk(&json!({ "groups_separator": separator }));
        let Value::Object(claims) = with("groups", text.clone()) else { panic!() };
        let read = Caller::read(&desk.issuers[0], claims, token::Expiry { ends_at: 0, dead_from: 0 });
        let pieces: Vec<&str> = text.split(separator.as_str()).map(str::trim).collect();
        match read {
            Ok(caller) => {
                prop_assert_eq!(caller.groups().collect::<BTreeSet<_>>(), pieces.into_iter().collect());
                prop_assert!(!text.contains('\t'));
            }
            Err(TokenError::GroupsInText) => {
                let bracketed = pieces.iter().any(|name| name.starts_with(['[', '{']));
                prop_assert!(bracketed);
            }
            Err(refusal) => {
                prop_assert_eq!(refusal, TokenError::GroupsMalformed);
                prop_assert!(text.contains('\t') || pieces.contains(&""));
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = UnverifiedToken::parse(&text);
    }

    #[test]
    fn a_token_with_any_one_byte_changed_is_refused(at in 0_usize..400, byte in any::<u8>()) {
        let (key, desk) = desk(&json!({}));
        let mut token = sign(&key, &valid_claims(ISSUER, NOW)).into_bytes();
        let at = at % token.len();
        prop_assume!(token[at] != byte);
        token[at] = byte;
        if let Ok(token) = String::from_utf8(token) {
            prop_assert!(desk.verify(&token).is_err());
        }
    }
}
