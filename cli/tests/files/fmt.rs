//! What does `hallpass grants fmt` change, and what does it leave?

use std::fs;

use super::run::Directory;

const UGLY: &str = "# who\nprincipals: ['corp/everyone']   # all\ngrant: \"home\"\n";
const NEAT: &str = "# who\ngrant: home\nprincipals: [corp/everyone] # all\n";

#[test]
fn files_are_brought_into_their_one_form_and_named() {
    let directory =
        Directory::with(&[("grants/a.yaml", UGLY), ("grants/b.yml", NEAT), ("grants/c.json", "{\"grant\":\"a\"}")]);
    let run = directory.run(&["fmt"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "grants/a.yaml\ngrants/c.json\n", ""));
    assert_eq!(directory.text("grants/a.yaml"), NEAT);
    assert_eq!(directory.text("grants/c.json"), "{\n  \"grant\": \"a\"\n}\n");
    let run = directory.run(&["fmt"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
    assert_eq!(fs::read_dir(directory.at("grants")).unwrap().count(), 3, "no other file is left");
}

#[test]
fn a_file_that_has_its_form_is_not_touched() {
    let directory = Directory::with(&[("grants/a.yaml", NEAT)]);
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let path = directory.at("grants/a.yaml");
    fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(directory.run(&["fmt", "grants/a.yaml"]).code, 0);
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), long_ago);
}

#[test]
fn a_check_says_what_would_change_and_changes_nothing() {
    let directory = Directory::with(&[("grants/a.yaml", UGLY), ("grants/b.yaml", NEAT)]);
    let run = directory.run(&["fmt", "--check"]);
    assert_eq!((run.code, run.stdout.as_str()), (3, "grants/a.yaml\n"));
    assert_eq!(directory.text("grants/a.yaml"), UGLY);
    assert_eq!(directory.run(&["fmt", "--check", "grants/b.yaml"]).code, 0);
}

#[test]
fn standard_input_is_formatted_to_standard_output() {
    let directory = Directory::with(&[]);
    let run = directory.run_with(&["fmt", "-"], UGLY.as_bytes());
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, NEAT, ""));
    assert_eq!(directory.run_with(&["fmt", "--check", "-"], UGLY.as_bytes()).code, 3);
    assert_eq!(directory.run_with(&["fmt", "--check", "-"], NEAT.as_bytes()).code, 0);
    let run = directory.run_with(&["fmt", "-"], b"a: [\n");
    assert_eq!((run.code, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.starts_with("-:2:1: error[syntax]: "), "{}", run.stderr);
    assert_eq!(directory.run(&["fmt", "-", "grants"]).code, 2);
}

#[test]
fn what_cannot_be_read_stays_as_it_is_and_the_rest_is_formatted() {
    let broken = "grant: &a home\nprincipals: *a\n";
    let directory = Directory::with(&[("grants/a.yaml", broken), ("grants/b.yaml", UGLY)]);
    let run = directory.run(&["fmt"]);
    assert_eq!((run.code, run.stdout.as_str()), (3, "grants/b.yaml\n"));
    assert!(run.stderr.starts_with("grants/a.yaml:1:8: error[anchor]: "), "{}", run.stderr);
    assert_eq!(directory.text("grants/a.yaml"), broken);
    let run = directory.run(&["fmt", "nowhere", "grants"]);
    assert_eq!(run.code, 1);
    assert_eq!(Directory::with(&[("grants/README.md", "")]).run(&["fmt"]).code, 1);
}

#[cfg(unix)]
#[test]
fn modes_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let directory = Directory::with(&[("kept/a.yaml", UGLY), ("grants/x.yaml", NEAT)]);
    let (real, link) = (directory.at("kept/a.yaml"), directory.at("grants/a.yaml"));
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../kept/a.yaml", &link).unwrap();
    assert_eq!(directory.run(&["fmt"]).code, 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(&real).unwrap(), NEAT);
}
