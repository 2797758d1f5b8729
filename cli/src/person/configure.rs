//! How do AWS's tools find `hallpass`?
//!
//! By a profile for each grant in `~/.aws/config`, in a block of our own. Everything outside the block is the same to the
//! byte afterwards.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hallpass::wire::Offers;

use super::World;
use super::access::Target;
use super::aws_files::{config_path, content, credentials_path, lines, profiles};
use super::desk::{Desk, Person};
use super::server::ServerUrl;
use super::signin::How;
use super::trouble::{Trouble, shown};
use crate::failure::Failure;
use crate::output::{Outcome, note, print};

/// Write a profile for each grant to `~/.aws/config`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: hallpass configure https://hallpass.example.com && aws --profile hallpass-default s3 ls"
)]
pub(crate) struct Configure {
    /// The server [default: that of the last login]
    url: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Call the profiles P-GRANT
    #[arg(long, value_name = "P", default_value = "hallpass", value_parser = prefix)]
    prefix: String,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "print")]
    diff: bool,
    /// Print the block, and change nothing
    #[arg(long)]
    print: bool,
    /// Fail instead of signing in [env: `HALLPASS_NO_LOGIN`]
    #[arg(long)]
    no_login: bool,
}

/// What a profile's name may begin with, so that it needs no quotes anywhere.
fn prefix(text: &str) -> Result<String, String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let legal = (1..=64).contains(&text.len()) && text.chars().all(is_legal);
    if legal { Ok(text.to_owned()) } else { Err("a prefix has 1 to 64 of A-Z a-z 0-9 . _ -".into()) }
}

impl Configure {
    pub(crate) async fn run(self, world: &World) -> Result<Outcome, Failure> {
        let desk = Desk::open(world)?;
        let target = self.target.with_url(self.url.as_deref())?;
        let server = desk.server(&target)?;
        let program = program(world)?;
        let person = Person::new(&desk, How::default(), self.no_login)?;
        let offers: Offers = person.acting(&server, &target, async |session| Ok(desk.offers(session).await?.0)).await?;
        // With several issuers, the one that was chosen now is the one that the profiles mean.
        let block = Block {
            server: &server,
            prefix: &self.prefix,
            program: &program,
            issuer: target.issuer.as_deref(),
            offers: &offers,
        };
        let path =
            config_path(world).ok_or_else(|| Trouble::failed("there is no home directory; set AWS_CONFIG_FILE"))?;
        // Two of us at once would lose each other's block.
        let is_change = !self.print && !self.diff;
        let _locked = if is_change { Some(desk.store.lock("configure", Duration::from_secs(10)).await?) } else { None };
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let failed = |error: io::Error| Trouble::failed(format!("cannot read {}: {error}", path.display()));
        let old = content(Some(&path)).map_err(failed)?;
        let names = block.names();
        let place = path.display();
        let written = block.text(is_crlf(&old, &server))?;
        if self.print {
            print(written.trim_end())?;
            return Ok(Outcome::Done);
        }
        let new =
            with_block(&old, &server, &written, &names).map_err(|why| Trouble::failed(format!("{place}: {why}")))?;
        check_keys(world, &names)?;
        if self.diff {
            let diff = diff(&place.to_string(), &old, &new);
            if !diff.is_empty() {
                print(diff.trim_end())?;
            }
            return Ok(Outcome::Done);
        }
        if new != old {
            replace(&path, &old, &new).map_err(|error| Trouble::failed(format!("cannot write {place}: {error}")))?;
        }
        if names.is_empty() {
            note("You have no grants, so that there are no profiles.");
        } else {
            print(&format!("Profiles in {place}:\n  {}", names.join("\n  ")))?;
        }
        Ok(Outcome::Done)
    }
}

/// Static keys of a profile would win over what we write.
fn check_keys(world: &World, names: &[String]) -> Result<(), Trouble> {
    let path = credentials_path(world);
    let Ok(keys) = content(path.as_deref()) else { return Ok(()) };
    match (profiles(&keys, false).into_iter().find(|profile| names.contains(profile)), path) {
        (Some(profile), Some(path)) => Err(Trouble::failed(format!(
            "{} has keys for the profile {}, and they would win; remove them, or choose another --prefix",
            path.display(),
            shown(&profile)
        ))),
        _ => Ok(()),
    }
}

/// What is ours in the file.
struct Block<'a> {
    server: &'a ServerUrl,
    prefix: &'a str,
    program: &'a str,
    issuer: Option<&'a str>,
    offers: &'a Offers,
}

impl Block<'_> {
    fn names(&self) -> Vec<String> {
        self.offers.grants.iter().map(|offer| format!("{}-{}", self.prefix, offer.name)).collect()
    }

    fn text(&self, crlf: bool) -> Result<String, Trouble> {
        let mut lines =
            vec![begin(self.server), "# Written by `hallpass configure`, which replaces all of it.".to_owned()];
        for offer in &self.offers.grants {
            // A server must not write what it likes into the file.
            let grant = super::access::grant_name(&offer.name)
                .map_err(|_| Trouble::failed("the server names a grant that no grant can be called"))?;
            let issuer = self.issuer.map_or_else(String::new, |issuer| format!(" --issuer {issuer}"));
            let Self { server, prefix, program, .. } = self;
            lines.push(format!("[profile {prefix}-{grant}]"));
            lines.push(format!("credential_process = {program} credentials --server {server}{issuer} --grant {grant}"));
        }
        lines.push(end(self.server));
        let line_end = if crlf { "\r\n" } else { "\n" };
        Ok(lines.into_iter().map(|line| line + line_end).collect())
    }
}

fn begin(server: &ServerUrl) -> String {
    format!("# >>> hallpass {server} >>>")
}

fn end(server: &ServerUrl) -> String {
    format!("# <<< hallpass {server} <<<")
}

/// Whether the block's lines end as on Windows: as they do now, or as the first line of the file does.
fn is_crlf(content: &[u8], server: &ServerUrl) -> bool {
    let begin = begin(server);
    let block = lines(content).find(|line| line.trim_ascii() == begin.as_bytes());
    block.or_else(|| lines(content).next()).is_some_and(|line| line.ends_with(b"\r\n"))
}

/// The file with this block in the place of the old one, or at its end.
fn with_block(old: &[u8], server: &ServerUrl, block: &str, names: &[String]) -> Result<Vec<u8>, String> {
    let (begin, end) = (begin(server), end(server));
    let is_line = |line: &[u8], text: &str| line.trim_ascii() == text.as_bytes();
    let (mut before, mut after, mut state) = (Vec::new(), Vec::new(), State::Before);
    for line in lines(old) {
        match state {
            State::Before | State::After if is_line(line, &begin) => {
                if matches!(state, State::After) {
                    return Err(format!("`{begin}` is there twice; remove one block"));
                }
                state = State::Inside;
            }
            State::Before | State::After if is_line(line, &end) => {
                return Err(format!("`{end}` has no beginning; remove the line"));
            }
            State::Inside if is_line(line, &end) => state = State::After,
            State::Inside => {}
            State::Before => before.extend_from_slice(line),
            State::After => after.extend_from_slice(line),
        }
    }
    if matches!(state, State::Inside) {
        return Err(format!("the block after `{begin}` has no end; add `{end}` behind it, or remove it"));
    }
    let others: Vec<String> = profiles(&before, true).into_iter().chain(profiles(&after, true)).collect();
    if let Some(name) = names.iter().find(|name| others.contains(name)) {
        return Err(format!(
            "there is a profile {name} already, outside of the block; rename it, or choose another --prefix"
        ));
    }
    let line_end = if block.ends_with("\r\n") { "\r\n" } else { "\n" };
    let gap = if before.is_empty() || before.ends_with(b"\n") { "" } else { line_end };
    Ok([before.as_slice(), gap.as_bytes(), block.as_bytes(), &after].concat())
}

#[derive(Debug, Clone, Copy)]
enum State {
    Before,
    Inside,
    After,
}

/// Replaces a file, with its mode, unless another program has changed it since it was read. A new one is for its owner
/// alone.
fn replace(path: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::NotFound)?;
    if !directory.exists() {
        super::store::make_private(directory)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = directory.join(format!(".{name}.hallpass-new"));
    let written = super::store::write_private(&beside, new).and_then(|()| {
        if let Ok(about) = std::fs::metadata(path) {
            std::fs::set_permissions(&beside, about.permissions())?;
        }
        std::fs::File::open(&beside)?.sync_all()?;
        // As late as can be: between this and the renaming there is nothing more.
        if content(Some(path))? != old {
            return Err(io::Error::other("another program has just changed it; run the command again"));
        }
        std::fs::rename(&beside, path)
    });
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

/// Lines around a change, as `diff -u` shows them.
const AROUND: usize = 3;

/// What changes, as `diff -u` shows it. Only the block can.
fn diff(place: &str, old: &[u8], new: &[u8]) -> String {
    if old == new {
        return String::new();
    }
    let (old, new): (Vec<&[u8]>, Vec<&[u8]>) = (lines(old).collect(), lines(new).collect());
    let same = |(one, other): (&&[u8], &&[u8])| one == other;
    let head = old.iter().zip(&new).take_while(|pair| same(*pair)).count();
    let most = old.len().min(new.len()).saturating_sub(head);
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|pair| same(*pair)).count();
    let from = head.saturating_sub(AROUND);
    let until = |lines: &[&[u8]]| lines.len().saturating_sub(tail.saturating_sub(AROUND));
    let mut text = format!("--- {place}\n+++ {place}\n");
    let span = |lines: &[&[u8]]| {
        let count = until(lines).saturating_sub(from);
        let first = if count == 0 { from } else { from.saturating_add(1) };
        format!("{first},{count}")
    };
    text = format!("{text}@@ -{} +{} @@\n", span(&old), span(&new));
    let mut show = |mark: char, lines: &[&[u8]], from: usize, until: usize| {
        for line in lines.iter().take(until).skip(from) {
            text.push(mark);
            text.push_str(&shown(String::from_utf8_lossy(line).trim_end_matches(['\r', '\n'])));
            text.push('\n');
        }
    };
    show(' ', &old, from, head);
    show('-', &old, head, old.len().saturating_sub(tail));
    show('+', &new, head, new.len().saturating_sub(tail));
    show(' ', &old, old.len().saturating_sub(tail), until(&old));
    text
}

/// This program as a configuration can name it: by a path that stays right after an upgrade.
fn program(world: &World) -> Result<String, Trouble> {
    let unknown = |_| Trouble::failed("this program does not know where it is");
    let current = std::env::current_exe().map_err(unknown)?;
    let real = std::fs::canonicalize(&current).map_err(unknown)?;
    let same = |path: &Path| std::fs::canonicalize(path).is_ok_and(|other| other == real);
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let is_path = called.components().count() > 1;
    let found = if is_path {
        std::path::absolute(&called).ok()
    } else {
        let searched = world.variable("PATH").unwrap_or_default();
        std::env::split_paths(searched)
            .map(|directory| directory.join(&called))
            .find(|path| path.is_absolute() && path.is_file())
    };
    quoted(&found.filter(|path| same(path)).unwrap_or(current))
}

/// Some readers split at spaces and some ask a shell, so that only a quoted space is understood by all.
fn quoted(path: &Path) -> Result<String, Trouble> {
    let refused = || {
        Trouble::failed(format!(
            "{} has a character that AWS's tools do not read alike; move the program",
            path.display()
        ))
    };
    let text = path.to_str().ok_or_else(refused)?;
    let is_separator = |c: char| cfg!(windows) && c == '\\';
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@~()".contains(c) || is_separator(c);
    if text.chars().all(|c| is_plain(c) && !"()".contains(c)) {
        return Ok(text.to_owned());
    }
    if text.chars().all(|c| is_plain(c) || c == ' ' || c == ',') { Ok(format!("\"{text}\"")) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::Scratch;
    use super::*;

    fn server() -> ServerUrl {
        ServerUrl::parse("https://hallpass.example.com").unwrap()
    }

    fn offers(names: &[&str]) -> Offers {
        let offer = |name: &&str| json!({"name": name, "description": null, "max_duration": 3600, "requires": {}});
        serde_json::from_value(json!({"grants": names.iter().map(offer).collect::<Vec<_>>()})).unwrap()
    }

    fn configured(old: &[u8], names: &[&str]) -> Result<Vec<u8>, String> {
        let (server, offers) = (server(), offers(names));
        let block =
            Block { server: &server, prefix: "hallpass", program: "/usr/bin/hallpass", issuer: None, offers: &offers };
        with_block(old, &server, &block.text(is_crlf(old, &server)).unwrap(), &block.names())
    }

    const BLOCK: &str = "# >>> hallpass https://hallpass.example.com >>>\n\
        # Written by `hallpass configure`, which replaces all of it.\n\
        [profile hallpass-deploy]\n\
        credential_process = /usr/bin/hallpass credentials --server https://hallpass.example.com --grant deploy\n\
        # <<< hallpass https://hallpass.example.com <<<\n";

    /// Files as people have them.
    fn files() -> Vec<Vec<u8>> {
        let texts = [
            "",
            "\n",
            "[default]\nregion = eu-west-1\n",
            "[default]\nregion = eu-west-1",
            "[default]\r\nregion = eu-west-1\r\n",
            "[default]\r\nregion = eu-west-1",
            "# only a comment",
            "; only a comment\n\n\n",
            "[default]\n\tregion\t=\teu-west-1\n",
            "[ default ]\nregion=eu-west-1\n",
            "[profile dev]\nregion=eu-west-1\n\n[profile dev]\nregion=us-east-1\n",
            "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n",
            "[profile a]\nsso_session = corp\nsso_account_id = 111122223333\n[sso-session corp]\nsso_region=x\n",
            "[profile \"with space\"]\nregion = x\n",
            "[profile hallpass]\nregion = x\n",
            "[profile hallpass-deploy2]\nregion = x\n",
            "[default]\ns3 =\n  max_concurrent_requests = 20\n  max_queue_size = 10000\n",
            "[default]\ncredential_process = \"/opt/my tool/x\" --flag 'y z'\n",
            "\u{feff}[default]\nregion = x\n",
            "[default]\nregion = x ; trailing\n",
            "[default]\nregion = x   \n   \n",
            "[services local]\ns3 =\n  endpoint_url = http://127.0.0.1:9000\n[profile l]\nservices = local\n",
            "[plugins]\nendpoint = awscli_plugin_endpoint\n",
            "[preview]\ncloudfront = true\n[default]\noutput = json\n",
            "[default]\nregion = x\n# >>> hallpass https://other.example.com >>>\n[profile o-deploy]\ncredential_process = x\n# <<< hallpass https://other.example.com <<<\n",
            "[profile é]\nregion = x\n",
            "no section at all\n",
            "[default\nregion = x\n",
            "[default]\nregion = x\n\n\n\n\n",
            "[default]\rregion = x\r",
        ];
        let mut files: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        files.push(b"[default]\nname = \xff\xfe\n".to_vec());
        files
    }

    #[test]
    fn whatever_else_is_in_the_file_stays_the_same_to_the_byte() {
        assert!(files().len() >= 30);
        for old in files() {
            let new = configured(&old, &["deploy"]).unwrap();
            assert!(new.starts_with(&old), "{:?}", String::from_utf8_lossy(&old));
            let added = String::from_utf8(new[old.len()..].to_vec()).unwrap();
            assert_eq!(added.trim_start_matches(['\r', '\n']).replace("\r\n", "\n"), BLOCK);
            // Again, it changes nothing; and what is gone goes.
            assert_eq!(configured(&new, &["deploy"]).unwrap(), new);
            let other = configured(&new, &["audit"]).unwrap();
            assert!(!String::from_utf8_lossy(&other).contains("hallpass-deploy]"));
            assert_eq!(configured(&other, &["deploy"]).unwrap(), new);
        }
    }

    #[test]
    fn a_block_in_the_middle_stays_there() {
        let old = format!("[default]\nregion = x\n{BLOCK}[profile z]\nregion = y");
        let new = configured(old.as_bytes(), &["audit"]).unwrap();
        let text = String::from_utf8(new).unwrap();
        assert!(
            text.starts_with("[default]\nregion = x\n# >>>") && text.ends_with("<<<\n[profile z]\nregion = y"),
            "{text}"
        );
    }

    #[test]
    fn a_profile_of_the_same_name_elsewhere_is_an_error() {
        for line in ["[profile hallpass-deploy]", "[profile\thallpass-deploy]", "[ profile \"hallpass-deploy\" ]\r"] {
            let old = format!("{line}\nregion = x\n");
            assert!(configured(old.as_bytes(), &["deploy"]).unwrap_err().contains("--prefix"), "{line}");
            assert!(configured(format!("{BLOCK}{old}").as_bytes(), &["deploy"]).is_err());
            configured(old.as_bytes(), &["audit"]).unwrap();
        }
    }

    #[test]
    fn a_block_that_was_damaged_is_an_error() {
        let cut = BLOCK.rsplit_once("# <<<").unwrap().0;
        assert!(configured(cut.as_bytes(), &["deploy"]).unwrap_err().contains("no end"));
        assert!(configured(format!("{BLOCK}{BLOCK}").as_bytes(), &["deploy"]).unwrap_err().contains("twice"));
        let end = BLOCK.lines().last().unwrap();
        assert!(configured(end.as_bytes(), &["deploy"]).unwrap_err().contains("no beginning"));
    }

    #[test]
    fn a_difference_is_shown_as_diff_does() {
        let old = "1\n2\n3\n4\n5\n";
        let new = configured(old.as_bytes(), &["deploy"]).unwrap();
        let shown = diff("/c", old.as_bytes(), &new);
        assert!(shown.starts_with("--- /c\n+++ /c\n@@ -3,3 +3,8 @@\n 3\n 4\n 5\n+# >>> "), "{shown}");
        assert_eq!(diff("/c", &new, &new), "");
        let other = configured(&new, &["audit"]).unwrap();
        let shown = diff("/c", &new, &other);
        assert!(
            shown.contains("\n-[profile hallpass-deploy]\n") && shown.contains("\n+[profile hallpass-audit]\n"),
            "{shown}"
        );
        assert!(shown.contains("\n # <<< "), "{shown}");
    }

    #[test]
    fn a_file_that_another_program_has_changed_is_not_replaced() {
        let scratch = Scratch::new();
        let path = scratch.path().join("config");
        let names = || std::fs::read_dir(scratch.path()).unwrap().count();
        replace(&path, b"", b"1").unwrap();
        replace(&path, b"1", b"2").unwrap();
        for (now, read) in [(Some("3"), "2"), (Some("3"), ""), (None, "2")] {
            std::fs::remove_file(&path).unwrap();
            if let Some(now) = now {
                std::fs::write(&path, now).unwrap();
            }
            let told = replace(&path, read.as_bytes(), b"4").unwrap_err().to_string();
            assert!(told.contains("run the command again"), "{told}");
            assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), now);
            assert_eq!(names(), usize::from(now.is_some()), "nothing is left beside it");
            std::fs::write(&path, "3").unwrap();
        }
        replace(&path, b"3", b"4").unwrap();
    }

    #[test]
    fn a_server_cannot_write_what_it_likes() {
        let (server, offers) = (server(), offers(&["a]\ncredential_process = /bin/evil\n["]));
        let block = Block { server: &server, prefix: "p", program: "/x", issuer: None, offers: &offers };
        block.text(false).unwrap_err();
    }

    #[test]
    fn a_path_is_quoted_only_if_it_must_be() {
        let quoted = |path: &str| quoted(Path::new(path)).ok();
        assert_eq!(quoted("/usr/local/bin/hallpass").as_deref(), Some("/usr/local/bin/hallpass"));
        assert_eq!(quoted("/opt/my tools/hallpass").as_deref(), Some("\"/opt/my tools/hallpass\""));
        for bad in ["/opt/$x/h", "/opt/a\"b/h", "/opt/a'b/h", "/opt/a;b/h", "/opt/`a`/h", "/opt/a\nb/h", "/opt/a%b/h"] {
            assert_eq!(quoted(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_file_stays_the_same_outside_of_the_block(old in proptest::collection::vec(any::<u8>(), 0..300)) {
            let new = configured(&old, &["deploy"]).unwrap();
            prop_assert!(new.starts_with(&old));
            prop_assert_eq!(configured(&new, &["deploy"]).unwrap(), new);
        }

        #[test]
        fn any_text_around_a_block_stays(before in "[^#]{0,80}", after in "[^#]{0,80}") {
            let old = format!("{before}\n{BLOCK}{after}");
            let new = String::from_utf8(configured(old.as_bytes(), &["audit"]).unwrap()).unwrap();
            let (start, end) = (format!("{before}\n# >>> "), format!(" <<<\n{after}"));
            prop_assert!(new.starts_with(&start) && new.ends_with(&end));
        }
    }
}
