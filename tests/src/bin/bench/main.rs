//! `make bench`: figures, as ratios in one run. Nothing here passes or fails.
//!
//! The first argument is the name of one measurement, alone; what follows is for that one.
//!
//! | file | what is in it |
//! |---|---|
//! | [`contended`] | three programs that write one table, with and without the daemon |
//! | [`hold`] | how long a compaction holds its table |
//! | [`width`] | what a manifest costs in a graph of many tables |
//! | [`cold`] | how often tables are polled that are not written |

mod cold;
mod contended;
mod hold;
mod width;

use std::error::Error as StdError;

use squire_tests::show::say;

type Result<T = (), E = Box<dyn StdError>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result {
    let mut args = std::env::args().skip(1);
    let only = args.next();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("hold") {
        say("hold: how long a compaction holds its table, by the table's size");
        hold::run().await?;
    }
    if wanted("width") {
        say("\nwidth: what a manifest costs, by the number of tables");
        width::run().await?;
    }
    if wanted("cold") {
        say("\ncold: how often tables are looked at of which few are written");
        cold::run().await?;
    }
    if wanted("contended") {
        say("\ncontended: three LanceDB writers of one table, by who maintains it");
        contended::run(args).await?;
    }
    Ok(())
}
