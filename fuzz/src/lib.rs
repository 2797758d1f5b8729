//! Who could be calling? The targets need a caller, and only a verified token makes one.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use hallpass::identity::{Caller, Issuer, KeySet, UnverifiedToken, parse_issuers, verify};
use hallpass::read::problems::Problems;
use serde_json::json;

/// When all of it happens, so that a finding can be played again.
#[must_use]
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

struct Desk {
    key: Ed25519KeyPair,
    issuer: Issuer,
    keys: KeySet,
}

fn desk() -> &'static Desk {
    static DESK: OnceLock<Desk> = OnceLock::new();
    DESK.get_or_init(|| {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed is 32 bytes");
        let public = BASE64URL_NOPAD.encode(key.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": public, "kid": "fuzz"});
        let entry = json!([{
            "id": "corp", "issuer": "https://login.example.com", "audiences": ["hallpass"], "algorithms": ["EdDSA"],
        }]);
        Desk {
            key,
            issuer: parse_issuers(&entry.to_string(), &mut Problems::default()).remove(0),
            keys: KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).expect("the key is usable"),
        }
    })
}

/// A caller whose claim `/x` is `claim`, unless the token would be too large.
#[must_use]
pub fn caller(claim: &str) -> Option<Caller> {
    let Desk { key, issuer, keys } = desk();
    let claims = json!({
        "iss": "https://login.example.com", "sub": "carol", "aud": "hallpass", "iat": 1_800_000_000_u64,
        "exp": 1_800_000_600_u64, "x": claim,
    });
    let encode = |text: String| BASE64URL_NOPAD.encode(text.as_bytes());
    let input = format!("{}.{}", encode(json!({"alg": "EdDSA"}).to_string()), encode(claims.to_string()));
    let signature = BASE64URL_NOPAD.encode(key.sign(input.as_bytes()).as_ref());
    let token = format!("{input}.{signature}");
    verify(UnverifiedToken::parse(&token).ok()?.check_header(issuer).ok()?, keys, now()).ok()
}
