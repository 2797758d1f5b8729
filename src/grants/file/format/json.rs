//! How is a document printed as JSON?

use serde_json::Value;

use super::WIDTH;
use super::attach::{Body, Item};
use super::order::Place;

/// Prints a document.
pub(super) fn print(body: &Body) -> String {
    let mut out = String::new();
    value(body, Place::Document, 0, 0, &mut out);
    out.push('\n');
    out
}

/// Prints a value, on a line of which `used` characters are taken.
fn value(body: &Body, place: Place, indent: usize, used: usize, out: &mut String) {
    let (items, open, close) = match body {
        Body::Scalar(value) => return out.push_str(&value.to_string()),
        Body::List(items, _) => (items, '[', ']'),
        Body::Map(items, _) => (items, '{', '}'),
    };
    // The comma behind it, too.
    let fits = |text: &String| used.saturating_add(text.chars().count()) < WIDTH;
    if let Some(text) = flow(body, place).filter(fits) {
        return out.push_str(&text);
    }
    let inner = indent.saturating_add(2);
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        let start = out.len();
        out.extend(std::iter::repeat_n(' ', inner));
        let place = if open == '{' {
            out.push_str(&key(item));
            place.at(&item.key)
        } else {
            place.inside()
        };
        let used = out.get(start..).unwrap_or_default().chars().count();
        value(&item.value, place, inner, used, out);
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push(close);
}

/// A list or a map on one line, if it can be.
fn flow(body: &Body, place: Place) -> Option<String> {
    match body {
        Body::Scalar(value) => Some(value.to_string()),
        Body::List(items, _) => {
            let scalar = |item: &Item| match &item.value {
                Body::Scalar(value) => Some(value.to_string()),
                Body::List(..) | Body::Map(..) => None,
            };
            Some(format!("[{}]", items.iter().map(scalar).collect::<Option<Vec<_>>>()?.join(", ")))
        }
        Body::Map(items, _) if items.is_empty() => Some("{}".into()),
        Body::Map(items, _) => {
            let member = |item: &Item| match &item.value {
                Body::Map(..) => None,
                Body::Scalar(_) | Body::List(..) => Some(format!("{}{}", key(item), flow(&item.value, Place::Other)?)),
            };
            let members: Option<Vec<_>> = items.iter().map(member).collect();
            members.filter(|_| !place.is_block()).map(|members| format!("{{{}}}", members.join(", ")))
        }
    }
}

fn key(item: &Item) -> String {
    format!("{}: ", Value::from(item.key.as_str()))
}
