//! What do `~/.aws/config` and `~/.aws/credentials` say, line by line?
//!
//! Read as AWS's tools read them, and as bytes: what is not ours is never changed, whatever is in it.

use std::path::{Path, PathBuf};

use super::world::World;

/// Settings by which a profile has credentials.
const CREDENTIALS: [&str; 16] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_security_token",
    "credential_process",
    "credential_source",
    "external_id",
    "login_session",
    "mfa_serial",
    "role_arn",
    "role_session_name",
    "source_profile",
    "sso_account_id",
    "sso_role_name",
    "sso_session",
    "web_identity_token_file",
];
const START_URL: &str = "sso_start_url";

/// Where the configuration is: `AWS_CONFIG_FILE`, else `~/.aws/config`.
pub(crate) fn config_path(world: &World) -> Option<PathBuf> {
    path(world, "AWS_CONFIG_FILE", "config")
}

/// Where static keys are: `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
pub(crate) fn credentials_path(world: &World) -> Option<PathBuf> {
    path(world, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
}

fn path(world: &World, variable: &str, name: &str) -> Option<PathBuf> {
    let at_home = |rest: &str| world.home().map(|home| home.join(rest));
    match world.variable(variable) {
        Some("~") => at_home(""),
        Some(named) => named.strip_prefix("~/").map_or_else(|| Some(PathBuf::from(named)), at_home),
        None => at_home(".aws").map(|directory| directory.join(name)),
    }
}

/// What a file holds. One that is not there holds nothing.
pub(crate) fn content(path: Option<&Path>) -> std::io::Result<Vec<u8>> {
    match path.map(std::fs::read) {
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Some(Ok(content)) => Ok(content),
        Some(Err(_)) | None => Ok(Vec::new()),
    }
}

/// A line with its end.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n')
}

/// What stands between the brackets, if the line opens a section.
pub(crate) fn section(line: &[u8]) -> Option<String> {
    let inside = line.trim_ascii_start().strip_prefix(b"[")?;
    let end = inside.iter().position(|byte| *byte == b']')?;
    Some(String::from_utf8_lossy(inside.get(..end)?).trim().to_owned())
}

/// The profile that a section of the configuration is of. In the credentials file, every section is one.
pub(crate) fn profile(section: &str, is_config: bool) -> Option<String> {
    let unquoted = |name: &str| name.trim().trim_matches(['"', '\'']).to_owned();
    if !is_config || section == "default" {
        return Some(unquoted(section));
    }
    let (kind, name) = section.split_once(char::is_whitespace)?;
    (kind == "profile").then(|| unquoted(name))
}

/// What a line is.
enum Line {
    /// It opens a section. Some SDKs take an indented one for that, and others for the rest of the setting before.
    Section { name: String, is_certain: bool },
    /// It begins a setting.
    Setting(String),
    /// It goes on with the setting before, or says nothing.
    Rest,
}

/// Reads lines as Python's `configparser` does, and so AWS's own command line: a line goes on with the setting before if
/// it is indented deeper than that one. The first setting of a section can be indented, too.
#[derive(Debug, Default)]
struct Lines {
    /// How deep the setting before is, if the section has one.
    indent: Option<usize>,
}

impl Lines {
    fn read(&mut self, line: &[u8]) -> Line {
        let indent = line.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let is_further = self.indent.is_some_and(|before| indent > before);
        if let Some(name) = section(line) {
            if !is_further {
                self.indent = None;
            }
            return Line::Section { name, is_certain: !is_further };
        }
        let text = line.trim_ascii();
        if is_further || text.first().is_none_or(|first| matches!(first, b'#' | b';')) {
            return Line::Rest;
        }
        self.indent = Some(indent);
        let end = text.iter().position(|byte| matches!(byte, b'=' | b':'));
        end.and_then(|end| text.get(..end))
            .map_or(Line::Rest, |name| Line::Setting(String::from_utf8_lossy(name).trim().to_ascii_lowercase()))
    }
}

fn is_of_credentials(setting: &str) -> bool {
    CREDENTIALS.contains(&setting) || setting == START_URL
}

/// Whether the profile `default` has credentials of its own, which every SDK takes before those of a container.
pub(crate) fn default_has_credentials(content: &[u8], is_config: bool) -> bool {
    let (mut reading, mut is_default) = (Lines::default(), false);
    lines(content).any(|line| match reading.read(line) {
        Line::Section { name, is_certain } => {
            let is_named = profile(&name, is_config).as_deref() == Some("default");
            is_default = is_named || (is_default && !is_certain);
            false
        }
        Line::Setting(setting) => is_default && is_of_credentials(&setting),
        Line::Rest => false,
    })
}

/// The names of the profiles that have static keys.
pub(crate) fn profiles(content: &[u8], is_config: bool) -> Vec<String> {
    lines(content).filter_map(section).filter_map(|section| profile(&section, is_config)).collect()
}

/// The configuration without what gives any profile credentials.
pub(crate) fn without_credentials(config: &[u8]) -> Vec<u8> {
    let (mut kept, mut is_profile, mut is_dropped) = (Vec::new(), false, false);
    let mut reading = Lines::default();
    for line in lines(config) {
        match reading.read(line) {
            Line::Section { name, is_certain } => {
                is_profile = profile(&name, true).is_some() || (is_profile && !is_certain);
                is_dropped = is_dropped && !is_certain;
            }
            Line::Setting(setting) => is_dropped = is_profile && is_of_credentials(&setting),
            Line::Rest => {}
        }
        if !is_dropped {
            kept.extend_from_slice(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sections_and_profiles_are_read_as_awss_tools_do() {
        for (line, found) in [
            ("[default]", Some("default")),
            ("[profile dev]\n", Some("dev")),
            ("[profile\tdev]\r\n", Some("dev")),
            ("[ profile  dev ] # mine", Some("dev")),
            ("[profile \"my dev\"]", Some("my dev")),
            ("[sso-session corp]", None),
            ("[profiledev]", None),
            ("[dev]", None),
        ] {
            let found_here = section(line.as_bytes()).and_then(|section| profile(&section, true));
            assert_eq!(found_here.as_deref(), found, "{line:?}");
        }
        assert_eq!(profile("dev", false).as_deref(), Some("dev"));
        for line in ["# [default]", "a = [default]", "[default", ""] {
            assert_eq!(section(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_default_profile_outranks_a_container_if_it_has_credentials() {
        for config in [
            "[default]\naws_access_key_id = A\n",
            "[default]\r\nregion = x\r\nROLE_ARN=arn\r\n",
            "[profile default]\ncredential_process = x",
            "[default]\nsso_session = corp",
            "[default]\n  aws_access_key_id = A\n",
            "[default]\n\t# mine\n\trole_arn = A\n",
            "[default]\n  region = x\n  role_arn = A\n",
            "[default]\n  region = x\nrole_arn = A\n",
            "[profile a]\n  region = x\n  [default]\n  role_arn = A\n",
            "[default]\nregion = x\n  [profile a]\nrole_arn = A\n",
            "[profile a]\nregion = x\n  [default]\nrole_arn = A\n",
            "[a]\n[default]\nx=1\n[profile b]\nregion=1\n[default]\nlogin_session = a",
        ] {
            assert!(default_has_credentials(config.as_bytes(), true), "{config}");
        }
        for config in [
            "",
            "[default]\nregion = x\n",
            "[profile dev]\naws_access_key_id = A\n",
            "[default]\n# aws_access_key_id = A\n",
            "[default]\ns3 =\n  role_arn = x\n",
            "[default]\n  s3 =\n    role_arn = x\n\n    role_arn = y\n",
        ] {
            assert!(!default_has_credentials(config.as_bytes(), true), "{config}");
        }
        assert!(default_has_credentials(b"[default]\naws_access_key_id=A", false));
        assert!(!default_has_credentials(b"[dev]\naws_access_key_id=A", false));
    }

    #[test]
    fn a_copy_has_everything_but_credentials() {
        let config = "# mine\n[default]\nregion = eu-west-1\naws_access_key_id = canary\naws_secret_access_key =\n  canary\noutput = json\n\
                      [sso-session corp]\nsso_start_url = https://x\n[profile a]\nrole_arn = canary\nregion = x";
        let kept = "# mine\n[default]\nregion = eu-west-1\noutput = json\n\
                    [sso-session corp]\nsso_start_url = https://x\n[profile a]\nregion = x";
        assert_eq!(String::from_utf8(without_credentials(config.as_bytes())).unwrap(), kept);
        let indented =
            "[default]\n  aws_access_key_id = canary\n  aws_secret_access_key =\n   [canary]\n  region = x\n";
        assert_eq!(without_credentials(indented.as_bytes()), b"[default]\n  region = x\n");
    }

    #[test]
    fn the_variables_name_the_files() {
        let world = |variables: &[(&str, &str)]| config_path(&World::of(variables)).unwrap();
        assert_eq!(world(&[]), Path::new("/home/carol/.aws/config"));
        assert_eq!(world(&[("AWS_CONFIG_FILE", "/x/y")]), Path::new("/x/y"));
        assert_eq!(world(&[("AWS_CONFIG_FILE", "~/y")]), Path::new("/home/carol/y"));
    }

    proptest! {
        #[test]
        fn a_file_without_credentials_is_copied_to_the_byte(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&content).to_lowercase();
            let names = CREDENTIALS.iter().chain([&START_URL]);
            prop_assume!(names.clone().all(|name| !text.contains(name)));
            prop_assert_eq!(without_credentials(&content), content.clone());
            prop_assert!(!default_has_credentials(&content, true));
        }
    }
}
