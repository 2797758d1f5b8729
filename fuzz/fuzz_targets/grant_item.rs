//! An item of the table: a session that is made from it is one that STS takes.
#![no_main]

use std::sync::OnceLock;

use hallpass::grants::{
    GrantName, Holder, Item, Matches, Principal, Request, StoredItem, authorize, check,
};
use hallpass::identity::Caller;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    static CALLER: OnceLock<Caller> = OnceLock::new();
    let caller = CALLER.get_or_init(|| hallpass_fuzz::caller("payments").expect("an ordinary caller"));
    let Ok(Value::Object(attributes)) = serde_json::from_slice(data) else { return };
    let checked = check(&Value::Object(attributes.clone()), Holder::OptionalGroup);
    assert_eq!(checked.is_ok(), Item::read(&attributes).is_ok());
    let request =
        Request { grant: GrantName::default(), duration: None, source_ip: Some("203.0.113.7".parse().unwrap()) };
    let items = vec![StoredItem { principal: Principal::user(caller), attributes }];
    let matches = Matches { items, ..Matches::default() };
    if let Ok(pending) = authorize(caller, &request, matches, hallpass_fuzz::now()) {
        assert!(checked.is_ok(), "a session was made from an item that is unusable");
        let session = pending.describe();
        let text = session.policy().map_or("", |policy| policy.as_str());
        assert!(text.chars().count() <= 2_048 && text.chars().all(|c| ('\u{20}'..='\u{ff}').contains(&c)), "{text}");
        assert!(session.policy_arns().iter().count() <= 10 && session.tags().iter().count() <= 50);
        assert!((900..=129_600).contains(&session.duration().as_secs()));
    }
});
