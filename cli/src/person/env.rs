//! How does a shell get credentials?

use std::path::Path;

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::World;
use super::access::{Target, Wanted};
use super::desk::{Desk, Person, patience};
use super::secret::expose;
use super::session::Cached;
use super::signin::How;
use super::trouble::Trouble;
use super::variables::{CONTAINER, OTHERS, STATIC};
use crate::failure::Failure;
use crate::output::{Outcome, print};

/// Print commands that set the variables of credentials, for a shell to evaluate.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  eval \"$(hallpass env --grant deploy)\"\n  hallpass env --format fish | source\n  hallpass env --format powershell | Out-String | Invoke-Expression"
)]
pub(crate) struct Env {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    target: Target,
    /// The shell, or `dotenv` or `json` [default: by SHELL, else bash]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Print commands that remove the variables
    #[arg(long)]
    unset: bool,
    /// Fail instead of signing in [env: `HALLPASS_NO_LOGIN`]
    #[arg(long)]
    no_login: bool,
}

/// Who reads the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Bash,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Cmd,
    Dotenv,
    Json,
}

impl Env {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let format = self.format.unwrap_or_else(|| Format::of_shell(world.variable("SHELL")));
        if self.unset {
            print(&format.write(&STATIC.map(|name| (name, None)))?)?;
            return Ok(Outcome::Done);
        }
        let desk = Desk::open(world)?;
        let server = desk.server(&self.target)?;
        let person = Person::new(&desk, How::default(), self.no_login)?;
        let asked = async |session: &_| desk.credentials(session, &self.wanted, patience()).await;
        let cached = person.acting(&server, &self.target, asked).await?;
        let mut changes: Vec<(&str, Option<&str>)> = Vec::new();
        if !matches!(format, Format::Dotenv | Format::Json) {
            changes.extend(OTHERS.iter().chain(&CONTAINER).map(|name| (*name, None)));
        }
        changes.extend(variables(&cached).map(|(name, value)| (name, Some(value))));
        print(&format.write(&changes)?)?;
        Ok(Outcome::Done)
    }
}

/// The variables of static credentials.
pub(super) fn variables(cached: &Cached) -> [(&'static str, &str); 4] {
    let credentials = &cached.credentials;
    let values = [
        credentials.access_key_id.as_str(),
        expose(&credentials.secret_access_key),
        expose(&credentials.session_token),
        credentials.expiration.as_deref().unwrap_or_default(),
    ];
    let [id, key, token, end] = STATIC;
    let [id_value, key_value, token_value, end_value] = values;
    [(id, id_value), (key, key_value), (token, token_value), (end, end_value)]
}

impl Format {
    fn of_shell(shell: Option<&str>) -> Self {
        let name = shell.and_then(|shell| Path::new(shell).file_stem()).and_then(|name| name.to_str());
        match name {
            Some("fish") => Self::Fish,
            Some("pwsh" | "powershell") => Self::PowerShell,
            _ => Self::Bash,
        }
    }

    /// A line for each variable: what it becomes, or that it goes.
    fn write(self, changes: &[(&str, Option<&str>)]) -> Result<String, Trouble> {
        if self == Self::Json {
            let value = |value: Option<&str>| value.map_or(Value::Null, Value::from);
            let member = |(name, text): &(&str, Option<&str>)| ((*name).to_owned(), value(*text));
            let members: Map<String, Value> = changes.iter().map(member).collect();
            return serde_json::to_string(&members)
                .map_err(|_| Trouble::failed("the variables cannot be written as JSON"));
        }
        let lines: Result<Vec<String>, Trouble> = changes.iter().map(|(name, value)| self.line(name, *value)).collect();
        Ok(lines?.join("\n"))
    }

    fn line(self, name: &str, value: Option<&str>) -> Result<String, Trouble> {
        // No shell can hold it.
        if value.is_some_and(|value| value.contains('\0')) {
            return Err(Trouble::failed("a value has a character that no shell takes"));
        }
        Ok(match (self, value) {
            (Self::Bash, Some(value)) => format!("export {name}='{}'", value.replace('\'', r"'\''")),
            (Self::Bash, None) => format!("unset {name}"),
            (Self::Fish, Some(value)) => {
                format!("set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
            }
            (Self::Fish, None) => format!("set -e {name}"),
            // PowerShell takes typographic quotes for quotes, too.
            (Self::PowerShell, Some(value)) => {
                let doubled = |c: char| {
                    if matches!(c, '\'' | '\u{2018}'..='\u{201b}') { format!("{c}{c}") } else { c.to_string() }
                };
                format!("$Env:{name} = '{}'", value.chars().map(doubled).collect::<String>())
            }
            (Self::PowerShell, None) => format!("Remove-Item -Path Env:{name} -ErrorAction Ignore"),
            (Self::Cmd, Some(value)) => {
                if value.contains(|c: char| c.is_control() || "\"%!^&|<>".contains(c)) {
                    return Err(Trouble::failed(
                        "a value has a character that cmd cannot quote; use --format powershell",
                    ));
                }
                format!("set \"{name}={value}\"")
            }
            (Self::Cmd, None) => format!("set \"{name}=\""),
            (Self::Dotenv | Self::Json, Some(value)) => {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "+/=_.:,@-".contains(c);
                if value.chars().all(is_plain) {
                    format!("{name}={value}")
                } else if value.contains(['\'', '\n', '\r']) {
                    return Err(Trouble::failed("a value has a character that dotenv cannot quote; use --format json"));
                } else {
                    format!("{name}='{value}'")
                }
            }
            (Self::Dotenv | Self::Json, None) => format!("{name}="),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a shell makes of the value, if the machine has the shell.
    fn evaluated(shell: &[&str], format: Format, value: &str) -> Option<String> {
        let (program, arguments) = shell.split_first().unwrap();
        let script = format.write(&[("GONE", None), ("CANARY", Some(value))]).unwrap();
        // The variable is read by another program, so that nothing of the shell's own printing matters.
        let reader = if format == Format::PowerShell {
            "[Console]::Out.Write($Env:CANARY + $Env:GONE)"
        } else {
            "printenv CANARY; printenv GONE; true"
        };
        let output =
            Command::new(program).args(arguments).arg(format!("{script}\n{reader}")).env("GONE", "x").output().ok()?;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{script}");
        let text = String::from_utf8(output.stdout).unwrap();
        Some(if format == Format::PowerShell { text } else { text.strip_suffix('\n').unwrap().to_owned() })
    }

    const SHELLS: [(&[&str], Format); 5] = [
        (&["bash", "-c"], Format::Bash),
        (&["dash", "-c"], Format::Bash),
        (&["zsh", "-c"], Format::Bash),
        (&["fish", "-c"], Format::Fish),
        (&["pwsh", "-NoProfile", "-Command"], Format::PowerShell),
    ];

    #[test]
    fn a_shell_reads_exactly_the_value_whatever_is_in_it() {
        for value in [
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY==",
            "a'b",
            "'",
            "''",
            "\\",
            "\\'",
            "a\\",
            "$(id)",
            "`id`",
            "${HOME}",
            "!!",
            "a b",
            "\"",
            "%PATH%",
            "*",
            "~",
            "#",
            "a\nb",
            "a;b",
            "a&b|c>d<e",
            "\u{2018}id\u{2019}",
            "é",
            "-n",
            "\t",
        ] {
            for (shell, format) in SHELLS {
                assert!(evaluated(shell, format, value).is_none_or(|read| read == value), "{shell:?} {value:?}");
            }
        }
        assert!(evaluated(&["bash", "-c"], Format::Bash, "x").is_some(), "bash is there");
    }

    #[test]
    fn what_cmd_and_dotenv_cannot_quote_is_refused() {
        for value in ["a\"b", "%PATH%", "a\nb", "a&b", "!x!", "^"] {
            assert!(Format::Cmd.line("A", Some(value)).is_err(), "{value:?}");
        }
        assert_eq!(Format::Cmd.line("A", Some("a/b+c==")).unwrap(), "set \"A=a/b+c==\"");
        assert_eq!(Format::Dotenv.line("A", Some("a/b+c==")).unwrap(), "A=a/b+c==");
        assert_eq!(Format::Dotenv.line("A", Some("a $b")).unwrap(), "A='a $b'");
        assert!(Format::Dotenv.line("A", Some("a'b")).is_err());
        for format in [Format::Bash, Format::Fish, Format::PowerShell, Format::Cmd, Format::Dotenv] {
            assert!(format.line("A", Some("\0")).is_err());
        }
    }

    #[test]
    fn json_is_an_object_of_names_and_values() {
        assert_eq!(Format::Json.write(&[("A", Some("1\"")), ("B", None)]).unwrap(), r#"{"A":"1\"","B":null}"#);
    }

    #[test]
    fn the_shell_chooses_the_format() {
        for (shell, format) in [
            (Some("/usr/bin/fish"), Format::Fish),
            (Some("/opt/pwsh"), Format::PowerShell),
            (Some("C:/x/pwsh.exe"), Format::PowerShell),
            (Some("/bin/zsh"), Format::Bash),
            (None, Format::Bash),
        ] {
            assert_eq!(Format::of_shell(shell), format, "{shell:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_shell_reads_any_value(value in "[^\0]{0,40}|['\"\\\\$`!#~ \n\t;&|<>(){}*?\\[\\]^%-]{0,12}") {
            for (shell, format) in SHELLS {
                let read = evaluated(shell, format, &value);
                prop_assert!(read.as_ref().is_none_or(|read| *read == value), "{:?} {:?}", shell, read);
            }
        }
    }

    /// The value of a verbatim string, by the language specification of PowerShell (2.3.5.2.2): it ends at the first of
    /// five quotes that is not followed by one, and two of them are the second.
    fn verbatim(text: &str) -> Option<String> {
        let is_quote = |c: char| matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}');
        let mut chars = text.strip_prefix('\'')?.chars().peekable();
        let mut value = String::new();
        while let Some(c) = chars.next() {
            if !is_quote(c) {
                value.push(c);
            } else if let Some(second) = chars.next_if(|next| is_quote(*next)) {
                value.push(second);
            } else {
                return chars.next().is_none().then_some(value);
            }
        }
        None
    }

    proptest! {
        #[test]
        fn powershell_reads_any_value(value in "[^\0]{0,40}|['\u{2018}-\u{201f}`$\"\n]{0,12}") {
            let line = Format::PowerShell.line("A", Some(&value)).unwrap();
            prop_assert_eq!(verbatim(line.strip_prefix("$Env:A = ").unwrap()), Some(value));
        }
    }
}
