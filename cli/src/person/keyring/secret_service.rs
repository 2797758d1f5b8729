//! How does a Linux desktop keep a secret?
//!
//! In the Secret Service, which GNOME Keyring, `KWallet` and `KeePassXC` are.
//! <https://specifications.freedesktop.org/secret-service-spec/latest/>

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::super::world::World;
use super::Key;
use super::bus::{Bus, Call, Reader, Writer};

const SERVICE: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";
/// By these our one item is found.
const ATTRIBUTES: [(&str, &str); 2] = [("application", "hallpass"), ("xdg:schema", "org.freedesktop.Secret.Generic")];
const LOCKED: &str = "it is locked";
const SILENT: &str = "it does not answer";
const STRANGE: &str = "it answered something strange";

/// A session with the service.
#[derive(Debug)]
pub(super) struct System {
    bus: Bus,
    session: String,
}

impl System {
    /// The service, if there is one on the session's bus. One that is there and does not answer in time is not taken for
    /// none: what was to be sealed would be left open.
    pub(super) fn find(world: &World) -> Result<Option<Self>, String> {
        let Some(stream) = bus(world) else { return Ok(None) };
        let opened = Bus::greet(stream, rustix::process::geteuid().as_raw()).and_then(Self::open);
        match opened {
            Err(error) if is_late(&error) => Err(SILENT.into()),
            opened => Ok(opened.ok()),
        }
    }

    fn open(mut bus: Bus) -> io::Result<Self> {
        // Nobody reads along on this machine's own socket, so that nothing is encrypted twice.
        let mut body = Writer::default();
        body.text("plain");
        body.signature("s");
        body.text("");
        let answer = call(&mut bus, ROOT, "Service", "OpenSession", "sv", &body)?;
        let mut reader = Reader::new(&answer);
        let is_text = reader.signature() == Some("s");
        let session = reader.text().and_then(|_| reader.text()).filter(|_| is_text).map(str::to_owned);
        Ok(Self { bus, session: session.ok_or(io::ErrorKind::InvalidData)? })
    }

    /// The secret, if there is one.
    pub(super) fn read(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut body = Writer::default();
        attributes(&mut body);
        let found = self.call(ROOT, "Service", "SearchItems", "a{ss}", &body)?;
        let mut reader = Reader::new(&found);
        let (open, locked) = (reader.texts().ok_or(STRANGE)?, reader.texts().ok_or(STRANGE)?);
        let Some(item) = open.first() else {
            return if locked.is_empty() { Ok(None) } else { Err(LOCKED.into()) };
        };
        let mut body = Writer::default();
        body.text(&self.session);
        let item = (*item).to_owned();
        let secret = self.call(&item, "Item", "GetSecret", "o", &body)?;
        let mut reader = Reader::new(&secret);
        reader.text().and_then(|_| reader.bytes()).ok_or(STRANGE)?;
        Ok(Some(reader.bytes().ok_or(STRANGE)?.to_vec()))
    }

    /// Stores the secret in the default collection.
    pub(super) fn write(&mut self, key: &Key) -> Result<(), String> {
        let mut body = Writer::default();
        body.text("default");
        let alias = self.call(ROOT, "Service", "ReadAlias", "s", &body)?;
        let collection = Reader::new(&alias).text().ok_or(STRANGE)?.to_owned();
        if collection == "/" {
            return Err("it has no default collection".into());
        }
        let mut body = Writer::default();
        body.array(8, |properties| {
            properties.text("org.freedesktop.Secret.Item.Label");
            properties.signature("s");
            properties.text("Hallpass");
            properties.align(8);
            properties.text("org.freedesktop.Secret.Item.Attributes");
            properties.signature("a{ss}");
            attributes(properties);
        });
        body.align(8);
        body.text(&self.session);
        body.bytes(&[]);
        body.bytes(key);
        body.text("application/octet-stream");
        body.flag(true);
        let made = self.call(&collection, "Collection", "CreateItem", "a{sv}(oayays)b", &body)?;
        // Without an item there is a prompt, for somebody who would unlock it.
        if Reader::new(&made).text().ok_or(STRANGE)? == "/" { Err(LOCKED.into()) } else { Ok(()) }
    }

    fn call(&mut self, path: &str, of: &str, member: &str, signature: &str, body: &Writer) -> Result<Vec<u8>, String> {
        let told = |error| if is_late(&error) { SILENT.to_owned() } else { format!("it refused {member}") };
        call(&mut self.bus, path, of, member, signature, body).map_err(told)
    }
}

/// The session's bus, if there is one.
fn bus(world: &World) -> Option<UnixStream> {
    match world.variable("DBUS_SESSION_BUS_ADDRESS") {
        Some(addresses) => addresses.split(';').find_map(connect),
        None => UnixStream::connect(Path::new(world.variable("XDG_RUNTIME_DIR")?).join("bus")).ok(),
    }
}

/// A socket with a time limit says either.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn call(bus: &mut Bus, path: &str, of: &str, member: &str, signature: &str, body: &Writer) -> io::Result<Vec<u8>> {
    let interface = format!("org.freedesktop.Secret.{of}");
    bus.call(Call { to: SERVICE, path, interface: &interface, member, signature }, body)
}

fn attributes(body: &mut Writer) {
    body.array(8, |entries| {
        for (name, value) in ATTRIBUTES {
            entries.align(8);
            entries.text(name);
            entries.text(value);
        }
    });
}

/// Connects to one address of a bus. Only sockets of this machine are tried.
fn connect(address: &str) -> Option<UnixStream> {
    let parts = address.strip_prefix("unix:")?;
    parts.split(',').find_map(|part| match part.split_once('=')? {
        ("path", path) => UnixStream::connect(path).ok(),
        #[cfg(target_os = "linux")]
        ("abstract", name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).ok()?;
            UnixStream::connect_addr(&address).ok()
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, Mutex};

    use super::super::super::tests::Scratch;
    use super::super::Keyring;
    use super::super::bus::tests::{answer, read_call};
    use super::*;

    /// What a service has, and whether it is locked.
    #[derive(Debug, Default)]
    struct Held {
        secret: Option<Vec<u8>>,
        locked: bool,
        absent: bool,
        silent: bool,
    }

    /// A bus with a Secret Service, for any number of connections.
    fn serve(scratch: &Scratch, held: &Arc<Mutex<Held>>) -> World {
        let path = scratch.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let held = Arc::clone(held);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let held = Arc::clone(&held);
                std::thread::spawn(move || talk(stream.unwrap(), &held));
            }
        });
        World::of(&[("DBUS_SESSION_BUS_ADDRESS", &format!("tcp:host=x;unix:path={},guid=1", path.display()))])
    }

    fn talk(stream: UnixStream, held: &Mutex<Held>) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("\0AUTH EXTERNAL 3"), "{line:?}");
        reader.get_mut().write_all(b"OK 1234\r\n").unwrap();
        line.clear();
        reader.read_line(&mut line).unwrap();
        while let Some((serial, member, content)) = read_call(&mut reader) {
            let mut held = held.lock().unwrap();
            let mut body = Writer::default();
            let mut refused = false;
            match member.as_str() {
                "Hello" => body.text(":1.1"),
                "OpenSession" if held.silent => {
                    drop(held);
                    std::thread::park();
                    return;
                }
                "OpenSession" if held.absent => refused = true,
                "OpenSession" => {
                    body.signature("s");
                    body.text("");
                    body.text("/session/1");
                }
                "SearchItems" => {
                    let texts = |body: &mut Writer, some: bool| {
                        body.array(4, |array| {
                            if some {
                                array.text("/item/1");
                            }
                        });
                    };
                    texts(&mut body, held.secret.is_some() && !held.locked);
                    texts(&mut body, held.secret.is_some() && held.locked);
                }
                "GetSecret" => {
                    body.align(8);
                    body.text("/session/1");
                    body.bytes(&[]);
                    body.bytes(held.secret.as_ref().unwrap());
                    body.text("application/octet-stream");
                }
                "ReadAlias" => body.text("/collection/1"),
                "CreateItem" if held.locked => {
                    body.text("/");
                    body.text("/prompt/1");
                }
                "CreateItem" => {
                    // The value is the 32 bytes before the content type and the flag.
                    let end = content.windows(24).position(|part| part == b"application/octet-stream").unwrap() - 4;
                    held.secret = Some(content[end - 32..end].to_vec());
                    body.text("/item/1");
                    body.text("/");
                }
                other => panic!("{other}"),
            }
            reader.get_mut().write_all(&answer(serial, (!refused).then_some(&body))).unwrap();
        }
    }

    fn key(world: &World, scratch: &Scratch) -> Result<Key, String> {
        let keyring = Keyring::find(world).unwrap().unwrap();
        keyring.key(&scratch.path().join("keyring.lock")).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn the_key_is_made_once_and_found_again() {
        let (scratch, held) = (Scratch::new(), Arc::default());
        let world = serve(&scratch, &held);
        let made = key(&world, &scratch).unwrap();
        assert_ne!(made, Key::default());
        assert_eq!(held.lock().unwrap().secret.as_deref(), Some(made.as_slice()));
        assert_eq!(key(&world, &scratch).unwrap(), made);
        // All that ask at once get one key.
        held.lock().unwrap().secret = None;
        let keys: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| key(&world, &scratch).unwrap())).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_keyring_that_is_locked_is_said_to_be() {
        for secret in [None, Some(vec![1; 32])] {
            let held = Arc::new(Mutex::new(Held { secret, locked: true, ..Held::default() }));
            let scratch = Scratch::new();
            let told = key(&serve(&scratch, &held), &scratch).unwrap_err();
            assert!(told.contains("it is locked; unlock it, or set HALLPASS_STORE=file"), "{told}");
        }
    }

    #[test]
    fn something_else_under_our_name_is_refused() {
        let held = Arc::new(Mutex::new(Held { secret: Some(b"short".to_vec()), ..Held::default() }));
        let scratch = Scratch::new();
        assert!(key(&serve(&scratch, &held), &scratch).unwrap_err().contains("something else"));
    }

    #[test]
    fn a_session_without_a_service_has_no_keyring() {
        let held = Arc::new(Mutex::new(Held { absent: true, ..Held::default() }));
        let scratch = Scratch::new();
        assert!(Keyring::find(&serve(&scratch, &held)).unwrap().is_none());
        for variables in [[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")], [("XDG_RUNTIME_DIR", "/nowhere")]] {
            assert!(Keyring::find(&World::of(&variables)).unwrap().is_none());
        }
        assert!(Keyring::find(&World::of(&[])).unwrap().is_none());
    }

    #[test]
    fn a_service_that_does_not_answer_is_not_taken_for_none() {
        let held = Arc::new(Mutex::new(Held { silent: true, ..Held::default() }));
        let scratch = Scratch::new();
        let told = Keyring::find(&serve(&scratch, &held)).unwrap_err().to_string();
        assert!(told.contains("it does not answer") && told.contains("HALLPASS_STORE=file"), "{told}");
    }
}
