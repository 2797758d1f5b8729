//! What do grant files say, and what is wrong with them?

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::read::text::Place;

const VALID: &str = "grant: deploy\nprincipals: [corp/group/deployers, corp/user/carol]\nmax_duration: 7200\n";

fn read(files: &[(&str, &str)]) -> Files {
    Files::of(files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())))
}

/// Each finding as `file:line:column rule pointer`.
fn told(files: &Files) -> Vec<String> {
    let told = |finding: &Finding| {
        let (path, place) = (finding.path.display(), finding.place);
        format!("{path}:{}:{} {} {}", place.line, place.column, finding.problem.rule, finding.problem.at)
    };
    files.findings().iter().map(told).collect()
}

#[test]
fn a_document_is_an_item_for_each_of_its_principals() {
    let second =
        "---\ngrant: home\nprincipals: [corp/everyone]\nnot_before: 2027-01-15T08:00:00Z\nnot_after: 1900000000\n";
    let files =
        read(&[("a.yaml", &format!("{VALID}{second}")), ("b.json", r#"{"grant":"x","principals":["b/everyone"]}"#)]);
    assert_eq!(told(&files), [""; 0]);
    assert_eq!((files.files().len(), files.grants(), files.items()), (2, 3, 4));
    let documents = files.into_documents().unwrap();
    let [deploy, home, other] = documents.as_slice() else { panic!("three documents") };
    assert_eq!((deploy.index(), home.index(), other.index()), (0, 1, 0));
    assert_eq!(deploy.principals()[1].place, Place { line: 2, column: 36 });
    assert_eq!(serde_json::json!(deploy.attributes()), serde_json::json!({"max_duration": 7200}));
    let times = serde_json::json!({"not_before": 1_800_000_000, "not_after": 1_900_000_000});
    assert_eq!(serde_json::json!(home.attributes()), times);
    assert_eq!(home.place("/not_after"), Place { line: 8, column: 12 });
    assert_eq!(home.place("/policy/Statement"), Place { line: 5, column: 1 });
    assert_eq!(other.path(), Path::new("b.json"));
}

#[test]
fn a_document_needs_a_name_and_principals() {
    for (text, expected) in [
        ("- grant: a\n", &["a.yaml:1:1 type "][..]),
        ("deploy\n", &["a.yaml:1:1 type "]),
        ("description: x\n", &["a.yaml:1:1 missing ", "a.yaml:1:1 missing "]),
        ("grant:\nprincipals:\n", &["a.yaml:1:7 grant-name /grant", "a.yaml:2:12 principal /principals"]),
        ("grant: Deploy\nprincipals: []\n", &["a.yaml:1:8 grant-name /grant", "a.yaml:2:13 principal /principals"]),
        ("grant: '#blocked'\nprincipals: [corp/everyone]\n", &["a.yaml:1:8 grant-name /grant"]),
        (
            "grant: 7\nprincipals: corp/everyone\n",
            &["a.yaml:1:8 grant-name /grant", "a.yaml:2:13 principal /principals"],
        ),
        (
            "grant: a\nprincipals:\n  - corp/everyone\n  - carol\n  - 7\n  - corp/everyone\n",
            &[
                "a.yaml:4:5 principal /principals/1",
                "a.yaml:5:5 principal /principals/2",
                "a.yaml:6:5 duplicate /principals/3",
            ],
        ),
        (
            "grant: a\nprincipals: [corp/everyone]\nrevision: 1-a\nupdated_by: me\naws:rep:x: 1\n",
            &[
                "a.yaml:3:1 unknown-member /revision",
                "a.yaml:4:1 unknown-member /updated_by",
                "a.yaml:5:1 unknown-member /aws:rep:x",
            ],
        ),
        (
            "grant: a\nprincipals: [corp/everyone]\nnot_before: tomorrow\nnot_after: 2027-01-15\n",
            &["a.yaml:3:13 time /not_before", "a.yaml:4:12 time /not_after"],
        ),
    ] {
        let files = read(&[("a.yaml", text)]);
        assert_eq!(told(&files), expected, "{text}");
        assert!(files.documents().is_empty() && files.into_documents().is_err(), "{text}");
    }
}

#[test]
fn one_pair_of_principal_and_grant_in_two_documents_names_both_places() {
    let other = "grant: deploy\nprincipals:\n- corp/user/dave\n- corp/user/carol\n";
    let files = read(&[("a.yaml", VALID), ("b.yaml", other)]);
    assert_eq!(told(&files), ["b.yaml:4:3 duplicate /principals/1"]);
    let message = &files.findings()[0].problem.says;
    assert_eq!(message, "is for `corp/user/carol`, who has the grant `deploy` already, at a.yaml:2:36");
    assert_eq!(told(&read(&[("a.yaml", &format!("{VALID}---\n{other}"))])), ["a.yaml:8:3 duplicate /principals/1"]);
    assert_eq!(told(&read(&[("a.yaml", VALID), ("b.yaml", &other.replace("deploy", "other"))])), [""; 0]);
}

#[test]
fn what_cannot_be_read_is_told_once() {
    let text = "grant: &a deploy\nprincipals: *b\npolicy: *c\nmax_duration: !!int 7\n";
    let files = read(&[("a.yaml", text)]);
    assert_eq!(told(&files)[0], "a.yaml:1:8 anchor ");
    assert!(told(&files).iter().all(|told| !told.contains("item")), "{:?}", told(&files));
    let merged = "grant: a\nprincipals: [corp/everyone]\npolicy:\n  <<: {Version: x}\n";
    assert_eq!(told(&read(&[("a.yaml", merged)])), ["a.yaml:4:3 merge-key "]);
}

#[test]
fn warnings_about_the_rest_come_with_the_errors() {
    let text = "grant: a\nprincipals: [corp/everyone]\nmax_duration: 7\nduration: 900\ncolour: red\npolicy:\n  Statement:\n    \
                - {Effect: allow, Action: \"*\", Resource: \"*\"}\n    - {Effect: Allow, Action: \"sts:*\", Resource: \"*\"}\n";
    let files = read(&[("a.yaml", text)]);
    let rules: Vec<String> =
        files.lint(None).iter().map(|it| format!("{} {}", it.place.line, it.problem.rule)).collect();
    assert_eq!(rules, ["3 duration", "4 short-session", "5 unknown-member", "8 effect", "9 sts-action"]);
    assert!(files.documents().is_empty());
}

#[test]
fn the_files_that_count_are_found_once_and_in_order() {
    let root = std::env::temp_dir().join(format!("hallpass-files-{}", std::process::id()));
    let at = |path: &str| root.join(path);
    for directory in ["grants/sub/.hidden", "grants/.git", "other"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for (index, name) in [
        "grants/b.yml",
        "grants/a.json",
        "grants/sub/c.yaml",
        "grants/.d.yaml",
        "grants/.git/e.yaml",
        "grants/sub/.hidden/f.yaml",
        "grants/grant.schema.json",
        "grants/a.test.yaml",
        "grants/README.md",
        "grants/g.YAML",
        "other/h.yaml",
    ]
    .iter()
    .enumerate()
    {
        let text = format!(r#"{{"grant":"g{index}","principals":["corp/everyone"]}}"#);
        fs::write(at(name), text).unwrap();
    }
    let found = |paths: &[PathBuf]| {
        let files = Files::read(paths);
        assert!(!files.is_unreadable(), "{:?}", files.findings());
        files
            .files()
            .iter()
            .map(|file| file.path.strip_prefix(&root).unwrap().display().to_string())
            .collect::<Vec<_>>()
    };
    let all = ["grants/a.json", "grants/b.yml", "grants/sub/c.yaml"];
    assert_eq!(found(&[at("grants")]), all);
    assert_eq!(found(&[at("grants/sub/../sub/c.yaml"), at("grants"), at("grants/b.yml")]).len(), 3);
    assert_eq!(found(&[at("grants/README.md"), at("grants/a.test.yaml"), at("other")]), ["other/h.yaml"]);
    assert_eq!(Files::read(&[at("grants/README.md")]).skipped(), [at("grants/README.md")]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(at("other"), at("grants/sub/linked")).unwrap();
        symlink(at("other/h.yaml"), at("grants/linked.yaml")).unwrap();
        assert_eq!(
            found(&[at("grants")]),
            ["grants/a.json", "grants/b.yml", "grants/linked.yaml", "grants/sub/c.yaml"]
        );
        symlink(at("grants"), at("grants/sub/loop")).unwrap();
        symlink(at("grants/none"), at("grants/gone.yaml")).unwrap();
        let files = Files::read(&[at("grants"), at("nowhere")]);
        let rules: Vec<_> = files.findings().iter().map(|finding| finding.problem.rule.id()).collect();
        assert_eq!((files.is_unreadable(), files.files().len(), rules), (true, 4, vec!["unreadable"; 3]));
    }
    fs::remove_dir_all(&root).unwrap();
}
