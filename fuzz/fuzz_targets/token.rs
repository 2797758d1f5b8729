//! A token from a stranger: no text makes the parser fail, or is accepted, since no key ever signed one.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use hallpass::identity::{Issuer, KeySet, UnverifiedToken, parse_issuers, verify};
use hallpass::read::problems::Problems;
use libfuzzer_sys::fuzz_target;

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let text = r#"[{"id":"corp","issuer":"https://a","audiences":["h"],"algorithms":["RS256","PS256","ES256","EdDSA"]}]"#;
    parse_issuers(text, &mut Problems::default()).remove(0)
});

/// RFC 8037, appendix A: the private half is public, but a fuzzer does not sign with it.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let text = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    KeySet::parse(text).expect("the key of RFC 8037 is usable")
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = UnverifiedToken::parse(text).and_then(|token| token.check_header(&ISSUER)) {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert!(verify(token, &KEYS, now).is_err(), "accepted what nobody signed");
    }
});
