//! Is there one form, and does it say the same?

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn formatted(text: &str) -> String {
    let once = format(&Source::new(text.into()), Language::Yaml).unwrap_or_else(|error| panic!("{error:?}: {text}"));
    let twice = format(&Source::new(once.clone().into()), Language::Yaml);
    assert_eq!(twice.as_ref(), Ok(&once), "not the same again: {text}");
    once
}

#[test]
fn a_file_has_one_form_and_keeps_its_comments() {
    let text = r#"# yaml-language-server: $schema=grant.schema.json

# The policy of deployers.
policy:   # all of it
    "Statement":
    - Resource: ['arn:aws:s3:::acme-shop/*']   # one bucket
      # They write, too.
      Action:   # see the runbook
      - s3:GetObject

      # A comment apart.
      - "s3:PutObject"
      Effect: "Allow"
    # The end of the statements.
    Version: "2012-10-17"


# Who gets it.
principals:
- corp/group/deployers # a team
grant: 'deploy'
description: "Deploying: the assets"
require: {max_age: 900,
  amr: [mfa]}
tags:
  team: "${jwt:/department}"
not_after: 2027-01-15T08:00:00Z
max_duration: 0x1C20
# The end.
"#;
    let expected = r#"# yaml-language-server: $schema=grant.schema.json

# The policy of deployers.
grant: deploy
description: "Deploying: the assets"

# Who gets it.
principals:
  - corp/group/deployers # a team
not_after: "2027-01-15T08:00:00Z"
max_duration: 7200
require: {amr: [mfa], max_age: 900}
tags: {team: "${jwt:/department}"}
policy: # all of it
  # The end of the statements.
  Version: "2012-10-17"
  Statement:
    - Effect: Allow
      # They write, too.
      Action: # see the runbook
        - s3:GetObject

        # A comment apart.
        - s3:PutObject
      Resource: ["arn:aws:s3:::acme-shop/*"] # one bucket
# The end.
"#;
    assert_eq!(formatted(text), expected);
}

#[test]
fn documents_stay_and_empty_ones_go() {
    for (text, expected) in [
        ("", ""),
        ("\u{feff}", ""),
        ("---\n---\n", ""),
        ("# a\r\n\r\n\r\n# b\r\n", "# a\n\n# b\n"),
        ("%YAML 1.2\n---\ngrant: a\n...\n", "grant: a\n"),
        ("--- # a\ngrant: a\n---\n# b\n\n\nx: 1\n# c\n--- # d\n", "# a\ngrant: a\n---\n# b\n\nx: 1\n# c\n# d\n"),
        ("- a\n--- b\n", "- a\n---\nb\n"),
        ("[a, {b: [c]}] # d\n", "- a\n- {b: [c]}\n# d\n"),
        ("[]\n", "[]\n"),
        ("a: [ # b\n ]\n", "# b\na: []\n"),
        ("# hallpass: allow x: y\nx: 1\ngrant: a\n", "grant: a\n# hallpass: allow x: y\nx: 1\n"),
        ("a:\n  - b\n# c\nd: 1\n", "a: [b]\n# c\nd: 1\n"),
        ("a:\n- b\n# c\nd: 1\n", "a: [b]\n# c\nd: 1\n"),
        (
            "a:\n  b:\n    c: 1\n    # in b\n  # in a\n# in the document\nd: 1\n",
            "a:\n  b:\n    c: 1\n    # in b\n  # in a\n# in the document\nd: 1\n",
        ),
        ("a: |  # b\n  c\n  d\ne: >\n  f\n  g\n", "a: | # b\n  c\n  d\ne: |\n  f g\n"),
        ("a: \n      # f\n  |\n      text\n\n      more\n", "# f\na: |\n  text\n\n  more\n"),
        ("- c: |\n    t\n    u\n# d\n  a: 1\n", "# d\n- a: 1\n  c: |\n    t\n    u\n"),
        ("- b: |\n    t\n    u\n  a: [ # d\n    ]\n", "# d\n- a: []\n  b: |\n    t\n    u\n"),
        ("- - \n\n  - - \n    - c: q\n", "- - null\n\n  - - null\n    - {c: q}\n"),
        ("- - [a, {b: {c: 1}}] # d\n  - e\n", "# d\n- - - a\n    - b: {c: 1}\n  - e\n"),
        ("- # a\n  b: 1\n- - c\n", "# a\n- {b: 1}\n- [c]\n"),
    ] {
        assert_eq!(formatted(text), expected, "{text:?}");
    }
}

#[test]
fn strings_are_quoted_where_a_reader_could_take_them_for_something_else() {
    for (text, expected) in [
        (r#"a: "b c""#, "a: b c\n"),
        (r#"a: "b: c""#, "a: \"b: c\"\n"),
        (r#"a: "b #c""#, "a: \"b #c\"\n"),
        ("a: no", "a: \"no\"\n"),
        ("a: 'True'", "a: \"True\"\n"),
        ("a: '1'", "a: \"1\"\n"),
        ("a: 2012-10-17", "a: \"2012-10-17\"\n"),
        ("a: ''", "a: \"\"\n"),
        ("a:", "a: null\n"),
        ("a: s3:GetObject", "a: s3:GetObject\n"),
        ("a: [s3:GetObject, b]", "a: [\"s3:GetObject\", b]\n"),
        ("a: 'it''s'", "a: it's\n"),
        ("a: '*'", "a: \"*\"\n"),
        (r#"a: "\t\u0007\u2028é\"\\""#, "a: \"\\t\\U00000007\\U00002028é\\\"\\\\\"\n"),
        ("a: \"x\\n y\\n\"", "a: |\n  x\n   y\n"),
        ("a: \" x\\ny\"", "a: \" x\\ny\"\n"),
        ("\"b:c\": 1\n\"\": 2", "\"\": 2\n\"b:c\": 1\n"),
    ] {
        assert_eq!(formatted(text), expected, "{text}");
    }
}

#[test]
fn json_has_one_form_too() {
    let text = "\u{feff}{\"principals\":[\"corp/everyone\"],\n\n\"grant\":\"a\", \"policy\": {\"Statement\": {\"Resource\":\"*\",\"Effect\":\"Allow\",\"Action\":[\"s3:\\u0047et\"]}}, \"tags\": {}}";
    let expected = "{\n  \"grant\": \"a\",\n  \"principals\": [\"corp/everyone\"],\n  \"tags\": {},\n  \"policy\": {\n    \"Statement\": {\n      \"Effect\": \"Allow\",\n      \"Action\": [\"s3:Get\"],\n      \"Resource\": \"*\"\n    }\n  }\n}\n";
    assert_eq!(format(&Source::new(text.into()), Language::Json).unwrap(), expected);
    assert_eq!(format(&Source::new(expected.into()), Language::Json).unwrap(), expected);
    assert_eq!(format(&Source::new(" \n".into()), Language::Json).unwrap(), "");
}

#[test]
fn what_cannot_be_read_is_not_formatted() {
    for text in ["a: 1\na: 2\n", "a: &b 1\n", "a: [\n", "a: 007\n"] {
        assert!(matches!(format(&Source::new(text.into()), Language::Yaml), Err(Unformatted::Mistakes(_))), "{text}");
    }
}

#[test]
fn the_samples_are_formatted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("grants");
    let mut seen = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(formatted(&text), text, "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn what_is_written_is_formatted() {
    let documents =
        [json!({"policy": {"Statement": []}, "grant": "a", "principals": ["b/everyone"]}), json!({"grant": "c"})];
    let text = write(&documents);
    assert_eq!(text, "grant: a\nprincipals: [b/everyone]\npolicy:\n  Statement: []\n---\ngrant: c\n");
    assert_eq!(formatted(&text), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn what_is_formatted_says_the_same_and_is_formatted(lines in prop::collection::vec(any_line(), 0..12)) {
        let text = lines.concat();
        let source = Source::new(text.clone().into());
        match format(&source, Language::Yaml) {
            Ok(once) => {
                let again = Source::new(once.clone().into());
                let values = |source: &Source| Text::read(source, Language::Yaml).documents.iter().map(Node::value).collect::<Vec<_>>();
                prop_assert_eq!(values(&again), values(&source));
                prop_assert_eq!(format(&again, Language::Yaml), Ok(once));
            }
            Err(error) => prop_assert!(matches!(error, Unformatted::Mistakes(_)), "{:?}", text),
        }
    }

    #[test]
    fn any_value_is_written_and_read_again(texts in prop::collection::vec("[ -~é\n\t\u{85}\u{a0}\u{feff}\u{7f}]{0,12}", 0..6)) {
        let value = json!({"texts": texts, "map": texts.iter().map(|text| (text.clone(), json!([text]))).collect::<serde_json::Map<_, _>>()});
        let text = write(std::slice::from_ref(&value));
        let source = Source::new(text.clone().into());
        let read = Text::read(&source, Language::Yaml);
        prop_assert_eq!(&read.mistakes, &[], "{}", text);
        prop_assert_eq!(read.documents[0].value(), value);
        prop_assert_eq!(format(&source, Language::Yaml), Ok(text));
    }
}

/// A line that is often part of a document, with comments in all places.
fn any_line() -> impl Strategy<Value = String> {
    let indent = prop_oneof![Just(""), Just("  "), Just("    ")];
    let key = prop_oneof![
        Just(""),
        Just("- "),
        Just("a: "),
        Just("b: "),
        Just("grant: "),
        Just("policy: "),
        Just("- c: "),
        Just("- - "),
        Just("'x y': ")
    ];
    let value = prop_oneof![
        Just(""),
        Just("x"),
        Just("7"),
        Just("[x, y]"),
        Just("{k: v}"),
        Just("[ # in\n     x,\n   # alone\n  y ]"),
        Just("|\n      text\n\n      more"),
        Just("\"q\" "),
        Just("a b\n       c"),
        Just("---"),
        Just("[]"),
        Just("{k: [1, {l: m}]}"),
        Just(">-\n      folded\n      text")
    ];
    let end = prop_oneof![
        Just("\n"),
        Just(" # c\n"),
        Just("\n# d\n"),
        Just("\n  # e\n"),
        Just("\n\n"),
        Just("\n      # f\n"),
        Just("\n\n\n # g\n")
    ];
    (indent, key, value, end).prop_map(|(indent, key, value, end)| format!("{indent}{key}{value}{end}"))
}
