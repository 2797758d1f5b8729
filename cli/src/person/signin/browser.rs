//! Which program shows a page to the person?

use std::process::Stdio;

use tokio::process::{Child, Command};

use super::super::trouble::Trouble;
use super::super::world::World;

/// Programs to try, each with its arguments. The URL takes the place of `%s`, or is the last argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Browser(Vec<Vec<String>>);

impl Browser {
    /// The browser that was named, in the option or in a variable; else the system's, if somebody can see it.
    ///
    /// # Errors
    /// [`Trouble::Usage`] if what was named cannot be read.
    pub(crate) fn choose(option: Option<&str>, world: &World) -> Result<Option<Self>, Trouble> {
        let named = [
            ("--browser", option),
            ("HALLPASS_BROWSER", world.variable("HALLPASS_BROWSER")),
            ("BROWSER", world.variable("BROWSER")),
        ];
        if let Some((place, text)) = named.into_iter().find_map(|(place, text)| Some((place, text?))) {
            let read = Self::parse(text)
                .ok_or_else(|| Trouble::Usage(format!("{place} has a quote without its end, or no command")));
            return read.map(Some);
        }
        if world.lacks_browser().is_some() {
            return Ok(None);
        }
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Ok(Some(Self(if cfg!(windows) {
            vec![command(&["rundll32", "url.dll,FileProtocolHandler"])]
        } else if cfg!(target_os = "macos") {
            vec![command(&["open"])]
        } else if world.variable("WSL_DISTRO_NAME").is_some() {
            vec![command(&["wslview"]), command(&["xdg-open"])]
        } else {
            vec![command(&["xdg-open"])]
        })))
    }

    /// Splits words as a shell does, and commands at `:`. On Windows a path has a `:`, so commands are split at `;`.
    fn parse(text: &str) -> Option<Self> {
        let separator = if cfg!(windows) { ';' } else { ':' };
        let (mut commands, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None::<String>, None);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (Some('"') | None, '\\') if !cfg!(windows) => word.get_or_insert_default().push(chars.next()?),
                (None, '\'' | '"') => {
                    word.get_or_insert_default();
                    quote = Some(c);
                }
                (None, _) if c == separator => {
                    words.extend(word.take());
                    commands.push(std::mem::take(&mut words));
                }
                (None, _) if c.is_whitespace() => words.extend(word.take()),
                _ => word.get_or_insert_default().push(c),
            }
        }
        if quote.is_some() {
            return None;
        }
        words.extend(word);
        commands.push(words);
        commands.retain(|words| words.first().is_some_and(|program| !program.is_empty()));
        (!commands.is_empty()).then_some(Self(commands))
    }

    /// Starts the first program that can be started. It gets nothing of ours to read or to write to.
    pub(crate) fn open(&self, url: &str) -> Option<Child> {
        self.0.iter().find_map(|words| {
            let (program, arguments) = words.split_first()?;
            let mut command = Command::new(program);
            if words.iter().any(|word| word.contains("%s")) {
                command.args(arguments.iter().map(|word| word.replace("%s", url)));
            } else {
                command.args(arguments).arg(url);
            }
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Vec<Vec<String>>> {
        Browser::parse(text).map(|browser| browser.0)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what is optional")]
    fn commands(commands: &[&[&str]]) -> Option<Vec<Vec<String>>> {
        Some(commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect())
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(parse("firefox"), commands(&[&["firefox"]]));
        assert_eq!(parse(" firefox  -P 'my work' "), commands(&[&["firefox", "-P", "my work"]]));
        assert_eq!(
            parse(r#""/opt/my browser/x" a\ b "c\"d" '' "#),
            commands(&[&["/opt/my browser/x", "a b", "c\"d", ""]])
        );
        assert_eq!(parse("a'b'\"c\""), commands(&[&["abc"]]));
        assert_eq!(parse("a %s:b:'c:d'"), commands(&[&["a", "%s"], &["b"], &["c:d"]]));
        assert_eq!(parse(":a:"), commands(&[&["a"]]));
        for bad in ["", " ", ":", "'a", "\"a", "a\\", "''"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_option_wins_and_a_named_browser_is_used_where_none_would_be_assumed() {
        let chosen = |option, variables: &[(&str, &str)]| {
            Browser::choose(option, &World::of(variables)).unwrap().map(|browser| browser.0)
        };
        let both = [("HALLPASS_BROWSER", "b"), ("BROWSER", "c"), ("SSH_TTY", "/dev/pts/0")];
        assert_eq!(chosen(Some("a"), &both), commands(&[&["a"]]));
        assert_eq!(chosen(None, &both), commands(&[&["b"]]));
        assert_eq!(chosen(None, &both[1..]), commands(&[&["c"]]));
        assert_eq!(chosen(None, &both[2..]), None);
        assert!(Browser::choose(Some("'"), &World::of(&[])).is_err());
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_passed_over() {
        assert!(Browser::parse("/nowhere/browser").unwrap().open("https://a.example.com").is_none());
        let mut child = Browser::parse("/nowhere/browser:true").unwrap().open("https://a.example.com").unwrap();
        assert!(child.wait().await.unwrap().success());
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_that_word(word in "[^']{0,20}") {
            prop_assert_eq!(parse(&format!("x '{word}'")), commands(&[&["x", &word]]));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
