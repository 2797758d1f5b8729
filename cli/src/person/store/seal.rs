//! Can whoever reads a file read what is stored in it?
//!
//! Not if the system has a keyring: its 32-byte key seals each file (AES-256-GCM), under the file's name, so that no
//! file can take the place of another.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};

use super::super::keyring::Keyring;
use super::super::trouble::Trouble;
use super::super::world::World;
use super::directory::Directory;

/// Chooses where the key is.
const VARIABLE: &str = "HALLPASS_STORE";
/// What a sealed file begins with. No JSON does.
const MARK: &[u8] = b"hallpass-sealed-1\n";
const NONCE_BYTES: usize = 12;

/// How files are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By their mode alone.
    File,
    /// By a key in the system's keyring, too.
    Keyring,
}

impl Kind {
    /// Its name, as `HALLPASS_STORE` and `status` have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Keyring => "keyring",
        }
    }
}

/// Seals and opens files.
pub(super) enum Seal {
    Plain,
    Key(Box<RandomizedNonceKey>),
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind().name())
    }
}

impl Seal {
    /// As `HALLPASS_STORE` says; without it, by the keyring if the system has one.
    pub(super) fn choose(world: &World, directory: &Directory) -> Result<Self, Trouble> {
        match world.variable(VARIABLE) {
            Some("file") => Ok(Self::Plain),
            Some("keyring") => {
                let text = format!("this session has no keyring; start one, or set {VARIABLE}=file");
                Self::with(Keyring::find(world)?.ok_or_else(|| Trouble::failed(text))?, directory)
            }
            Some(_) => Err(Trouble::Usage(format!("{VARIABLE} must be `keyring` or `file`"))),
            // A keyring that is there and fails stops the command: nothing is left open without a word.
            None => Keyring::find(world)?.map_or(Ok(Self::Plain), |keyring| Self::with(keyring, directory)),
        }
    }

    fn with(keyring: Keyring, directory: &Directory) -> Result<Self, Trouble> {
        directory.create()?;
        Self::of(&keyring.key(&directory.path().join("keyring.lock"))?)
    }

    fn of(key: &[u8; 32]) -> Result<Self, Trouble> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key);
        Ok(Self::Key(Box::new(key.map_err(|_| Trouble::failed("the keyring's key cannot be used"))?)))
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Plain => Kind::File,
            Self::Key(_) => Kind::Keyring,
        }
    }

    /// The text in a file; `None` if it is not what was put there. A file from before there was a keyring is read.
    pub(super) fn open(&self, name: &str, content: Vec<u8>, path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(sealed) = content.strip_prefix(MARK) else { return Ok(Some(content)) };
        let Self::Key(key) = self else {
            let place = path.display();
            let remedy = format!("unset {VARIABLE} and start the keyring, or remove the file and sign in again");
            return Err(Trouble::failed(format!("{place} is sealed with the keyring's key; {remedy}")));
        };
        let Some((nonce, sealed)) = sealed.split_at_checked(NONCE_BYTES) else { return Ok(None) };
        let Ok(nonce) = Nonce::try_assume_unique_for_key(nonce) else { return Ok(None) };
        let mut sealed = sealed.to_vec();
        Ok(key.open_in_place(nonce, Aad::from(name), &mut sealed).ok().map(|text| text.to_vec()))
    }

    /// What to write into a file.
    pub(super) fn close(&self, name: &str, mut text: Vec<u8>) -> Result<Vec<u8>, Trouble> {
        let Self::Key(key) = self else { return Ok(text) };
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut text);
        let nonce = nonce.map_err(|_| Trouble::failed("a sign-in cannot be sealed"))?;
        Ok([MARK, nonce.as_ref(), &text].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(seal: &Seal, name: &str, content: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        seal.open(name, content.to_vec(), Path::new("/state/a"))
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_under_its_name_alone() {
        let (ours, others) = (Seal::of(&[1; 32]).unwrap(), Seal::of(&[2; 32]).unwrap());
        let sealed = ours.close("a", b"canary".to_vec()).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        assert_eq!(open(&ours, "a", &sealed).unwrap(), Some(b"canary".to_vec()));
        assert_eq!(open(&ours, "b", &sealed).unwrap(), None);
        assert_eq!(open(&others, "a", &sealed).unwrap(), None);
        assert_ne!(sealed, ours.close("a", b"canary".to_vec()).unwrap(), "a nonce serves once");
    }

    #[test]
    fn a_change_or_a_cut_is_found() {
        let seal = Seal::of(&[1; 32]).unwrap();
        let sealed = seal.close("a", b"canary".to_vec()).unwrap();
        for at in MARK.len()..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&seal, "a", &changed).unwrap(), None, "{at}");
            assert_eq!(open(&seal, "a", &sealed[..at]).unwrap(), None, "{at}");
        }
    }

    #[test]
    fn without_a_key_a_sealed_file_is_not_taken_for_a_damaged_one() {
        let sealed = Seal::of(&[1; 32]).unwrap().close("a", b"canary".to_vec()).unwrap();
        assert!(open(&Seal::Plain, "a", &sealed).unwrap_err().to_string().contains("keyring"));
        assert_eq!(Seal::Plain.close("a", b"x".to_vec()).unwrap(), b"x");
    }

    #[test]
    fn the_variable_is_obeyed() {
        let directory = Directory::find(&World::of(&[])).unwrap();
        let choose = |value: &str| Seal::choose(&World::of(&[(VARIABLE, value)]), &directory);
        assert_eq!(choose("file").unwrap().kind(), Kind::File);
        assert!(choose("keyring").unwrap_err().to_string().contains("HALLPASS_STORE=file"), "never without a word");
        assert!(matches!(choose("vault"), Err(Trouble::Usage(_))));
        assert_eq!(choose("").unwrap().kind(), Kind::File);
    }
}
