//! What do commands read besides grant files?

use std::io::Read as _;
use std::path::Path;

use hallpass::grants::explain::{Known, KnownItem};
use hallpass::grants::file::Document;
use hallpass::grants::{self, Policies};
use hallpass::identity::{Issuer, parse_issuers};
use hallpass::read::json;
use hallpass::read::problems::Problems;
use hallpass::read::text::{MAX_BYTES, read_file};
use serde_json::Value;

use crate::failure::Failure;

/// Reads the value of `HALLPASS_ISSUERS` from a file.
pub(super) fn issuers_of_file(path: &Path) -> Result<Vec<Issuer>, Failure> {
    issuers(text(path)?.trim()).map_err(|problems| Failure::new(format!("{}: {problems}", path.display())))
}

/// Reads the output `Issuers` of a stack.
#[cfg(feature = "operator")]
pub(crate) fn issuers_of_stack(text: &str) -> Result<Vec<Issuer>, Failure> {
    issuers(text).map_err(|problems| Failure::new(format!("the stack's output `Issuers`: {problems}")))
}

/// Reads the value of `HALLPASS_ISSUERS`.
fn issuers(text: &str) -> Result<Vec<Issuer>, Problems> {
    let mut problems = Problems::default();
    let issuers = parse_issuers(text, &mut problems);
    if problems.is_empty() { Ok(issuers) } else { Err(problems) }
}

/// An issuer of which nothing is known but its id: subject and groups are where most providers have them.
pub(super) fn plain_issuer(id: &str) -> Result<Issuer, Failure> {
    let entry = serde_json::json!([{"id": id, "issuer": "https://issuer.invalid", "audiences": ["hallpass"]}]);
    let issuer = issuers(&entry.to_string()).ok().and_then(|issuers| issuers.into_iter().next());
    issuer.ok_or_else(|| Failure::Usage(format!("the id of an issuer must be 1 to 32 of a-z, 0-9 and -, not `{id}`")))
}

/// Reads policies of the broker user, of which any may allow.
pub(super) fn ceiling<P: AsRef<Path>>(paths: &[P]) -> Result<Policies, Failure> {
    let read = |path: &P| {
        let path = path.as_ref();
        let failed = |says: String| Failure::new(format!("{}: {says}", path.display()));
        let document = json::parse(text(path)?.as_bytes()).map_err(|error| failed(format!("is not JSON: {error}")))?;
        grants::Document::parse(path.display().to_string(), &document).map_err(|problems| failed(problems.to_string()))
    };
    paths.iter().map(read).collect::<Result<_, _>>().map(Policies::new)
}

/// Reads a JSON object from a file.
#[cfg(feature = "operator")]
pub(super) fn object(path: &Path) -> Result<serde_json::Map<String, Value>, Failure> {
    let failed = |says: String| Failure::new(format!("{}: {says}", path.display()));
    json::parse_object(text(path)?.as_bytes()).map_err(|error| failed(error.to_string()))
}

/// Reads a small text from a file, or from standard input if the path is `-`.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let failed = |says: String| Failure::new(format!("{}: {says}", path.display()));
    let bytes = if path == Path::new("-") {
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        std::io::stdin().take(most).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
        bytes
    } else {
        read_file(path).map_err(|error| failed(error.to_string()))?
    };
    if bytes.len() > MAX_BYTES {
        return Err(failed(format!("is over {MAX_BYTES} bytes long")));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed("is not UTF-8".into()))?;
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

/// All items of the documents. Files have no blocks.
pub(super) fn known(documents: &[Document]) -> Known {
    let items = documents.iter().flat_map(|document| {
        document.principals().iter().map(|named| KnownItem {
            principal: named.principal.clone(),
            grant: document.grant().as_str().to_owned(),
            attributes: document.attributes().clone(),
        })
    });
    Known { items: items.collect(), ..Known::default() }
}
