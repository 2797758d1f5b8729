//! What does the caller get?
//!
//! STS's limits are types here: what exists is legal, so that nothing is refused by STS that could have been known
//! before. The broker key and the call to `GetFederationToken` need the `aws` feature.

#[cfg(feature = "aws")]
mod access_key;
#[cfg(feature = "aws")]
mod broker_key;
mod limits;
mod name;
#[cfg(feature = "aws")]
mod sts;

#[cfg(feature = "aws")]
pub use self::access_key::{AccessKey, NoAccessKey};
#[cfg(feature = "aws")]
pub use self::broker_key::{BrokerKey, BrokerKeys, FoundKey, KeyError, MintError};
pub use self::limits::{PolicyArn, PolicyArns, SessionDuration, SessionPolicy, SessionTags, TagError, check_tag_key};
pub(crate) use self::limits::{is_partition, is_tag_character};
pub use self::name::{FederatedName, NameError};
#[cfg(feature = "aws")]
pub use self::sts::{Issued, StsError};
