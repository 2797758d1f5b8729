//! An item of the table: what is read is printed as a policy that is read again as the same.
#![no_main]

use hallpass::grants::{Item, Policy};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(document) = serde_json::from_slice::<Value>(data) else { return };
    if let Ok(policy) = Policy::parse(&document, "") {
        let statements = policy.into_statements();
        let printed = Policy::print(&statements);
        assert!(printed.chars().all(|c| ('\u{20}'..='\u{ff}').contains(&c)), "{printed}");
        let again: Value = serde_json::from_str(&printed).expect("what is printed is JSON");
        let again = Policy::parse(&again, "").expect("what is printed is a policy");
        assert_eq!(again.into_statements(), statements);
    }
    if let Value::Object(attributes) = document {
        let _ = Item::read(attributes);
    }
});
