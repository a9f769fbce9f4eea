//! Secrets: what must never be shown, and where it comes from.
//!
//! They never come from a settings file, which is read and copied by many, but from a variable of the process, or from a
//! file that the service manager hands over.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use subtle::{Choice, ConstantTimeEq};

/// The variable of the token.
pub const TOKEN_VARIABLE: &str = "SQUIRE_TOKEN";
/// The systemd credential of the token.
pub const TOKEN_CREDENTIAL: &str = "squire-token";
/// The systemd credential of the private key of `[daemon.tls]`.
pub const TLS_KEY_CREDENTIAL: &str = "squire-tls-key";

/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A text that is never shown: `Debug`, `Display` and serde say `[secret]`.
///
/// There is no `==`, which would tell by its time how much of a guess is right:
///
/// ```compile_fail
/// # use squire_config::Secret;
/// fn same(a: &Secret, b: &Secret) -> bool {
///     a == b
/// }
/// ```
///
/// [`Secret::is`] takes the same time whatever it is given.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Fewest characters. Random ones cannot be guessed at this length, however many attempts are made.
    pub const SHORTEST: usize = 16;
    /// Most characters.
    pub const LONGEST: usize = 512;

    /// Takes a text as a secret, without the white space around it: a file ends with a line break.
    ///
    /// # Errors
    ///
    /// When it is too short or too long, or could not stand in a header of HTTP.
    pub fn new(text: &str) -> Result<Self, Unfit> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Unfit::Character);
        }
        match text.len() {
            short if short < Self::SHORTEST => Err(Unfit::Short),
            long if long > Self::LONGEST => Err(Unfit::Long),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text itself, for a header of a request to the daemon and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether a guess is right. How long that takes depends neither on the guess nor on the secret, its length
    /// included.
    pub fn is(&self, guess: &[u8]) -> bool {
        let (own, guessed) = (Padded::of(self.0.as_bytes()), Padded::of(guess));
        let fits = Choice::from(u8::from(guess.len() <= Self::LONGEST));
        let same = own.bytes.ct_eq(&guessed.bytes) & own.length.ct_eq(&guessed.length);
        (same & fits).into()
    }

    /// The bearer token of the daemon's API, when there is one: from the variable
    /// `SQUIRE_TOKEN`, or from the systemd credential `squire-token`.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be used. An empty token is an error: it was meant to be set.
    pub fn token() -> Result<Option<Self>, SecretError> {
        Self::token_from(&|name| std::env::var_os(name))
    }

    /// [`Secret::token`] with other variables than those of the process.
    ///
    /// # Errors
    ///
    /// Those of [`Secret::token`].
    pub fn token_from(
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, SecretError> {
        if let Some(text) = variable(TOKEN_VARIABLE) {
            let origin = Origin::Variable(TOKEN_VARIABLE);
            return usable(text.to_str(), origin).map(Some);
        }
        let Some(path) = credential_from(TOKEN_CREDENTIAL, variable) else {
            return Ok(None);
        };
        match read_regular(&path) {
            Ok(bytes) => usable(str::from_utf8(&bytes).ok(), Origin::File(path)).map(Some),
            Err(fault) => Err(SecretError::Unreadable { path, fault }),
        }
    }
}

/// A pipe would never end.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    fs::read(path)
}

fn usable(text: Option<&str>, origin: Origin) -> Result<Secret, SecretError> {
    let secret = text.map_or(Err(Unfit::Character), Secret::new);
    secret.map_err(|unfit| SecretError::Unfit { origin, unfit })
}

/// The file of a credential that the service manager gave to this process, when there is one of this name.
pub fn credential(name: &str) -> Option<PathBuf> {
    credential_from(name, &|variable| std::env::var_os(variable))
}

fn credential_from(name: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = Path::new(&variable(CREDENTIALS)?).join(name);
    // One that is there and cannot be read is not absent.
    path.symlink_metadata().is_ok().then_some(path)
}

/// A text in room for the longest, so that two of them are always as long.
struct Padded {
    bytes: [u8; Secret::LONGEST],
    length: u64,
}

impl Padded {
    /// What is beyond the longest is left out.
    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; Secret::LONGEST];
        let most = text.len().min(Secret::LONGEST);
        bytes[..most].copy_from_slice(&text[..most]);
        Self {
            bytes,
            length: text.len() as u64,
        }
    }
}

const HIDDEN: &str = "[secret]";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// Why a text cannot be a secret. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It can be guessed.
    #[error("it has fewer than {} characters and can be guessed", Secret::SHORTEST)]
    Short,
    /// It is more than a header should hold.
    #[error("it has more than {} characters", Secret::LONGEST)]
    Long,
    /// It would not arrive as it was sent.
    #[error("it holds a blank, a control character or one that is not ASCII")]
    Character,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A variable of the process.
    Variable(&'static str),
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A secret that is there and cannot be used. Never shows it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The text cannot be one.
    #[error("the token in {origin} cannot be used: {unfit}; make one with `openssl rand -hex 32`")]
    Unfit {
        /// Where it stands.
        origin: Origin,
        /// Why.
        unfit: Unfit,
    },
    /// The file cannot be read.
    #[error(
        "the token in {} cannot be read: {fault}; it must be a file that this user may read",
        .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: std::io::Error,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let secret = Secret::new(TOKEN).unwrap();
        let shown = [
            secret.to_string(),
            format!("{secret:?}"),
            format!("{:#?}", Some(&secret)),
            toml::Value::try_from(&secret).unwrap().to_string(),
        ];
        for shown in shown {
            assert!(shown.contains(HIDDEN) && !shown.contains("0123"), "{shown}");
        }
    }

    #[test]
    fn only_the_whole_secret_is_right() {
        let secret = Secret::new(&format!("  {TOKEN}\r\n")).unwrap();
        assert!(secret.is(TOKEN.as_bytes()), "what is around it is left out");
        let longer = format!("{TOKEN}0");
        // The padding is no part of it.
        let padded = format!("{TOKEN}\0\0\0");
        let long = TOKEN.repeat(40);
        for guess in ["", &TOKEN[1..], &TOKEN[..31], &longer, &padded, &long] {
            assert!(!secret.is(guess.as_bytes()), "{guess:?}");
        }
        let longest = "x".repeat(Secret::LONGEST);
        let secret = Secret::new(&longest).unwrap();
        assert!(secret.is(longest.as_bytes()));
        assert!(
            !secret.is(format!("{longest}x").as_bytes()),
            "beyond the room"
        );
    }

    #[test]
    fn a_text_that_can_be_guessed_or_would_not_arrive_is_refused() {
        for (text, unfit) in [
            ("", Unfit::Short),
            ("  \n", Unfit::Short),
            ("hunter2", Unfit::Short),
            ("123456789012345", Unfit::Short),
            (&"x".repeat(513), Unfit::Long),
            ("two words of some length", Unfit::Character),
            ("a\nline break in the middle", Unfit::Character),
            ("ключ-ключ-ключ-ключ", Unfit::Character),
        ] {
            assert_eq!(Secret::new(text).err(), Some(unfit), "{text:?}");
        }
        assert!(Secret::new("1234567890123456").is_ok());
    }

    #[test]
    fn the_token_is_the_variables_or_the_credentials_and_an_unfit_one_is_never_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(TOKEN_CREDENTIAL);
        let here = folder.path().as_os_str().to_owned();
        let with = |token: Option<&str>| {
            let (token, here) = (token.map(OsString::from), here.clone());
            Secret::token_from(&move |name| match name {
                TOKEN_VARIABLE => token.clone(),
                CREDENTIALS => Some(here.clone()),
                _ => None,
            })
        };
        assert!(
            with(None).unwrap().is_none(),
            "a credential of another kind"
        );
        fs::write(&file, format!("{TOKEN}\n")).unwrap();
        assert!(with(None).unwrap().unwrap().is(TOKEN.as_bytes()));
        let other = "another-token-of-some-length";
        assert!(with(Some(other)).unwrap().unwrap().is(other.as_bytes()));

        let refused = with(Some("")).unwrap_err().to_string();
        assert!(
            refused.contains("SQUIRE_TOKEN") && refused.contains("openssl"),
            "{refused}"
        );
        fs::write(&file, "hunter2").unwrap();
        let refused = with(None).unwrap_err().to_string();
        assert!(
            refused.contains("squire-token") && !refused.contains("hunter2"),
            "{refused}"
        );
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let refused = with(None).unwrap_err().to_string();
        assert!(refused.contains("cannot be read"), "{refused}");
        assert!(Secret::token_from(&|_| None).unwrap().is_none());
    }
}
