//! Do completions and manual pages know every command, whichever features the command line has?

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};
    use std::{fs, process};

    const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];

    fn hallpass(arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hallpass")).args(arguments).output().unwrap()
    }

    fn succeeds(arguments: &[&str]) -> String {
        let output = hallpass(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The commands that the help lists, at all depths: `["grants"]`, `["grants", "lint"]` and so on.
    fn commands(above: &[&str]) -> Vec<Vec<String>> {
        let help = succeeds(&[above, &["--help"]].concat());
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let mut found = Vec::new();
        // A long description goes on in lines that are indented further.
        for name in listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
        {
            let command = [above, &[name]].concat();
            found.push(command.iter().map(|&word| word.to_owned()).collect());
            found.extend(commands(&command));
        }
        found
    }

    fn directory(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hallpass-pages-{}-{name}", process::id()))
    }

    fn pages(directory: &Path) -> BTreeSet<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_completions_of_every_shell_know_every_command() {
        let commands = commands(&[]);
        assert!(commands.contains(&vec!["completions".to_owned()]), "{commands:?}");
        assert_eq!(commands.contains(&vec!["grants".to_owned(), "lint".to_owned()]), cfg!(feature = "files"));
        assert_eq!(commands.contains(&vec!["login".to_owned()]), cfg!(feature = "person"));
        for shell in SHELLS {
            let script = succeeds(&["completions", shell]);
            let words: BTreeSet<_> =
                script.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').collect();
            for name in commands.iter().flatten() {
                assert!(words.contains(name.as_str()), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn bash_takes_its_completions() {
        let script = succeeds(&["completions", "bash"]);
        let ask = "COMP_WORDS=(hallpass comp) COMP_CWORD=1; _hallpass hallpass comp hallpass; echo \"${COMPREPLY[@]}\"";
        let output = Command::new("bash").args(["-c", &format!("{script}\n{ask}")]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "completions\n");
    }

    #[test]
    fn an_unknown_shell_is_wrong_usage() {
        let output = hallpass(&["completions", "tcsh"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("bash, elvish, fish, powershell, zsh"));
    }

    #[test]
    fn each_command_has_one_page() {
        let directory = directory("all");
        assert_eq!(succeeds(&["man", directory.join("man1").to_str().unwrap()]), "");
        let mut expected = BTreeSet::from(["hallpass.1".to_owned()]);
        expected.extend(commands(&[]).iter().map(|command| format!("hallpass-{}.1", command.join("-"))));
        assert_eq!(pages(&directory.join("man1")), expected);
        for name in &expected {
            let page = fs::read_to_string(directory.join("man1").join(name)).unwrap();
            let (command, _) = name.split_once('.').unwrap();
            let source = concat!("hallpass ", env!("CARGO_PKG_VERSION"));
            assert!(page.contains(&format!(".TH {command} 1  \"{source}\" Hallpass")), "{page}");
            assert!(
                page.contains("Example") || page.contains("Exit codes") || page.contains(".SH SUBCOMMANDS"),
                "{name}"
            );
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn pages_do_not_depend_on_who_writes_them() {
        let [here, there] = ["here", "there"].map(directory);
        succeeds(&["man", here.to_str().unwrap()]);
        let status = Command::new(env!("CARGO_BIN_EXE_hallpass"))
            .arg("man")
            .arg(&there)
            .env_clear()
            .envs([("HOME", "/elsewhere"), ("COLUMNS", "40"), ("HALLPASS_STACK", "theirs"), ("TZ", "Pacific/Auckland")])
            .status()
            .unwrap();
        assert!(status.success());
        for name in pages(&here) {
            assert_eq!(fs::read_to_string(here.join(&name)).unwrap(), fs::read_to_string(there.join(&name)).unwrap());
        }
        for directory in [here, there] {
            fs::remove_dir_all(directory).unwrap();
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_a_failure() {
        let file = directory("file");
        fs::write(&file, "").unwrap();
        let output = hallpass(&["man", file.join("man1").to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: cannot write to `"), "{said}");
        fs::remove_file(file).unwrap();
    }
}
