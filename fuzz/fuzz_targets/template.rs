//! A template, a zero byte, and a claim's value: what is filled in says nothing to IAM that its author did not say.
#![no_main]

use hallpass::session::FederatedName;
use hallpass::grants::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, claim) = text.split_once('\0').unwrap_or((text, "payments"));
    let Ok(template) = Template::parse(text) else { return };
    for mark in ["$${", "&{", "#{", "{{"] {
        assert!(!text.contains(mark), "{text:?} holds what another tool should have replaced");
    }
    let Some(caller) = hallpass_fuzz::caller(claim) else { return };
    let name = FederatedName::of(&caller).expect("a name from the subject");
    let Ok(filled) = template.fill(&caller, &name) else { return };

    let harmless = |c: char| c.is_ascii_alphanumeric() || "_.@+=,|-".contains(c);
    let telling = |text: &str| text.chars().filter(|c| !harmless(*c)).collect::<String>();
    let written = text.split("${jwt:").enumerate().map(|(index, part)| {
        // What its author wrote outside of our templates.
        if index == 0 { part } else { part.split_once('}').map_or("", |(_, behind)| behind) }
    });
    let written = written.collect::<Vec<&str>>().join("x").replace("${session:name}", "x");
    assert_eq!(telling(&filled), telling(&written), "{text:?} with {claim:?} is {filled:?}");

    let again = Template::parse(&filled).expect("what is filled in is a template");
    assert_eq!(again.fill(&caller, &name).as_deref(), Ok(filled.as_str()), "there is one pass");
});
