//! What is read of YAML and JSON, and what is refused?

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::read::json as strict;

fn yaml(text: &str) -> (Source, Text) {
    let source = Source::new(text.into());
    let read = Text::read(&source, Language::Yaml);
    (source, read)
}

/// The only document of a text without mistakes.
fn value(text: &str) -> Value {
    let (_, read) = yaml(text);
    assert_eq!((read.mistakes, read.documents.len()), (Vec::new(), 1), "{text}");
    read.documents[0].value()
}

/// Each mistake as `line:column kind`.
fn mistakes(text: &str, language: Language) -> Vec<String> {
    let source = Source::new(text.into());
    let read = Text::read(&source, language);
    let told = |mistake: &Mistake| {
        let Place { line, column } = source.place(mistake.span.start);
        format!("{line}:{column} {:?}", mistake.problem.rule)
    };
    read.mistakes.iter().map(told).collect()
}

#[test]
fn plain_scalars_are_those_of_the_core_schema() {
    for (text, expected) in [
        ("no", json!("no")),
        ("yes", json!("yes")),
        ("on", json!("on")),
        ("y", json!("y")),
        ("true", json!(true)),
        ("True", json!(true)),
        ("FALSE", json!(false)),
        ("tRUE", json!("tRUE")),
        ("null", json!({"a": null})["a"].clone()),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("0", json!(0)),
        ("-0", json!(0)),
        ("+12", json!(12)),
        ("-12", json!(-12)),
        ("0o7", json!(7)),
        ("0o17", json!(15)),
        ("0o8", json!("0o8")),
        ("0o", json!("0o")),
        ("-0o7", json!("-0o7")),
        ("0x1F", json!(31)),
        ("0xG", json!("0xG")),
        ("0b1", json!("0b1")),
        ("1_000", json!("1_000")),
        ("12:30:45", json!("12:30:45")),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("1.5", json!(1.5)),
        ("1.", json!(1.0)),
        (".5", json!(0.5)),
        ("1e3", json!(1000.0)),
        ("1E+3", json!(1000.0)),
        ("-1.5e-3", json!(-0.0015)),
        (".", json!(".")),
        ("e3", json!("e3")),
        ("1e", json!("1e")),
        ("+", json!("+")),
        ("inf", json!("inf")),
        ("2012-10-17", json!("2012-10-17")),
        ("2026-11-22T12:00:00Z", json!("2026-11-22T12:00:00Z")),
        ("'7'", json!("7")),
        ("\"true\"", json!("true")),
        ("|\n  7", json!("7\n")),
        ("|-\n  7", json!("7")),
        (">-\n  a\n  b", json!("a b")),
        ("=", json!("=")),
    ] {
        assert_eq!(value(&format!("a: {text}\n")), json!({"a": expected}), "{text}");
    }
    for text in
        [".inf", "-.Inf", "+.INF", ".nan", ".NaN", "1e999", "18446744073709551616", "0xFFFFFFFFFFFFFFFFF", "007"]
    {
        assert_eq!(mistakes(&format!("a: {text}\n"), Language::Yaml), ["1:4 YamlNumber"], "{text}");
    }
}

#[test]
fn every_key_and_every_value_knows_its_place() {
    let text = "# c\né: \"ü: x\"   # after\nlist:\n- a\n-   # c\n  b\nflow: [x, {k: 'it''s'} ]\nlit: |  # c\n\n  l1\n  l2\nmap:\n  - - in\n  - d: e\nempty:\nend: >-\n  z\n";
    let (source, read) = yaml(text);
    assert_eq!(read.mistakes, []);
    let root = &read.documents[0];
    let at = |pointer: &str| {
        let found = root.find(pointer);
        assert!(found.is_exact, "{pointer}");
        let place = |span: Span| source.place(span.start);
        let Place { line, column } = place(found.node.span);
        (found.key.map(|key| (place(key).line, place(key).column)), (line, column), source.slice(found.node.span))
    };
    assert_eq!(at("/é"), (Some((2, 1)), (2, 4), "\"ü: x\""));
    assert_eq!(at("/list"), (Some((3, 1)), (4, 1), "- a\n-   # c\n  b"));
    assert_eq!(at("/list/0"), (None, (4, 3), "a"));
    assert_eq!(at("/list/1"), (None, (6, 3), "b"));
    assert_eq!(at("/flow"), (Some((7, 1)), (7, 7), "[x, {k: 'it''s'} ]"));
    assert_eq!(at("/flow/1"), (None, (7, 11), "{k: 'it''s'}"));
    assert_eq!(at("/flow/1/k"), (Some((7, 12)), (7, 15), "'it''s'"));
    assert_eq!(at("/lit"), (Some((8, 1)), (8, 6), "|  # c\n\n  l1\n  l2"));
    assert_eq!(at("/map"), (Some((12, 1)), (13, 3), "- - in\n  - d: e"));
    assert_eq!(at("/map/0"), (None, (13, 5), "- in"));
    assert_eq!(at("/map/1/d"), (Some((14, 5)), (14, 8), "e"));
    assert_eq!(at("/empty"), (Some((15, 1)), (15, 7), ""));
    assert_eq!(at("/end"), (Some((16, 1)), (16, 6), ">-\n  z"));
    assert_eq!(at("").1, (2, 1));
    let comments: Vec<_> = read.comments.iter().map(|comment| (source.slice(comment.span), comment.is_alone)).collect();
    assert_eq!(comments, [("# c", true), ("# after", false), ("# c", false), ("# c", false)]);
}

#[test]
fn a_pointer_always_leads_somewhere() {
    let (_, read) = yaml("a/b: {c~d: [1]}\nx: 1\n");
    let root = &read.documents[0];
    assert_eq!(root.find("/a~1b/c~0d/0").node.value(), 1);
    for (pointer, nearest) in
        [("/y", ""), ("/x/y", "/x"), ("/a~1b/c~0d/1", "/a~1b/c~0d"), ("/a~1b/c~0d/-1", "/a~1b/c~0d")]
    {
        let found = root.find(pointer);
        assert!(!found.is_exact && found.node == root.find(nearest).node, "{pointer}");
    }
}

#[test]
fn a_file_has_several_documents_and_empty_ones_are_none() {
    for (text, expected) in [
        ("", vec![]),
        ("\u{feff}", vec![]),
        ("# only a comment\n", vec![]),
        ("---\n", vec![]),
        ("---\n---\n# c\n...\n", vec![]),
        ("~\n", vec![]),
        ("%YAML 1.2\n---\na: 1\n", vec![json!({"a": 1})]),
        ("\u{feff}a: 1\n", vec![json!({"a": 1})]),
        ("a: 1\r\n---\r\n# c\r\n---\r\nb: 2\r\n", vec![json!({"a": 1}), json!({"b": 2})]),
        ("a: 1\n...\nb: 2\n", vec![json!({"a": 1}), json!({"b": 2})]),
        ("- 1\n--- 2\n", vec![json!([1]), json!(2)]),
    ] {
        let (_, read) = yaml(text);
        assert_eq!(read.mistakes, [], "{text}");
        assert_eq!(read.documents.iter().map(Node::value).collect::<Vec<_>>(), expected, "{text}");
    }
    for (text, expected) in [("", 0), (" \n\t", 0), ("\u{feff}", 0), ("\u{feff}{}", 1), ("null", 1)] {
        let read = Text::read(&Source::new(text.into()), Language::Json);
        assert_eq!((read.mistakes, read.documents.len()), (Vec::new(), expected), "{text:?}");
    }
}

#[test]
fn what_could_be_understood_in_two_ways_is_refused_at_its_place() {
    for (text, expected) in [
        ("a: 1\nb: 2\na: 3\n", &["3:1 Duplicate"][..]),
        ("x: {\"a\": 1, a: 2}\n", &["1:13 Duplicate"]),
        ("a: &x 1\n", &["1:4 Anchor"]),
        ("a: &x\n  b: 1\n", &["1:4 Anchor"]),
        ("a: !!str &x 1\n", &["1:10 Anchor", "1:4 YamlTag"]),
        ("a: &x 1\nb: *x\n", &["1:4 Anchor", "2:4 Alias"]),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", &["1:4 Anchor", "3:3 MergeKey", "3:7 Alias"]),
        ("a: *none\n", &["1:4 Alias"]),
        ("a: *\n", &["1:4 Alias"]),
        ("a: [s3:*, *]\n", &["1:11 Alias"]),
        (
            "  a: *\n  b: [*c, &d x, *]\n  e: *\n  e: 1\n",
            &["1:6 Alias", "2:7 Alias", "2:11 Anchor", "2:17 Alias", "3:6 Alias", "4:3 Duplicate"],
        ),
        ("x: 1\n--- # c\n*: a\nb: *\nb: 2\n---\nc: *\n", &["3:1 Alias", "4:4 Alias", "5:1 Duplicate", "7:4 Alias"]),
        ("a: !Sub x\n", &["1:4 YamlTag"]),
        ("a: !!int 7\n", &["1:4 YamlTag"]),
        ("a: ! 7\n", &["1:4 YamlTag"]),
        ("--- !x\na: 1\n", &["1:5 YamlTag"]),
        ("1: a\n", &["1:1 StringKey"]),
        ("true: a\n~: b\n1.5: c\n", &["1:1 StringKey", "2:1 StringKey", "3:1 StringKey"]),
        ("? [a]\n: 1\n", &["1:3 StringKey"]),
        ("{a: 1}: 2\n", &["1:1 StringKey"]),
        (": 1\n", &["1:1 StringKey"]),
        ("no: 1\n\"1\": 2\n'<<': 3\n", &[]),
        ("a: [1\nb: 2\n", &["2:2 Syntax"]),
        ("a: 1\n\tb: 2\n", &["1:4 Syntax"]),
        ("a: 'x\n", &["1:4 Syntax"]),
        ("a: b: c\n", &["1:5 Syntax"]),
        ("a: @x\n", &["1:4 Syntax"]),
        ("a: \u{0}\nb: 1\n", &["1:4 Syntax"]),
        ("a: é\u{7}\n", &["1:5 Syntax"]),
        ("a: 1\n\u{feff}---\nb: 1\n", &["2:1 Syntax"]),
        ("a: [\n---\nb: 1\nb: 2\n---\nc: @\n", &["2:1 Syntax", "4:1 Duplicate", "6:4 Syntax"]),
    ] {
        assert_eq!(mistakes(text, Language::Yaml), expected, "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused_at_its_place() {
    for (text, expected) in [
        ("{\"a\":1,\n \"a\":2}", &["2:2 Duplicate"][..]),
        ("{\"a\":1,\"\\u0061\":2}", &["1:8 Duplicate"]),
        ("{\"a\":1,}", &["1:8 Syntax"]),
        ("[1,]", &["1:4 Syntax"]),
        ("[1 2]", &["1:4 Syntax"]),
        ("{a:1}", &["1:2 Syntax"]),
        ("{'a':1}", &["1:2 Syntax"]),
        ("{\"a\" 1}", &["1:6 Syntax"]),
        ("// c\n{}", &["1:1 Syntax"]),
        ("{} {}", &["1:4 Syntax"]),
        ("{\"a\":\n01}", &["2:1 Syntax"]),
        ("{\"a\":nul}", &["1:6 Syntax"]),
        ("{\"a\":1e999}", &["1:6 Syntax"]),
        ("\"a", &["1:1 Syntax"]),
        ("\"\\ud800\"", &["1:1 Syntax"]),
        ("\"a\nb\"", &["1:1 Syntax"]),
        ("{", &["1:2 Syntax"]),
        ("{\"é\":é}", &["1:6 Syntax"]),
    ] {
        assert_eq!(mistakes(text, Language::Json), expected, "{text}");
    }
}

#[test]
fn limits_hold_to_the_byte_and_to_the_level() {
    let padded = |bytes: usize| format!("a: 1\n#{}", "x".repeat(bytes - 6));
    assert_eq!(mistakes(&padded(MAX_BYTES), Language::Yaml), [""; 0]);
    assert_eq!(mistakes(&padded(MAX_BYTES + 1), Language::Yaml), ["1:1 TooLarge"]);
    let lists = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    for language in [Language::Yaml, Language::Json] {
        assert_eq!(mistakes(&lists(64), language), [""; 0]);
        assert_eq!(mistakes(&lists(65), language), ["1:65 TooDeep"]);
        // What stands behind is read all the same.
        let behind = format!("{{\"a\": {}, \"b\": 1, \"b\": 2}}", lists(70));
        assert_eq!(mistakes(&behind, language).len(), 2);
    }
    assert_eq!(mistakes(&"[".repeat(10_000), Language::Yaml), ["1:256 TooDeep"]);
    assert_eq!(mistakes(&"- ".repeat(10_000), Language::Yaml), ["1:129 TooDeep"]);
    assert_eq!(mistakes(&"{\"a\":".repeat(10_000), Language::Json).first().unwrap(), "1:321 TooDeep");
}

#[test]
fn a_billion_laughs_cost_nothing() {
    let line = |level: usize| format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}]\n", level - 1);
    let first = String::from("a0: &a0 [lol, lol]\n");
    let text = std::iter::once(first).chain((1..64).map(line)).collect::<Vec<_>>().concat();
    let (_, read) = yaml(&text);
    assert_eq!(read.mistakes.len(), 64 + 63 * 4);
    assert_eq!(read.documents[0].value()["a63"], json!([null, null, null, null]));
}

#[test]
fn many_mistakes_that_stop_the_parser_are_told_up_to_a_bound() {
    for text in ["é: *\n".repeat(10_000), "---\né: @\n".repeat(10_000), "- *\n".repeat(100_000)] {
        assert!((1..=MAX_MISTAKES).contains(&yaml(&text).1.mistakes.len()));
    }
}

#[test]
fn mistakes_are_counted_up_to_a_bound() {
    let text = "a: 1\n".repeat(20_000);
    assert_eq!(yaml(&text).1.mistakes.len(), MAX_MISTAKES);
}

#[test]
fn what_is_not_utf_8_is_refused_at_its_place() {
    for (bytes, place) in
        [(&b"a: \xff\n"[..], (1, 4)), (b"\xef\xbb\xbfa: 1\nb: \xc3(\n", (2, 4)), (b"\xfe\xff\0a", (1, 1))]
    {
        let source = Source::new(bytes.into());
        let read = Text::read(&source, Language::Yaml);
        let mistake = &read.mistakes[0];
        let Place { line, column } = source.place(mistake.span.start);
        assert_eq!((mistake.problem.rule, (line, column)), (Rule::Encoding, place));
    }
}

#[test]
fn only_regular_files_are_read_and_no_more_of_them_than_the_limit() {
    let directory = std::env::temp_dir().join(format!("hallpass-text-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("large.yaml");
    let file = fs::File::create(&path).unwrap();
    file.set_len(100_000_000).unwrap();
    let bytes = read_file(&path).unwrap();
    assert_eq!(bytes.len(), MAX_BYTES + 1);
    assert!(matches!(read_file(&directory), Err(Unreadable::NotRegular)));
    assert!(matches!(read_file(&directory.join("none")), Err(Unreadable::Io(_))));
    #[cfg(unix)]
    {
        let (pipe, link) = (directory.join("pipe.yaml"), directory.join("loop.yaml"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(read_file(&pipe)));
        let read = receiver.recv_timeout(Duration::from_mins(1)).expect("a pipe is not waited for");
        assert!(matches!(read, Err(Unreadable::NotRegular)));
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert!(matches!(read_file(&link), Err(Unreadable::Io(_))));
    }
    fs::remove_dir_all(&directory).unwrap();
}

/// Any JSON of few keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-z0-9~:#é \"\\\\\n-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-c/~é ]{0,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_read_as_the_strict_reader_reads_it(text in r#"[\[\]{}",:0-9a-eul\\ .+\-é]{1,24}"#) {
        prop_assume!(!text.trim_matches([' ', '\t', '\n', '\r']).is_empty());
        let read = Text::read(&Source::new(text.clone().into()), Language::Json);
        match strict::parse(text.as_bytes()) {
            Ok(value) => {
                prop_assert_eq!(&read.mistakes, &[]);
                prop_assert_eq!(read.documents[0].value(), value);
            }
            Err(_) => prop_assert!(!read.mistakes.is_empty()),
        }
    }

    #[test]
    fn what_serde_writes_is_read_again_in_both_languages(value in any_json()) {
        prop_assume!(!value.is_null());
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            for language in [Language::Json, Language::Yaml] {
                let source = Source::new(text.clone().into());
                let read = Text::read(&source, language);
                prop_assert_eq!(&read.mistakes, &[]);
                prop_assert_eq!(&read.documents[0].value(), &value);
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic_and_all_places_are_in_the_text(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for language in [Language::Json, Language::Yaml] {
            let source = Source::new(bytes.clone());
            all_places_are_in_the_text(&source, &Text::read(&source, language));
        }
    }

    #[test]
    fn places_of_yaml_are_in_the_text(text in "([a-c]: |- |[\\[\\]{},:?|>'\"*&!#~é\n -]|\n  |---\n|\r\n|<<){0,40}") {
        let (source, read) = yaml(&text);
        all_places_are_in_the_text(&source, &read);
    }
}

fn all_places_are_in_the_text(source: &Source, text: &Text) {
    let check = |span: Span| {
        assert!(span.start <= span.end && span.end <= source.text().len(), "{span:?} in {:?}", source.text());
        assert!(source.text().is_char_boundary(span.start) && source.text().is_char_boundary(span.end), "{span:?}");
    };
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
    for mistake in &text.mistakes {
        let place = source.place(mistake.span.start);
        assert!(place.line >= 1 && place.column >= 1);
    }
}
