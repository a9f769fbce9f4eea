//! Guards: a panic of Lance on one table is that table's error, and nobody else's.
//!
//! Lance takes what it reads for whole. A manifest with a wrong length in it, or an index of a very old writer, makes it
//! panic. Whoever asks for many tables, or does several things for one, must not end with it.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;

use crate::{
    error::{Error, Result},
    table::Table,
};

/// Runs what Lance does for a table. What it was at work with must not be used after a panic.
///
/// # Errors
/// Its own; [`Error::Panicked`].
pub(crate) async fn guarded<T>(
    table: &Table,
    action: &'static str,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let ended = AssertUnwindSafe(work.boxed()).catch_unwind().await;
    ended.unwrap_or_else(|panic| {
        Err(Error::Panicked {
            action,
            table: table.key.clone(),
            message: message(&*panic),
            uri: table.storage.uri.clone(),
        })
    })
}

/// Runs a part of that whose panic is a reason, not an error: to leave an index alone, say. What it was at work with must not
/// be used after a panic.
///
/// # Errors
/// What Lance panicked with.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    ended.map_err(|panic| format!("Lance panicked: {}", message(&*panic)))
}

/// What a panic says.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&'static str>().copied();
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::TableKey,
        storage::{Beyond, Storage},
        table::drift::DriftPolicy,
    };

    async fn table() -> Table {
        Table {
            storage: Storage::connect("memory://guard/db", None, &Beyond::default())
                .await
                .unwrap(),
            key: TableKey::of_directory("t"),
            path: "t.lance".to_owned(),
            drift: DriftPolicy::Error,
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_that_names_the_table_and_what_was_done_to_it() {
        let table = table().await;
        let length = String::from("4294967295");
        let work = async { panic!("a length of {length}") };
        let error = guarded::<()>(&table, "opening", work).await.unwrap_err();
        let text = error.to_string();
        for part in [
            "opening",
            "t of memory://guard/db",
            "a length of 4294967295",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn a_panic_of_a_part_is_a_reason_that_says_what_it_was() {
        let told = caught::<()>(async { panic!("only for v2 IVFIndex, not {}", 1) }).await;
        let reason = "Lance panicked: only for v2 IVFIndex, not 1".to_owned();
        assert_eq!(told, Err(reason));
    }

    #[tokio::test]
    async fn what_ends_well_or_with_an_error_of_its_own_is_passed_on() {
        let table = table().await;
        assert_eq!(
            guarded(&table, "opening", async { Ok(7) }).await.unwrap(),
            7
        );
        let failed = guarded::<()>(&table, "opening", async { Err(Error::Cancelled) }).await;
        assert!(matches!(failed, Err(Error::Cancelled)), "{failed:?}");
    }
}
