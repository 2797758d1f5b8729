//! A query, a body and the segment of a path from a stranger.
#![no_main]

use hallpass::credentials::console::{Console, Partition};
use hallpass::http::parameters::{Parameters, RawParameters};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Parameters::from_body(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Parameters::from_query(text);
        let _ = Parameters::default().with_grant_of_path(text);
        let body =
            RawParameters { body: text, media_type: "application/json", takes_body: true, ..RawParameters::default() };
        let console = Partition::of_region("eu-central-1").and_then(|partition| Console::new(partition, None).ok());
        if let Ok(asked) = body.read_console(&console.expect("a console")) {
            assert_eq!(asked.page.scheme(), "https");
            assert!(asked.page.host_str().is_some_and(|host| host.ends_with("console.aws.amazon.com")));
        }
    }
});
