//! The commands for grant files as people meet them: what they print in each format, their exit codes, and the files that
//! they leave.

#[cfg(test)]
mod fmt;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod test;

#[cfg(test)]
mod run {
    use std::fs;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};

    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// A directory of a test's own, in which the command runs.
    pub(crate) struct Directory(PathBuf);

    /// What a run left.
    #[derive(Debug)]
    pub(crate) struct Run {
        pub(crate) code: i32,
        pub(crate) stdout: String,
        pub(crate) stderr: String,
    }

    impl Directory {
        /// One with these files.
        pub(crate) fn with(files: &[(&str, &str)]) -> Self {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let root = std::env::temp_dir().join(format!("hallpass-cli-{}-{number}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            let directory = Self(root);
            for (path, text) in files {
                let path = directory.at(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            directory
        }

        pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
            self.0.join(path)
        }

        pub(crate) fn text(&self, path: &str) -> String {
            fs::read_to_string(self.at(path)).unwrap()
        }

        /// Runs `hallpass grants …` here.
        pub(crate) fn run(&self, arguments: &[&str]) -> Run {
            self.run_with(arguments, b"")
        }

        pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Run {
            let mut child = Command::new(env!("CARGO_BIN_EXE_hallpass"))
                .arg("grants")
                .args(arguments)
                .current_dir(&self.0)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // A command that does not read its input closes it.
            let _ = child.stdin.take().unwrap().write_all(input);
            let output = child.wait_with_output().unwrap();
            Run {
                code: output.status.code().unwrap(),
                stdout: String::from_utf8(output.stdout).unwrap(),
                stderr: String::from_utf8(output.stderr).unwrap(),
            }
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
