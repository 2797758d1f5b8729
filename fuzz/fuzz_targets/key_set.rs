//! A key set from a provider that may be in other hands.
#![no_main]

use hallpass::identity::{Algorithm, KeySet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let keys = KeySet::parse(data);
    if let Ok(keys) = &keys {
        for algorithm in Algorithm::ALL {
            let _ = keys.has(Some("k1"), algorithm);
        }
    }
    // A byte order mark before the document means nothing.
    if !data.starts_with(b"\xef\xbb\xbf") {
        let marked = KeySet::parse(&[b"\xef\xbb\xbf", data].concat());
        assert_eq!(keys.is_ok(), marked.is_ok(), "a byte order mark changed the verdict");
    }
});
