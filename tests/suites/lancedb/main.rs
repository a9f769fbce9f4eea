//! The real `lancedb` package on a directory that the real daemon keeps: programs write, upsert, delete and search ten
//! tables at full speed, and notice nothing but that their tables stay small.
#![allow(missing_docs)]

mod field;
mod references;

use tokio::sync::Mutex;

use field::Field;

/// Each of them wants the machine for itself.
static TURNS: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn ten_tables_at_full_speed_are_kept_and_no_client_notices() {
    let _turn = TURNS.lock().await;
    Field::seeded().await.work_beside(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_by_accident_on_one_directory_harm_nothing() {
    let _turn = TURNS.lock().await;
    Field::seeded().await.work_beside(2).await;
}
