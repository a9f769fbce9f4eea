//! What lies behind an error, and what that means for another attempt: the only place that judges it.
//!
//! It goes by types: kinds of [`std::io::Error`], of [`object_store::Error`] and of Lance's. Lance and DataFusion pass some
//! errors on as text alone; then the words have to do.

use std::{error::Error as Source, io};

use lance::Error as Lance;
use object_store::Error as Store;

/// What lies behind an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The disk is full, or a quota is.
    NoSpace,
    /// Who asked may not do that, or the disk can only be read.
    NotPermitted,
    /// The store did not answer, or not in time, or wants to be asked less.
    Unavailable,
    /// Something is not there.
    Missing,
    /// The store cannot do that at all, such as to create an object only where there is none.
    Unsupported,
    /// The store has answered: what is stored, or what is wanted, is not as Lance will have it.
    Content,
}

impl Cause {
    /// Finds it.
    pub(crate) fn of(error: &(dyn Source + 'static)) -> Self {
        let mut of_store = false;
        let mut next = Some(error);
        while let Some(e) = next {
            if let Some(cause) = cause_of(e, of_store) {
                return cause;
            }
            of_store |= e.is::<Store>();
            next = below(e);
        }
        let of_words = in_words(&error.to_string(), of_store);
        of_words.unwrap_or(if of_store {
            Self::Unavailable
        } else {
            Self::Content
        })
    }

    /// Whether it may pass although the table stays as it is: then it is tried again, later each time.
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::NoSpace | Self::NotPermitted | Self::Unavailable)
    }

    /// Whether it is the store's. Then it says nothing of what is stored.
    pub(crate) fn is_of_store(self) -> bool {
        self != Self::Content
    }
}

/// Whether a write that ended so was surely not carried out, and never will be: the file system said so itself, which
/// has no requests under way, or the store does not know such requests.
pub(crate) fn surely_not_written(error: &(dyn Source + 'static)) -> bool {
    use Cause::{NoSpace, NotPermitted, Unsupported};

    let mut next = Some(error);
    while let Some(e) = next {
        let of_disk = e.downcast_ref::<io::Error>().and_then(of_kind);
        if matches!(of_disk, Some(NoSpace | NotPermitted)) {
            return true;
        }
        next = below(e);
    }
    Cause::of(error) == Unsupported
}

/// Whether Lance will never have it otherwise: what is stored, or wanted, cannot be read or does not fit. By its kind alone,
/// as an operation is given up for it.
pub(crate) fn is_lasting(e: &Lance) -> bool {
    matches!(
        e,
        Lance::InvalidInput { .. }
            | Lance::SchemaMismatch { .. }
            | Lance::Schema { .. }
            | Lance::FieldNotFound { .. }
            | Lance::Arrow { .. }
            | Lance::CorruptFile { .. }
            | Lance::NotSupported { .. }
    )
}

/// What an error by itself tells.
fn cause_of(e: &(dyn Source + 'static), of_store: bool) -> Option<Cause> {
    if let Some(e) = e.downcast_ref::<Lance>() {
        return match e {
            Lance::NotFound { .. } => Some(Cause::Missing),
            Lance::Timeout { .. }
            | Lance::TooMuchWriteContention { .. }
            | Lance::Backpressure { .. } => Some(Cause::Unavailable),
            Lance::NotSupported { .. }
            | Lance::SchemaMismatch { .. }
            | Lance::Schema { .. }
            | Lance::FieldNotFound { .. } => Some(Cause::Content),
            _ => None,
        };
    }
    if let Some(e) = e.downcast_ref::<Store>() {
        return match e {
            Store::NotFound { .. } => Some(Cause::Missing),
            Store::NotSupported { .. } | Store::NotImplemented { .. } => Some(Cause::Unsupported),
            Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
                Some(Cause::NotPermitted)
            }
            _ => None,
        };
    }
    let cause = of_kind(e.downcast_ref::<io::Error>()?)?;
    // A connection that ends early is no file that does.
    Some(if of_store && cause == Cause::Content {
        Cause::Unavailable
    } else {
        cause
    })
}

fn of_kind(e: &io::Error) -> Option<Cause> {
    use io::ErrorKind as Kind;

    match e.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => Some(Cause::NoSpace),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Some(Cause::NotPermitted),
        Kind::NotFound => Some(Cause::Missing),
        // Less was there than there should be: the disk did answer.
        Kind::UnexpectedEof | Kind::InvalidData | Kind::InvalidInput => Some(Cause::Content),
        // It stands for what it holds.
        Kind::Other => None,
        _ => Some(Cause::Unavailable),
    }
}

/// What an error holds.
fn below<'e>(e: &'e (dyn Source + 'static)) -> Option<&'e (dyn Source + 'static)> {
    // These stand for what they hold, and leave it out of their sources.
    match e.downcast_ref::<Lance>() {
        Some(Lance::External { source }) => return Some(source.as_ref()),
        Some(Lance::Shared { source }) => return Some(source.as_ref()),
        _ => {}
    }
    match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => e.source(),
    }
}

/// What the words of an error tell, where its types do not.
fn in_words(text: &str, of_store: bool) -> Option<Cause> {
    const NO_SPACE: [&str; 6] = [
        "no space left on device",
        "disk quota exceeded",
        "quotaexceeded",
        "storagefull",
        "insufficientstorage",
        "507 insufficient storage",
    ];
    const NOT_PERMITTED: [&str; 3] = ["permission denied", "read-only file system", "accessdenied"];
    const UNAVAILABLE: [&str; 7] = [
        "timed out",
        "slowdown",
        "429 too many requests",
        "500 internal server error",
        "503 service unavailable",
        "connection reset",
        "connection refused",
    ];
    const UNSUPPORTED: [&str; 2] = ["501 not implemented", "notimplemented"];

    let small = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| small.contains(word));
    if has(&NO_SPACE) {
        Some(Cause::NoSpace)
    } else if has(&NOT_PERMITTED) {
        Some(Cause::NotPermitted)
    } else if of_store && has(&UNSUPPORTED) {
        Some(Cause::Unsupported)
    } else if has(&UNAVAILABLE) {
        Some(Cause::Unavailable)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use io::ErrorKind as Kind;

    use super::*;

    fn of_store(source: impl Into<Box<dyn Source + Send + Sync>>) -> Store {
        Store::Generic {
            store: "S3",
            source: source.into(),
        }
    }

    fn of_disk(kind: Kind) -> Lance {
        Lance::from(of_store(io::Error::from(kind)))
    }

    #[test]
    fn what_the_store_could_not_answer_is_told_from_what_cannot_be_decoded() {
        let silent = || of_store("connection reset");
        let held = Lance::External {
            source: Box::new(silent()),
        };
        let wrapped = Lance::from(io::Error::other(silent()));
        for e in [Lance::from(silent()), held, wrapped] {
            assert_eq!(Cause::of(&e), Cause::Unavailable, "{e}");
        }
        for e in [
            Lance::from(io::Error::from(Kind::UnexpectedEof)),
            Lance::internal("a key is out of range"),
            Lance::arrow("offset overflow"),
            Lance::not_supported("a file of another format"),
            Lance::invalid_input("two fragments have one id"),
        ] {
            assert_eq!(Cause::of(&e), Cause::Content, "{e}");
        }
        let cut_off = of_disk(Kind::UnexpectedEof);
        assert_eq!(Cause::of(&cut_off), Cause::Unavailable, "a connection");
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays_however_deep_it_lies() {
        let of = |e: Lance| Cause::of(&Lance::wrapped(Box::new(Lance::io_source(Box::new(e)))));
        for kind in [Kind::StorageFull, Kind::QuotaExceeded] {
            assert_eq!(of(of_disk(kind)), Cause::NoSpace);
        }
        for kind in [Kind::PermissionDenied, Kind::ReadOnlyFilesystem] {
            assert_eq!(of(of_disk(kind)), Cause::NotPermitted);
        }
        assert_eq!(of(of_disk(Kind::TimedOut)), Cause::Unavailable);
        let denied = Store::PermissionDenied {
            path: "t.lance".to_owned(),
            source: "403 Forbidden".into(),
        };
        assert_eq!(of(denied.into()), Cause::NotPermitted);
        assert_eq!(of(Lance::not_found("data/1.lance")), Cause::Missing);
        assert_eq!(
            of(Store::NotImplemented {
                operation: "put_opts".to_owned(),
                implementer: "a store".to_owned(),
            }
            .into()),
            Cause::Unsupported
        );
        let passes = [Cause::NoSpace, Cause::NotPermitted, Cause::Unavailable];
        assert!(passes.into_iter().all(Cause::may_pass));
        let stays = [Cause::Missing, Cause::Unsupported, Cause::Content];
        assert!(!stays.into_iter().any(Cause::may_pass));
    }

    #[test]
    fn where_an_error_has_only_words_they_are_understood() {
        for (words, cause) in [
            (
                "LanceError(IO): No space left on device (os error 28)",
                Cause::NoSpace,
            ),
            ("Permission denied (os error 13)", Cause::NotPermitted),
            (
                "Generic S3 error: 503 Service Unavailable: SlowDown",
                Cause::Unavailable,
            ),
            ("dictionary key overflow", Cause::Content),
        ] {
            assert_eq!(Cause::of(&Lance::execution(words)), cause, "{words}");
        }
        let answered = of_store("Server returned non-2xx status code: 501 Not Implemented: ");
        assert_eq!(Cause::of(&Lance::from(answered)), Cause::Unsupported);
    }

    #[test]
    fn only_a_disk_that_said_no_and_a_store_that_knows_no_such_request_surely_wrote_nothing() {
        assert!(surely_not_written(&of_disk(Kind::StorageFull)));
        assert!(surely_not_written(&of_disk(Kind::PermissionDenied)));
        assert!(!surely_not_written(&of_disk(Kind::TimedOut)));
        assert!(!surely_not_written(&Lance::from(of_store("507 no space"))));
        let unknown = Store::NotSupported {
            source: "conditional put".into(),
        };
        assert!(surely_not_written(&Lance::from(unknown)));
    }
}
