//! What is known of a session about which somebody asks?

use hallpass::session::FederatedName;

use crate::operator::audit_log::is_access_key_id;

/// Digits of the id of an account.
const ACCOUNT_DIGITS: usize = 12;

/// What a person typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A CloudTrail event comes on standard input.
    Event,
    Session(Asked),
}

/// What is known of a session. It has a name or an access key, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(super) account: Option<String>,
    pub(super) name: Option<FederatedName>,
    pub(super) access_key_id: Option<String>,
    /// Whether the event is of the call that made the session. Then the access key is the very one that STS gave.
    pub(super) is_minted: bool,
    /// The IAM user with the key that made the session.
    pub(super) user: Option<String>,
    /// When the session was used, in seconds since the epoch.
    pub(super) at: Option<i64>,
    /// When the session began, in seconds since the epoch, as CloudTrail says it.
    pub(super) began: Option<i64>,
}

impl What {
    /// Reads a name, `ACCOUNT:NAME`, an ARN or the id of an access key.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "-" {
            return Ok(Self::Event);
        }
        let is_key =
            text.starts_with("ASIA") && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if is_key && is_access_key_id(text) {
            return Ok(Self::Session(Asked { access_key_id: Some(text.to_owned()), ..Asked::default() }));
        }
        let session = if text.starts_with("arn:") { Asked::of_arn(text) } else { Asked::of_id(text) };
        session.map(Self::Session).ok_or(
            "must be a federated name, ACCOUNT:NAME, an ARN of a federated-user, the id of an access key that begins \
             with ASIA, or - for a CloudTrail event on standard input",
        )
    }
}

impl Asked {
    /// A session of this name.
    pub(super) fn of_name(name: FederatedName) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// Reads `NAME` or `ACCOUNT:NAME`, as `aws:userid` has it.
    fn of_id(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => FederatedName::parse(text).map(Self::of_name),
            Some((account, name)) => {
                let account = is_account(account).then(|| account.to_owned())?;
                Some(Self { account: Some(account), ..Self::of_name(FederatedName::parse(name)?) })
            }
        }
    }

    /// Reads `arn:PARTITION:sts::ACCOUNT:federated-user/NAME`.
    pub(super) fn of_arn(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("arn:aws")?;
        let (partition, rest) = rest.split_once(":sts::")?;
        let is_partition = partition.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let (account, name) = rest.split_once(":federated-user/")?;
        let account = (is_partition && is_account(account)).then(|| account.to_owned())?;
        Some(Self { account: Some(account), ..Self::of_name(FederatedName::parse(name)?) })
    }
}

/// Whether it can be the id of an account.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}
