//! Which pages about the commands can the command write itself?
//!
//! Completions, for a shell, and manual pages, for a package. Both are made of the tree in `arguments`, so they cannot say
//! anything else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::{Generator as _, Shell};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::{Outcome, print};

/// Print a script with which a shell completes the commands and options of hallpass.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hallpass completions bash > ~/.local/share/bash-completion/completions/hallpass\n  \
                  hallpass completions zsh > ~/.zfunc/_hallpass\n  \
                  hallpass completions fish > ~/.config/fish/completions/hallpass.fish"
)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let mut command = Arguments::command();
        command.set_bin_name(command.get_name().to_owned());
        command.build();
        let mut script = Vec::new();
        self.shell.try_generate(&command, &mut script).map_err(|_| Failure::new("cannot write the completions"))?;
        print(String::from_utf8_lossy(&script).trim_end())?;
        Ok(Outcome::Done)
    }
}

/// Write a manual page for each command into a directory.
#[derive(Debug, Args)]
#[command(after_help = "Example: hallpass man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The directory, which is created if it does not exist
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        let mut command = Arguments::command();
        // Gives each command the name of its page, such as `hallpass-grants-plan`.
        command.build();
        fs::create_dir_all(&self.directory)
            .and_then(|()| write(&command, &self.directory))
            .map_err(|error| Failure::new(format!("cannot write to `{}`: {error}", self.directory.display())))?;
        Ok(Outcome::Done)
    }
}

/// Writes the page of a command, and those of its subcommands. A page has no date: the same version has the same pages.
fn write(command: &clap::Command, directory: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write(subcommand, directory)?;
    }
    let page = clap_mangen::Man::new(command.clone())
        .source(concat!("hallpass ", env!("CARGO_PKG_VERSION")))
        .manual("Hallpass");
    page.generate_to(directory).map(drop)
}
