//! Waiting for what comes true by itself, on a machine with much else to do.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How long a condition may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(300);
const BETWEEN: Duration = Duration::from_millis(20);

/// Asks again and again until it is so.
///
/// # Panics
/// When it is not so after [`PATIENCE`]: then it never will be.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let comes_true = async {
        while !so().await {
            sleep(BETWEEN).await;
        }
    };
    in_time(what, comes_true).await;
}

/// The same within a task that is spawned: of an `async` closure the compiler cannot tell that what it gives may be sent.
///
/// # Panics
/// As [`until`].
pub async fn until_in_task<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let comes_true = async {
        while !so().await {
            sleep(BETWEEN).await;
        }
    };
    in_time(what, comes_true).await;
}

async fn in_time(what: &str, comes_true: impl Future<Output = ()>) {
    let waited = timeout(PATIENCE, comes_true).await;
    assert!(waited.is_ok(), "never came true: {what}");
}
