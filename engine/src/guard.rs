//! Lance panics on what it does not expect. A panic costs the table, or the index, that it happened at, and nothing else.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;

/// Carries out a call into Lance. What it panics with is an error like any other: the message.
///
/// The caller drops whatever the call has worked on: nothing of it is used after a panic.
pub(crate) async fn caught<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let ended = AssertUnwindSafe(call).catch_unwind().await;
    ended.map_err(|panic| format!("Lance panicked: {}", message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_says_what_it_was() {
        let told = caught(async { panic!("only for v2 IVFIndex, not {}", 1) }).await;
        let told: Result<(), String> = told;
        assert_eq!(
            told.unwrap_err(),
            "Lance panicked: only for v2 IVFIndex, not 1"
        );
        assert_eq!(caught(async { 7 }).await, Ok(7));
    }
}
