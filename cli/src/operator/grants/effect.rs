//! What does a change do to what callers may do?

use hallpass::grants::Item;
use serde::Serialize;

/// What is proved about a change of one item, whatever the other items are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Effect {
    /// Nobody may do more than before.
    Narrows,
    /// Nobody may do anything else than before.
    Same,
    /// Nothing is proved.
    Mixed,
    /// Nobody may do less than before.
    Widens,
}

/// Compares two states of one item. What cannot be proved is [`Effect::Mixed`].
pub(crate) fn effect(before: Option<&Item>, after: Option<&Item>) -> Effect {
    if before == after { Effect::Same } else { Effect::Mixed }
}
