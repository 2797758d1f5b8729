//! A discovery document from a provider that may be in other hands: it never leads anywhere but to https.
#![no_main]

use std::sync::LazyLock;

use hallpass::identity::{Issuer, key_set_address, parse_issuers};
use hallpass::read::problems::Problems;
use libfuzzer_sys::fuzz_target;

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let text = r#"[{"id":"corp","issuer":"https://a","audiences":["h"]}]"#;
    parse_issuers(text, &mut Problems::default()).remove(0)
});

fuzz_target!(|data: &[u8]| {
    if let Ok(address) = key_set_address(data, &ISSUER) {
        assert_eq!(address.scheme(), "https", "{address}");
    }
});
