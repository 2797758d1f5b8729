//! What does a person's command find around it besides: a home, a terminal, a browser?

use std::io::{self, IsTerminal as _};
use std::path::Path;

pub(crate) use crate::outside::world::World;

impl World {
    /// Whether a variable says yes.
    pub(crate) fn says_yes(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// The person's home directory.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// Whether somebody can read what is asked, and answer.
    #[expect(clippy::unused_self, reason = "the terminal is part of the world")]
    pub(crate) fn has_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Why no browser of this machine is assumed to be in front of the person, if none is.
    pub(crate) fn lacks_browser(&self) -> Option<&'static str> {
        if ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"].iter().any(|name| self.variable(name).is_some()) {
            return Some("this is an SSH session");
        }
        if self.says_yes("CI") {
            return Some("this is a CI job");
        }
        let marked = Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists();
        if marked || self.variable("container").is_some() || self.variable("KUBERNETES_SERVICE_HOST").is_some() {
            return Some("this is a container");
        }
        let has_display =
            ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].iter().any(|name| self.variable(name).is_some());
        (cfg!(all(unix, not(target_os = "macos"))) && !has_display).then_some("there is no graphical session")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_browser_is_assumed_where_nobody_would_see_it() {
        let why = |variables: &[(&str, &str)]| World::of(variables).lacks_browser();
        assert_eq!(why(&[("SSH_TTY", "/dev/pts/1"), ("DISPLAY", ":0")]), Some("this is an SSH session"));
        assert_eq!(why(&[("CI", "true"), ("DISPLAY", ":0")]), Some("this is a CI job"));
        assert_eq!(why(&[("container", "podman"), ("DISPLAY", ":0")]), Some("this is a container"));
        if !Path::new("/.dockerenv").exists() && !Path::new("/run/.containerenv").exists() {
            assert_eq!(why(&[("DISPLAY", ":0"), ("CI", "false")]), None);
        }
    }

    #[test]
    fn a_variable_says_yes_or_no() {
        let world = World::of(&[("A", ""), ("B", "0"), ("C", "1"), ("D", "FALSE")]);
        assert_eq!(["A", "B", "C", "D"].map(|name| world.says_yes(name)), [false, false, true, false]);
    }
}
