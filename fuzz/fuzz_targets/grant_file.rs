//! A grant file: every place is in the text, and what is formatted says the same, once and for all.
#![no_main]

use hallpass::grants::file::Files;
use hallpass::grants::file::format::{Unformatted, format};
use hallpass::read::json;
use hallpass::read::text::{Language, Node, Source, Span, Text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for language in [Language::Yaml, Language::Json] {
        let source = Source::new(data.to_vec());
        let text = Text::read(&source, language);
        places_are_in_the_text(&source, &text);
        if language == Language::Json && !data.starts_with("\u{feff}".as_bytes()) && !data.trim_ascii().is_empty() {
            match json::parse(data) {
                Ok(value) => assert_eq!(text.documents.first().map(Node::value), Some(value)),
                Err(_) => assert!(!text.mistakes.is_empty()),
            }
        }
        match format(&source, language) {
            Ok(once) => {
                let again = Source::new(once.clone().into_bytes());
                assert_eq!(format(&again, language).as_ref(), Ok(&once));
            }
            Err(error) => assert!(matches!(error, Unformatted::Mistakes(_)), "{:?}", source.text()),
        }
        let name = if language == Language::Yaml { "a.yaml" } else { "a.json" };
        let files = Files::of([(name.into(), data.to_vec())]);
        let findings = files.lint(None);
        assert!(findings.iter().all(|finding| finding.place.line >= 1 && finding.place.column >= 1));
        let _ = files.into_documents();
    }
});

fn places_are_in_the_text(source: &Source, text: &Text) {
    let check = |span: Span| assert!(source.text().get(span.range()).is_some(), "{span:?}");
    let mut nodes: Vec<&Node> = text.documents.iter().collect();
    while let Some(node) = nodes.pop() {
        check(node.span);
        for entry in node.entries().unwrap_or_default() {
            check(entry.key_span);
            nodes.push(&entry.value);
        }
        nodes.extend(node.items().unwrap_or_default());
    }
    text.comments.iter().for_each(|comment| check(comment.span));
}
