//! How does one program ask another on D-Bus?
//!
//! As much of it as one caller needs: strings, numbers, arrays and structures, one call at a time, with a time limit.
//! <https://dbus.freedesktop.org/doc/dbus-specification.html>

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use data_encoding::HEXLOWER;

/// A keyring answers in milliseconds; a program that must be started first, in a second.
const TIME_LIMIT: Duration = Duration::from_millis(1_500);
/// No answer that we ask for comes near it.
const MAX_BYTES: usize = 1024 * 1024;

/// Values as they go over the wire.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(super) fn number(&mut self, value: usize) {
        self.align(4);
        self.0.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.number(usize::from(value));
    }

    /// A string or an object's path.
    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// An array of what is aligned so.
    pub(super) fn array(&mut self, to: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let place = self.0.len().saturating_sub(4);
        self.align(to);
        let start = self.0.len();
        fill(self);
        let length = u32::try_from(self.0.len().saturating_sub(start)).unwrap_or(u32::MAX);
        for (to, from) in self.0.iter_mut().skip(place).zip(length.to_le_bytes()) {
            *to = from;
        }
    }
}

/// Reads values. `None`, where there is something else.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn number(&mut self) -> Option<usize> {
        self.align(4);
        let bytes = <[u8; 4]>::try_from(self.take(4)?).ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        let text = str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }

    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    /// The texts of an array of strings or paths.
    pub(super) fn texts(&mut self) -> Option<Vec<&'a str>> {
        let length = self.number()?;
        let end = self.at.checked_add(length)?;
        let mut texts = Vec::new();
        while self.at < end {
            texts.push(self.text()?);
        }
        Some(texts)
    }
}

/// A call to an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) to: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
}

/// What a message is (§ "Message Format").
#[derive(Debug, Clone, Copy)]
enum Kind {
    Answer,
    Error,
    Other,
}

/// A connection to the session's bus.
#[derive(Debug)]
pub(super) struct Bus {
    stream: BufReader<UnixStream>,
    serial: usize,
}

impl Bus {
    /// Greets the bus at the other end.
    pub(super) fn greet(stream: UnixStream, user: u32) -> io::Result<Self> {
        const BUS: &str = "org.freedesktop.DBus";
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        stream.set_write_timeout(Some(TIME_LIMIT))?;
        let mut bus = Self { stream: BufReader::new(stream), serial: 0 };
        let name = HEXLOWER.encode(user.to_string().as_bytes());
        bus.stream.get_mut().write_all(format!("\0AUTH EXTERNAL {name}\r\n").as_bytes())?;
        let mut line = String::new();
        Read::take(&mut bus.stream, 256).read_line(&mut line)?;
        if !line.starts_with("OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        bus.stream.get_mut().write_all(b"BEGIN\r\n")?;
        let hello = Call { to: BUS, path: "/org/freedesktop/DBus", interface: BUS, member: "Hello", signature: "" };
        bus.call(hello, &Writer::default())?;
        Ok(bus)
    }

    /// Calls, and returns the body of the answer.
    pub(super) fn call(&mut self, call: Call<'_>, body: &Writer) -> io::Result<Vec<u8>> {
        self.serial = self.serial.saturating_add(1);
        let serial = self.serial;
        self.stream.get_mut().write_all(&message(call, body, serial))?;
        loop {
            let (kind, answers, body) = self.receive()?;
            match kind {
                Kind::Answer if answers == Some(serial) => return Ok(body),
                Kind::Error if answers == Some(serial) => return Err(io::Error::other("it refused")),
                // What is said to everybody is not for us.
                Kind::Answer | Kind::Error | Kind::Other => {}
            }
        }
    }

    /// The next message: its kind, which call it answers, and its body.
    fn receive(&mut self) -> io::Result<(Kind, Option<usize>, Vec<u8>)> {
        let strange = || io::Error::from(io::ErrorKind::InvalidData);
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        // The bus speaks as the caller does: little endian.
        let [b'l', kind, ..] = head else { return Err(strange()) };
        let kind = match kind {
            2 => Kind::Answer,
            3 => Kind::Error,
            _ => Kind::Other,
        };
        let mut reader = Reader { bytes: &head, at: 4 };
        let body_length = reader.number().ok_or_else(strange)?;
        reader.number();
        let fields_length = reader.number().ok_or_else(strange)?;
        if body_length > MAX_BYTES || fields_length > MAX_BYTES {
            return Err(strange());
        }
        let mut fields = vec![0; fields_length.next_multiple_of(8)];
        self.stream.read_exact(&mut fields)?;
        let mut body = vec![0; body_length];
        self.stream.read_exact(&mut body)?;
        let answers = answered(fields.get(..fields_length).unwrap_or_default());
        Ok((kind, answers, body))
    }
}

/// The call that a message answers, by the fields of its header.
fn answered(fields: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(fields);
    while reader.at < fields.len() {
        reader.align(8);
        let field = reader.byte()?;
        match (field, reader.signature()?) {
            // REPLY_SERIAL
            (5, "u") => return reader.number(),
            (_, "u") => drop(reader.number()?),
            (_, "g") => drop(reader.signature()?),
            (_, "s" | "o") => drop(reader.text()?),
            _ => return None,
        }
    }
    None
}

fn message(call: Call<'_>, body: &Writer, serial: usize) -> Vec<u8> {
    // A call, in version 1 of the protocol.
    let mut message = Writer(vec![b'l', 1, 0, 1]);
    message.number(body.0.len());
    message.number(serial);
    message.array(8, |fields| {
        for (code, kind, text) in [
            (1, "o", call.path),
            (2, "s", call.interface),
            (3, "s", call.member),
            (6, "s", call.to),
            (8, "g", call.signature),
        ] {
            if code == 8 && text.is_empty() {
                continue;
            }
            fields.align(8);
            fields.0.push(code);
            fields.signature(kind);
            if kind == "g" { fields.signature(text) } else { fields.text(text) }
        }
    });
    message.align(8);
    message.0.extend_from_slice(&body.0);
    message.0
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A call as a service reads it: object, member and body.
    pub(in super::super) fn read_call(stream: &mut BufReader<UnixStream>) -> Option<(usize, String, Vec<u8>)> {
        let mut head = [0; 16];
        stream.read_exact(&mut head).ok()?;
        let mut reader = Reader { bytes: &head, at: 4 };
        let (body, serial, fields) = (reader.number()?, reader.number()?, reader.number()?);
        let mut text = vec![0; fields.next_multiple_of(8)];
        stream.read_exact(&mut text).ok()?;
        let mut content = vec![0; body];
        stream.read_exact(&mut content).ok()?;
        let mut reader = Reader::new(&text[..fields]);
        let mut member = String::new();
        while reader.at < fields {
            reader.align(8);
            let (code, kind) = (reader.byte()?, reader.signature()?.to_owned());
            let value = if kind == "g" { reader.signature()? } else { reader.text()? };
            if code == 3 {
                member = value.to_owned();
            }
        }
        Some((serial, member, content))
    }

    /// An answer as a service writes it.
    pub(in super::super) fn answer(serial: usize, body: Option<&Writer>) -> Vec<u8> {
        let mut message = Writer(vec![b'l', if body.is_some() { 2 } else { 3 }, 1, 1]);
        message.number(body.map_or(0, |body| body.0.len()));
        message.number(7);
        message.array(8, |fields| {
            fields.0.push(4);
            fields.signature("s");
            fields.text("an.Error");
            fields.align(8);
            fields.0.push(5);
            fields.signature("u");
            fields.number(serial);
        });
        message.align(8);
        message.0.extend_from_slice(body.map_or(&[], |body| &body.0));
        message.0
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = answered(&bytes);
            let mut reader = Reader::new(&bytes);
            let _ = (reader.texts(), reader.bytes(), reader.signature(), reader.text());
        }

        #[test]
        fn what_is_written_is_read(text in ".{0,20}", bytes in proptest::collection::vec(any::<u8>(), 0..20), number in 0_usize..1_000_000) {
            let mut writer = Writer::default();
            writer.text(&text);
            writer.bytes(&bytes);
            writer.signature("ay");
            writer.number(number);
            writer.array(4, |array| array.text(&text));
            let mut reader = Reader::new(&writer.0);
            prop_assert_eq!(reader.text(), Some(text.as_str()));
            prop_assert_eq!(reader.bytes(), Some(bytes.as_slice()));
            prop_assert_eq!(reader.signature(), Some("ay"));
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.texts(), Some(vec![text.as_str()]));
        }
    }
}
