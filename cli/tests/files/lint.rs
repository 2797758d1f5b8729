//! What does `hallpass grants lint` say of whole directories?

use serde_json::{Value, json};

use super::run::Directory;

const VALID: &str = "grant: deploy\nprincipals: [corp/group/deployers]\n";

fn report(directory: &Directory, arguments: &[&str]) -> (i32, Value) {
    let run = directory.run(&[&["lint", "--format", "json"], arguments].concat());
    (run.code, serde_json::from_str(&run.stdout).unwrap())
}

/// Each finding as `file:line:column rule`.
fn told(report: &Value) -> Vec<String> {
    let told = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        format!("{}:{}:{} {}", text("file"), finding["line"], finding["column"], text("rule"))
    };
    report["findings"].as_array().unwrap().iter().map(told).collect()
}

/// A grant whose policy has about `characters` of them.
fn grant(name: &str, principals: &str, characters: usize) -> String {
    let resource = format!("arn:aws:s3:::{name}/{}", "x".repeat(characters));
    format!(
        "grant: shared\nprincipals: [{principals}]\npolicy:\n  Version: \"2012-10-17\"\n  Statement: {{Effect: Allow, Action: \"s3:GetObject\", Resource: \"{resource}\"}}\n"
    )
}

#[test]
fn the_report_counts_files_grants_and_items() {
    let two = format!("\u{feff}{VALID}---\ngrant: home\nprincipals: [corp/everyone, corp/user/carol]\n");
    let directory =
        Directory::with(&[("grants/a.yaml", &two), ("grants/empty.yaml", "# nothing\n"), ("grants/b.json", "")]);
    let expected = json!({"findings": [], "files": 3, "grants": 2, "items": 3});
    assert_eq!(report(&directory, &[]), (0, expected));
    let run = directory.run(&["lint"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(run.stderr, "0 errors and 0 warnings in 3 files (2 grants, 3 items)\n");
}

#[test]
fn the_exit_code_says_what_was_found() {
    let warning = format!("{VALID}max_duration: 900\n");
    let directory =
        Directory::with(&[("grants/a.yaml", &warning), ("bad/a.yaml", "grant: [\n"), ("none/a.yaml", "# none\n")]);
    for (arguments, code) in [
        (&["lint"][..], 0),
        (&["lint", "--deny-warnings"], 3),
        (&["lint", "bad"], 3),
        (&["lint", "bad", "grants", "none"], 3),
        (&["lint", "none"], 1),
        (&["lint", "nowhere"], 1),
        (&["lint", "grants", "nowhere"], 1),
        (&["lint", "--format", "xml"], 2),
        (&["lint", "--colour"], 2),
        (&["lint", "--issuers", "nowhere"], 1),
        (&["lint", "--issuers", "grants/a.yaml"], 1),
    ] {
        let run = directory.run(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {run:?}");
    }
}

#[test]
fn people_see_the_line_a_marker_and_the_remedy() {
    let text = "grant: deploy\nprincipals: [corp/group/é, \"corp/usr/\\e[31mcarol\"]\n";
    let run = Directory::with(&[("grants/a.yaml", text)]).run(&["lint"]);
    let says = "must be `ISSUER/user/SUBJECT`, `ISSUER/group/GROUP` or `ISSUER/everyone`: `corp/usr/\\u{1b}[31mcarol`";
    let expected = format!(
        "grants/a.yaml:2:28: error[principal]: `/principals/1` {says}\n   |\n 2 | principals: [corp/group/é, \
         \"corp/usr/\\e[31mcarol\"]\n   |                            ^^^^^^^^^^^^^^^^^^^^^^\n"
    );
    assert_eq!(run.stdout, expected);
    let run = Directory::with(&[("grants/a.yaml", "grant: a\ngrant: b\n")]).run(&["lint"]);
    assert!(run.stdout.contains("\n 2 | grant: b\n   | ^^^^^\n  help: remove one of the two\n"), "{}", run.stdout);
}

#[test]
fn nothing_in_a_file_acts_on_a_terminal_or_a_runner() {
    let name = "grants/a%,:\u{1b}[2J.yaml";
    let text = "grant: \"a\\r\\n::warning::x\\u202e\"\nprincipals: [\"<]]>&'\\u0001\\\"\"]\n";
    let directory = Directory::with(&[(name, text)]);
    for format in ["text", "json", "github", "sarif", "junit"] {
        let run = directory.run(&["lint", "--format", format]);
        let is_harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        let shown =
            if format == "json" || format == "sarif" { run.stdout.replace('\u{202e}', "") } else { run.stdout.clone() };
        assert!(shown.chars().all(|c| is_harmless(c) || (c == '\u{202e}' && format == "junit")), "{format}: {shown:?}");
    }
    let github = directory.run(&["lint", "--format", "github"]).stdout;
    let lines: Vec<&str> = github.lines().collect();
    assert_eq!(lines.len(), 2, "{github}");
    assert!(
        lines[0].starts_with("::error file=grants/a%25%2C%3A\\u{1b}[2J.yaml,line=1,col=8,title=grant-name::"),
        "{github}"
    );
    assert!(lines[0].contains("a%0D%0A::warning::x"), "{github}");
    let junit = directory.run(&["lint", "--format", "junit"]).stdout;
    assert!(junit.contains("`&lt;]]&gt;&amp;&apos;\u{fffd}&quot;`"), "{junit}");
}

#[test]
fn ten_mistakes_of_one_file_are_ten_findings() {
    let text = "grant: Deploy\nprincipals: [carol]\nmax_duration: 1\nduration: 2\nenabled: 1\ncolour: red\ncolour: blue\n\
                tags: {team: 7}\npolicy:\n  Version: x\n  Statement: {Effect: allow, Action: s3, Resource: x}\n";
    let (code, report) = report(&Directory::with(&[("grants/a.yaml", text)]), &[]);
    assert_eq!(code, 3);
    let rules: Vec<String> = told(&report).iter().map(|told| told.rsplit(' ').next().unwrap().to_owned()).collect();
    let expected = [
        "grant-name",
        "principal",
        "duration",
        "duration",
        "type",
        "unknown-member",
        "duplicate",
        "type",
        "policy-version",
        "effect",
        "action",
        "resource",
    ];
    assert_eq!(rules, expected);
}

#[test]
fn what_one_caller_can_match_has_to_fit_together() {
    let fits = |files: &[(&str, &str)]| told(&report(&Directory::with(files), &[]).1);
    let (everyone, group) = (grant("a", "corp/everyone", 900), grant("b", "corp/group/x, corp/group/y", 900));
    assert_eq!(fits(&[("grants/a.yaml", &everyone), ("grants/b.yaml", &group)]), [""; 0]);
    let large = grant("b", "corp/group/x, corp/user/y", 1_100);
    assert_eq!(fits(&[("grants/a.yaml", &everyone), ("grants/b.yaml", &large)]), ["grants/b.yaml:4:3 policy-size"]);
    assert_eq!(fits(&[("grants/a.yaml", &everyone), ("grants/b.yaml", &large.replace("corp/", "other/"))]), [""; 0]);
    assert_eq!(fits(&[("grants/a.yaml", &everyone), ("grants/b.yaml", &large.replace("shared", "other"))]), [""; 0]);
    let other = grant("c", "corp/group/z", 700);
    let together = fits(&[("grants/a.yaml", &everyone), ("grants/b.yaml", &group), ("grants/c.yaml", &other)]);
    assert_eq!(together, ["grants/b.yaml:4:3 combined-size"]);
    let alone = grant("a", "corp/user/x", 1_700).replace("xxx\"", "${jwt:/sub}/${jwt:/b}/${jwt:/c}/${jwt:/d}\"");
    assert_eq!(fits(&[("grants/a.yaml", &grant("a", "corp/user/x", 1_700))]), [""; 0]);
    assert_eq!(fits(&[("grants/a.yaml", &alone)]), ["grants/a.yaml:4:3 policy-size"]);
}

#[test]
fn the_issuers_say_who_is_nobody_and_what_no_token_has() {
    let issuers = r#"[{"id":"corp","issuer":"https://login.example.com","audiences":["hallpass"]},
        {"id":"ci","issuer":"https://agent.buildkite.com","audiences":["hallpass"],"required_claims":{"/organization_id":["a"]}}]"#;
    let text = "grant: a\nprincipals: [corp/group/x, ci/user/y, crop/everyone]\nrequire: {amr: [mfa], max_age: 900}\n";
    let directory = Directory::with(&[("grants/a.yaml", text), ("issuers.json", issuers)]);
    assert_eq!(told(&report(&directory, &[]).1), [""; 0]);
    let (code, report) = report(&directory, &["--issuers", "issuers.json"]);
    assert_eq!(code, 3);
    let expected = [
        "grants/a.yaml:2:39 unknown-issuer",
        "grants/a.yaml:3:10 sheddable",
        "grants/a.yaml:3:16 never-carried",
        "grants/a.yaml:3:32 never-carried",
    ];
    assert_eq!(told(&report), expected);
}

#[test]
fn a_comment_silences_one_warning_and_no_error() {
    let lint = |text: &str| told(&report(&Directory::with(&[("grants/a.yaml", text)]), &["--deny-warnings"]).1);
    let allow = "# hallpass: allow short-session: a robot\n";
    assert_eq!(lint(&format!("{VALID}{allow}max_duration: 900\n")), [""; 0]);
    assert_eq!(lint(&format!("{VALID}{allow}\nmax_duration: 900\n")).len(), 2, "not on the line above");
    assert_eq!(lint(&format!("{VALID}max_duration: 900 {allow}")).len(), 1, "not on a line of its own");
    assert_eq!(lint(&format!("{VALID}{allow}{allow}max_duration: 900\n")), ["grants/a.yaml:3:1 unused-allow"]);
    let duration = allow.replace("short-session", "duration");
    assert_eq!(lint(&format!("{VALID}{duration}max_duration: 9\n")).len(), 2, "an error");
    let two = "# hallpass: allow user-name: x\n# hallpass: allow open-end: y\n";
    let resource = "Resource: \"arn:aws:s3:::a/${aws:username}${jwt:/a}*\"";
    let policy = "policy:\n  Version: \"2012-10-17\"\n  Statement:\n    Effect: Allow\n    Action: \"s3:GetObject\"\n";
    let text = |comments: &str| format!("{VALID}{policy}{comments}    {resource}\n");
    assert_eq!(lint(&text("")).len(), 2);
    assert_eq!(lint(&text(two)), [""; 0]);
}

#[test]
fn sarif_has_what_its_schema_requires() {
    let text = "grant: deploy\nprincipals: [corp/group/é, carol]\nmax_duration: 900\n";
    let directory = Directory::with(&[("grants/a b.yaml", text), ("grants/c.yaml", "a: &b 1\n")]);
    let run = directory.run(&["lint", "--format", "sarif"]);
    let log: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let [run] = log["runs"].as_array().unwrap().as_slice() else { panic!("one run") };
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(run["tool"]["driver"]["name"].is_string());
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let results = run["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let location = &result["locations"][0]["physicalLocation"];
        let uri = location["artifactLocation"]["uri"].as_str().unwrap();
        assert!(["grants/a%20b.yaml", "grants/c.yaml"].contains(&uri), "{uri}");
        let region = &location["region"];
        let at = |name: &str| region[name].as_u64();
        assert!(at("startLine") >= Some(1) && at("startColumn") >= Some(1), "{region}");
        let (start, end) = ((at("startLine"), at("startColumn")), (at("endLine"), at("endColumn")));
        assert!(end == (None, None) || end > start, "{region}");
    }
}

#[test]
fn the_samples_have_no_error() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../grants");
    let run = Directory::with(&[]).run(&["lint", "--deny-warnings", samples]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
}
