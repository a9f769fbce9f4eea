//! `make bench`: figures, as ratios in one run. Nothing here passes or fails.

mod hold;
mod width;

use std::error::Error as StdError;

use squire_tests::show::say;

type Result<T = (), E = Box<dyn StdError>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result {
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("hold") {
        say("hold: how long a compaction holds its table, by the table's size");
        hold::run().await?;
    }
    if wanted("width") {
        say("\nwidth: what a manifest costs, by the number of tables");
        width::run().await?;
    }
    Ok(())
}
