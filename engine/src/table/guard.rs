//! Guards: a panic of Lance on one table is that table's error, and no other's.
//!
//! Lance takes what it reads for whole. A manifest with a wrong length in it, or an index of a very old writer, makes it
//! panic. A caller that asks for many tables, or does several things for one, must not end with it.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;

/// Runs a part of that whose panic is a reason, not an error: to leave an index alone, say. What it was at work with must not
/// be used after a panic.
///
/// # Errors
/// What Lance panicked with.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    ended.map_err(|panic| format!("Lance panicked: {}", message(&*panic)))
}

/// What comes of a call to Lance, a panic being an error like another.
pub(crate) async fn caught_by_lance<T>(
    work: impl Future<Output = lance::Result<T>>,
) -> lance::Result<T> {
    let ended = caught(work).await;
    ended.unwrap_or_else(|panic| Err(lance::Error::internal(panic)))
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

    #[tokio::test]
    async fn a_panic_of_a_part_is_a_reason_that_says_what_it_was() {
        let caught = caught::<()>(async { panic!("only for v2 IVFIndex, not {}", 1) }).await;
        let reason = "Lance panicked: only for v2 IVFIndex, not 1".to_owned();
        assert_eq!(caught, Err(reason));
    }
}
