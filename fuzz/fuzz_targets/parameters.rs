//! A query, a body and the segment of a path from a stranger.
#![no_main]

use hallpass::http::parameters::Parameters;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Parameters::from_body(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Parameters::from_query(text);
        let _ = Parameters::default().with_grant_of_path(text);
    }
});
