//! Why does it not work?

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::World;
use super::access::Target;
use super::aws_files::{config_path, content, credentials_path, default_has_credentials, lines};
use super::desk::Desk;
use super::server::{self, ServerUrl};
use super::signin::{Listener, Provider, REDIRECT};
use super::store::Kind;
use super::trouble::{Trouble, parted, shown};
use super::variables::{CONTAINER, OTHERS, STATIC};
use crate::failure::Failure;
use crate::output::{Outcome, Output};
use crate::outside::clock::{Compared, compare};

/// Check what sign-ins and credentials depend on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: hallpass doctor\n\nExit code 3: something stops sign-ins or credentials")]
pub(crate) struct Doctor {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: Output,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Note,
    Problem,
}

/// What was looked at, what was found, and what helps.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    result: Level,
    message: String,
    help: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, result: Level::Ok, message: message.into(), help: None }
    }

    fn note(check: &'static str, message: impl Into<String>, help: &str) -> Self {
        Self { check, result: Level::Note, message: message.into(), help: Some(help.to_owned()) }
    }

    fn problem(check: &'static str, message: impl Into<String>, help: &str) -> Self {
        Self { check, result: Level::Problem, message: message.into(), help: Some(help.to_owned()) }
    }

    /// A trouble names its remedy in its text.
    fn trouble(check: &'static str, trouble: &Trouble) -> Self {
        let (message, help) = parted(&shown(&trouble.to_string()));
        Self { check, result: Level::Problem, message, help }
    }
}

impl Doctor {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let mut findings = Vec::new();
        match Desk::open(world) {
            Err(trouble) => findings.push(Finding::trouble("storage", &trouble)),
            Ok(desk) => {
                findings.extend(store(&desk).await);
                match desk.server(&self.target) {
                    Err(trouble) => findings.push(Finding::trouble("server", &trouble)),
                    Ok(server) => findings.extend(self.network(&desk, &server).await),
                }
            }
        }
        findings.extend(surroundings(world));
        let is_stopped = findings.iter().any(|finding| finding.result == Level::Problem);
        self.output.print(&json!({"checks": findings}), || text(&findings))?;
        Ok(if is_stopped { Outcome::Problems } else { Outcome::Done })
    }

    async fn network(&self, desk: &Desk, server: &ServerUrl) -> Vec<Finding> {
        let mut findings = Vec::new();
        match server::date(&desk.web, server).await {
            Err(trouble) => {
                findings.push(Finding::trouble("server", &trouble));
                return findings;
            }
            Ok(date) => findings.push(clock(date.as_deref(), desk.world.seconds())),
        }
        let session = desk.session(server, &self.target);
        let issuer = session.as_ref().ok().and_then(Option::as_ref).map(|session| session.issuer_id.clone());
        let issuer = self.target.issuer.clone().or(issuer);
        let client = match server::metadata(&desk.web, server).await {
            Ok(metadata) => server::choose_client(server, metadata, issuer.as_deref()),
            Err(trouble) => Err(trouble),
        };
        match client {
            Err(trouble) => findings.push(Finding::trouble("metadata", &trouble)),
            Ok(client) => {
                findings
                    .push(Finding::ok("metadata", format!("{server} names the issuer {}", shown(&client.issuer_id))));
                findings.push(match Provider::discover(&desk.web, &client).await {
                    Ok(_) => Finding::ok("provider", format!("{} describes itself", shown(&client.issuer))),
                    Err(trouble) => Finding::trouble("provider", &trouble),
                });
                let redirect = client.redirect_uri.as_deref().unwrap_or(REDIRECT);
                findings.push(match Listener::bind(redirect, None).await {
                    Ok(_) => Finding::ok("redirect", format!("this machine can listen for {}", shown(redirect))),
                    // A sign-in by code or by a pasted address does without.
                    Err(trouble) => Finding { result: Level::Note, ..Finding::trouble("redirect", &trouble) },
                });
            }
        }
        findings.push(match session {
            Err(trouble) => Finding::trouble("sign-in", &trouble),
            Ok(None) => Finding::problem(
                "sign-in",
                format!("you are not signed in to {server}"),
                &format!("run `hallpass login {server}`"),
            ),
            Ok(Some(session)) => match desk.offers(&session).await {
                Ok((offers, _)) => {
                    let who = session.subject.as_deref().map_or_else(|| "somebody".into(), shown);
                    Finding::ok("sign-in", format!("signed in as {who}, with {} grants", offers.grants.len()))
                }
                Err(trouble) => Finding::trouble("sign-in", &trouble),
            },
        });
        findings
    }
}

async fn store(desk: &Desk) -> Vec<Finding> {
    let place = desk.store.path().display();
    let tried = match desk.store.lock("doctor", Duration::from_secs(2)).await {
        Ok(locked) => locked.write(&json!(null)).and_then(|()| locked.remove()),
        Err(trouble) => Err(trouble),
    };
    let storage = match desk.store.kind() {
        Kind::File => format!("{place} can be written, and is open to you alone; there is no keyring in use"),
        Kind::Keyring => format!("{place} can be written, and is sealed with the keyring's key"),
    };
    match tried {
        Ok(()) => vec![Finding::ok("storage", storage), Finding::ok("lock", "processes can take turns")],
        Err(trouble) => vec![Finding::trouble("storage", &trouble)],
    }
}

fn clock(date: Option<&str>, now: i64) -> Finding {
    let compared = compare(date, now);
    let message = compared.to_string();
    match compared {
        Compared::Same => Finding::ok("clock", message),
        Compared::Unknown => Finding::note("clock", message, "compare this machine's clock yourself"),
        Compared::Off { .. } => {
            Finding::problem("clock", message, "set this machine's clock, and have it synchronized (NTP)")
        }
    }
}

/// What would make AWS's tools take other credentials, or fail to call us.
fn surroundings(world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    let set: Vec<&str> =
        STATIC.iter().chain(&OTHERS).chain(&CONTAINER).filter(|name| world.variable(name).is_some()).copied().collect();
    if !set.is_empty() {
        let help = "unset them, if a profile of yours is not used; `hallpass exec` removes them for its command";
        findings.push(Finding::note("other credentials", format!("these variables are set: {}", set.join(", ")), help));
    }
    let config = content(config_path(world).as_deref()).unwrap_or_default();
    for (path, text, is_config) in [
        (config_path(world), config.clone(), true),
        (credentials_path(world), content(credentials_path(world).as_deref()).unwrap_or_default(), false),
    ] {
        if default_has_credentials(&text, is_config) {
            let place = path.map_or_else(String::new, |path| path.display().to_string());
            let help = "name the profile you mean (`--profile`, AWS_PROFILE); `hallpass exec` works around it";
            findings.push(Finding::note(
                "other credentials",
                format!("the profile `default` in {place} has credentials"),
                help,
            ));
        }
    }
    findings.extend(processes(&config).filter_map(|line| process(&line)));
    if findings.is_empty() {
        findings.push(Finding::ok("AWS's configuration", "it has no other credentials"));
    }
    findings
}

/// The commands of `credential_process` that call us.
fn processes(config: &[u8]) -> impl Iterator<Item = String> {
    let command = |line: &[u8]| {
        let text = String::from_utf8_lossy(line).into_owned();
        let (name, value) = text.split_once('=')?;
        let is_ours = name.trim() == "credential_process" && value.contains("hallpass");
        is_ours.then(|| value.trim().to_owned())
    };
    lines(config).filter_map(command).collect::<Vec<_>>().into_iter()
}

fn process(command: &str) -> Option<Finding> {
    const CHECK: &str = "credential_process";
    if let Some(quoted) = command.strip_prefix(['"', '\'']) {
        let program = quoted.split(['"', '\'']).next().unwrap_or_default();
        let help =
            "move it to a path without spaces: Go's SDK on Windows, PowerShell and JetBrains do not read the quotes";
        return Some(Finding::note(CHECK, format!("{} is quoted", shown(program)), help));
    }
    let program = command.split_whitespace().next().unwrap_or_default();
    let path = Path::new(program);
    if path.is_absolute() && !path.exists() {
        return Some(Finding::note(
            CHECK,
            format!("{} is not there", shown(program)),
            "run `hallpass configure` again",
        ));
    }
    (!path.is_absolute()).then(|| {
        let help = "run `hallpass configure`, which writes the whole path: some programs have another PATH";
        Finding::note(CHECK, format!("{} is not a whole path", shown(program)), help)
    })
}

fn text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let mark = match finding.result {
            Level::Ok => "ok      ",
            Level::Note => "note    ",
            Level::Problem => "problem ",
        };
        let help = finding.help.as_ref().map_or_else(String::new, |help| format!("\n          {help}"));
        format!("{mark}  {}: {}{help}", finding.check, finding.message)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_thirty_seconds_is_a_problem() {
        let at = |now| clock(Some("Fri, 15 Jan 2027 08:00:00 GMT"), now).result;
        for now in [1_800_000_000, 1_800_000_029, 1_799_999_971] {
            assert_eq!(at(now), Level::Ok, "{now}");
        }
        for now in [1_800_000_030, 1_799_999_970, 0] {
            assert_eq!(at(now), Level::Problem, "{now}");
        }
        assert_eq!((clock(None, 0).result, clock(Some("today"), 0).result), (Level::Note, Level::Note));
    }

    #[test]
    fn what_would_win_is_noted() {
        let found = |variables: &[(&str, &str)]| {
            surroundings(&World::of(variables)).iter().map(|finding| finding.result).collect::<Vec<_>>()
        };
        let nowhere = [("AWS_CONFIG_FILE", "/nowhere"), ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")];
        assert_eq!(found(&nowhere), [Level::Ok]);
        assert_eq!(found(&[nowhere[0], nowhere[1], ("AWS_PROFILE", "x")]), [Level::Note]);
    }

    #[test]
    fn a_command_that_some_tools_cannot_call_is_noted() {
        let told = |command: &str| process(command).map(|finding| finding.message);
        assert_eq!(told("\"/opt/my tools/hallpass\" credentials").unwrap(), "/opt/my tools/hallpass is quoted");
        assert_eq!(told("/nowhere/hallpass credentials").unwrap(), "/nowhere/hallpass is not there");
        assert_eq!(told("hallpass credentials").unwrap(), "hallpass is not a whole path");
        assert_eq!(told("/bin/sh hallpass"), None);
        let config = b"[profile a]\ncredential_process = hallpass x\n# credential_process = hallpass y\n[b]\ncredential_process=other\n";
        assert_eq!(processes(config).collect::<Vec<_>>(), ["hallpass x"]);
    }
}
