//! A policy: what is printed is read again as the same.
#![no_main]

use std::sync::OnceLock;

use hallpass::session::FederatedName;
use hallpass::grants::{Policy, Template};
use hallpass::identity::Caller;
use hallpass::read::json;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    static CALLER: OnceLock<(Caller, FederatedName)> = OnceLock::new();
    let (caller, name) = CALLER.get_or_init(|| {
        let caller = hallpass_fuzz::caller("payments").expect("an ordinary caller");
        let name = FederatedName::of(&caller).expect("a name from the subject");
        (caller, name)
    });
    let print = |policy: &Policy| {
        let fill = |template: &Template| template.fill(caller, name);
        policy.statements().iter().map(|statement| statement.print(&fill)).collect::<Result<Vec<Value>, _>>()
    };
    let Ok(document) = json::parse(data) else { return };
    let Ok(policy) = Policy::parse(&document, "") else { return };
    let Ok(statements) = print(&policy) else { return };
    let printed = Policy::print(&statements);
    assert!(printed.chars().all(|c| ('\u{20}'..='\u{ff}').contains(&c)), "{printed}");
    for mark in ["$${", "&{", "#{", "{{", "${AWS::", "${self:", "${!"] {
        assert!(!printed.contains(mark), "{printed} holds what another tool should have replaced");
    }
    let again = json::parse(printed.as_bytes()).expect("what is printed is JSON");
    match Policy::parse(&again, "") {
        Ok(again) => assert_eq!(print(&again).expect("nothing is left to fill in"), statements),
        // What a claim says can be no date, number or account: then it is for STS to refuse.
        Err(problems) => {
            let text = document.to_string();
            assert!(text.contains("${jwt:") || text.contains("${session:"), "{problems}: {printed}");
        }
    }
});
