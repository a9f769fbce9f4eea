//! `squire-crew`: one writer in a process of its own, for the suites and the demo. See [`squire_tests::crew`].

use std::process::exit;

use squire_tests::{crew::Order, show::say};

#[tokio::main]
async fn main() {
    let done = match Order::parse(std::env::args().skip(1)) {
        Ok(order) => order.carry_out().await.map_err(|e| e.to_string()),
        Err(e) => Err(e),
    };
    // A thread may still be reading standard input.
    match done {
        Ok(what) => {
            say(format!("done {what}"));
            exit(0)
        }
        Err(e) => {
            say(format!("failed {e}"));
            exit(1)
        }
    }
}
