//! How is JSON read that a stranger, or a careless hand, has written?
//!
//! RFC 8259 leaves open what a repeated member means, and parsers differ: one checks the first `aud`, another
//! uses the last. So a document that two readers could understand differently is refused here, once, for
//! tokens, key sets, policies, bodies and the configuration alike.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Levels of arrays and objects, the outermost being 1. No real token or policy comes near it; a parser's stack does.
pub const MAX_DEPTH: usize = 64;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a text is not JSON that has one meaning. Never holds a value of the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// Reads one JSON document: UTF-8, no byte order mark, no repeated member, at most [`MAX_DEPTH`] levels.
///
/// # Errors
/// [`Malformed`] says what is wrong, and where.
pub fn parse(text: &[u8]) -> Result<Value, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed("not UTF-8".into()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    Strict { depth: 1 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| Malformed(error.to_string()))
}

/// Like [`parse`], for documents that must be an object.
///
/// # Errors
/// [`Malformed`] also where the document is not an object.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, Malformed> {
    match parse(text)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Malformed("not a JSON object".into()))
        }
    }
}

/// Like [`parse_object`], for a document that was fetched from another server. One byte order mark before it is
/// dropped, as RFC 8259 §8.1 allows: some servers put it there, and it means nothing.
///
/// # Errors
/// [`Malformed`], as by [`parse_object`].
pub fn parse_fetched_object(text: &[u8]) -> Result<Map<String, Value>, Malformed> {
    parse_object(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
}

/// Whether serde reads the text as a [`Value`]. Nothing is kept, so that it costs a fraction of one.
#[must_use]
pub fn is_value(text: &[u8]) -> bool {
    serde_json::from_slice::<Walked>(text).is_ok()
}

/// Whether `pointer` is a JSON pointer (RFC 6901) that names something inside a document.
#[must_use]
pub fn is_pointer(pointer: &str) -> bool {
    pointer.starts_with('/') && pointer.split('~').skip(1).all(|rest| rest.starts_with('0') || rest.starts_with('1'))
}

/// A member's name as a JSON pointer writes it (RFC 6901 §3), cut where it is longer than any that IAM knows.
#[must_use]
pub(crate) fn escaped(name: &str) -> String {
    let name: String = name.chars().take(128).collect();
    name.replace('~', "~0").replace('/', "~1")
}

/// A value that was read in full. [`serde::de::IgnoredAny`] skips over what a reader may not: it accepts a string with
/// half a surrogate pair, or one that is not UTF-8.
struct Walked;

impl<'de> serde::Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Walked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth.saturating_add(1) })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut members = Map::new();
        // Names arrive unescaped, so `"a"` and `"\u0061"` are the one name that they are.
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(inside)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has two members of one name"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn an_ordinary_document_is_read_as_it_is() {
        let text = br#"{"a":[1,-2,3.5,true,null,"\u00e9"],"b":{"a":{}}}"#;
        assert_eq!(parse(text).unwrap(), json!({"a":[1,-2,3.5,true,null,"é"],"b":{"a":{}}}));
    }

    #[test]
    fn a_repeated_member_is_refused_at_any_depth_and_however_it_is_written() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"b":{"a":1,"a":2}}]"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn sixty_four_levels_are_read_and_sixty_five_refused() {
        assert!(parse(nested(64).as_bytes()).is_ok());
        assert!(parse(nested(65).as_bytes()).is_err());
        assert!(parse(format!("{}{}", "[".repeat(65), "]".repeat(65)).as_bytes()).is_err());
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        let cases: [&[u8]; 8] =
            [b"", b"{", b"{} {}", b"{}x", b"\xef\xbb\xbf{}", b"{\"a\":\"\xff\"}", b"{}\0", b"{\"a\":1e999}"];
        for text in cases {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse_object(b"[]").is_err());
    }

    #[test]
    fn a_fetched_document_may_begin_with_one_byte_order_mark() {
        for good in ["{\"a\":1}", "\u{feff}{\"a\":1}"] {
            assert_eq!(parse_fetched_object(good.as_bytes()).unwrap()["a"], 1, "{good:?}");
        }
        for bad in ["\u{feff}", "\u{feff}\u{feff}{}", "{}\u{feff}", " \u{feff}{}", "\u{feff}[]", "\u{fffe}{}"] {
            assert!(parse_fetched_object(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse_fetched_object(b"\xef\xbb{}").is_err(), "half of one");
        assert!(parse_object("\u{feff}{}".as_bytes()).is_err(), "everywhere else it is refused");
    }

    #[test]
    fn pointers_follow_rfc_6901() {
        for good in ["/a", "/", "/a/b", "/https:~1~1example.com~1groups", "/a~0b", "/cognito:groups"] {
            assert!(is_pointer(good), "{good}");
        }
        for bad in ["", "a", "/a~", "/a~2", "#/a"] {
            assert!(!is_pointer(bad), "{bad}");
        }
    }

    #[test]
    fn a_walk_takes_what_serde_reads_and_nothing_else() {
        let deep = |levels: usize| [b"[".repeat(levels), b"]".repeat(levels)].concat();
        let texts: [&[u8]; 26] = [
            b"",
            b" ",
            b"null",
            b"true",
            b"[]x",
            b"[]",
            b"{}",
            b"[1,-2,3.5]",
            b"1e400",
            b"-0",
            b"01",
            b"[1,]",
            b"{\"a\":1,}",
            b"{\"a\":1,\"a\":2}",
            b"{a:1}",
            b"\"\\u00e9\"",
            b"\"\\ud800\"",
            b"\"\\ud83d\\ude00\"",
            b"\"\\x\"",
            b"\"\xff\"",
            b"{\"\xff\":1}",
            b"{\"\\ud800\":1}",
            b"\"\n\"",
            b"nul",
            b"[{\"a\":[null,\"b\"]}]",
            b"\xef\xbb\xbf1",
        ];
        for text in texts.into_iter().chain([deep(127), deep(128), deep(200)].iter().map(Vec::as_slice)) {
            let read = serde_json::from_slice::<Value>(text).is_ok();
            assert_eq!(is_value(text), read, "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn a_walk_and_serde_agree(text in r#"[\[\]{}",:0-9a-eul\\ .+\-]{0,16}"#) {
            prop_assert_eq!(is_value(text.as_bytes()), serde_json::from_str::<Value>(&text).is_ok());
        }

        #[test]
        fn nothing_makes_it_panic_and_what_it_reads_serde_reads_too(text in ".{0,64}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
