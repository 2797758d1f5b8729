//! What does STS accept, and what is a session called?
//!
//! STS's limits are types here: a value that exists is legal. STS refuses nothing that could have been known before.

mod limits;
mod name;

pub use self::limits::{PolicyArn, PolicyArns, SessionDuration, SessionPolicy, SessionTags, TagError};
pub(crate) use self::limits::{check_tag_key, is_partition, is_tag_character};
pub use self::name::{FederatedName, NameError};
