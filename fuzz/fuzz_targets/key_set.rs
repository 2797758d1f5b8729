//! A key set from a provider that may be in other hands.
#![no_main]

use hallpass::identity::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(keys) = KeySet::parse(data) {
        let _ = keys.has(Some("k1"));
    }
});
