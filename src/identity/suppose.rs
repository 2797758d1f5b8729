//! Of whom would these claims speak, if a token had them?
//!
//! For explanations and tests of grants on an operator's machine: no session is ever minted for such a caller. The
//! functions are built without this feature.

use serde_json::{Map, Value};

use super::claims::{Caller, Claims};
use super::token::{Expiry, check_required};
use super::{Issuer, TokenError};

/// Supposes that `issuer` vouches for these claims. Its rules for the subject, the groups and the required claims hold;
/// signature, audience and time are not looked at. Without a whole `exp` the token never ends.
///
/// # Errors
/// [`TokenError`] says what the function would refuse in such a token.
pub fn suppose(issuer: &Issuer, claims: Map<String, Value>) -> Result<Caller, TokenError> {
    check_required(Claims(&claims), issuer)?;
    let ends_at = claims.get("exp").and_then(Value::as_i64).unwrap_or(i64::MAX);
    Caller::read(issuer, claims, Expiry { ends_at, dead_from: ends_at })
}

/// Puts a value where a JSON pointer (RFC 6901) points to, with the objects on the way. `None` if the pointer is not one
/// of a claim, or leads through something that is not an object.
pub fn put_claim(claims: &mut Map<String, Value>, pointer: &str, value: Value) -> Option<()> {
    let mut names = pointer.strip_prefix('/')?.split('/').map(|name| name.replace("~1", "/").replace("~0", "~"));
    let last = names.next_back()?;
    let mut object = claims;
    for name in names {
        object = object.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()?;
    }
    object.insert(last, value);
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse_issuers;
    use super::*;
    use crate::read::problems::Problems;

    fn issuer(more: &Value) -> Issuer {
        let mut entry = json!({"id": "corp", "issuer": "https://login.example.com", "audiences": ["hallpass"]});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        parse_issuers(&json!([entry]).to_string(), &mut Problems::default()).remove(0)
    }

    fn supposed(more: &Value, claims: &Value) -> Result<Caller, TokenError> {
        suppose(&issuer(more), claims.as_object().unwrap().clone())
    }

    #[test]
    fn the_issuers_rules_for_what_it_says_of_people_hold() {
        let caller = supposed(&json!({}), &json!({"sub": "carol", "groups": ["a"]})).unwrap();
        assert_eq!((caller.subject(), caller.groups().collect::<Vec<_>>()), ("carol", vec!["a"]));
        assert_eq!(supposed(&json!({}), &json!({"groups": []})).unwrap_err(), TokenError::SubjectMalformed);
        let groups = supposed(&json!({}), &json!({"sub": "carol", "groups": 7})).unwrap_err();
        assert_eq!(groups, TokenError::GroupsMalformed);
        let required = json!({"required_claims": {"/hd": ["example.com"]}});
        assert_eq!(supposed(&required, &json!({"sub": "carol"})).unwrap_err(), TokenError::RequiredClaim);
        assert!(supposed(&required, &json!({"sub": "carol", "hd": "example.com"})).is_ok());
    }

    #[test]
    fn claims_are_put_where_pointers_find_them() {
        let mut claims = json!({"a": {"b": 1}, "c": 2}).as_object().unwrap().clone();
        for pointer in ["/d", "/a/e", "/f/g/h", "/https:~1~1example.com~1groups", "/a~0b", "/"] {
            put_claim(&mut claims, pointer, "here".into()).unwrap();
            assert_eq!(Claims(&claims).at(pointer), Some(&"here".into()), "{pointer}");
        }
        assert_eq!(Claims(&claims).at("/a/b"), Some(&1.into()));
        for pointer in ["", "a", "/c/d"] {
            assert_eq!(put_claim(&mut claims, pointer, 7.into()), None, "{pointer}");
        }
    }
}
