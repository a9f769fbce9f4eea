//! `squire-crew`: one writer in a process of its own, for the suites and the demo. See [`squire_tests::crew`].

use std::process::ExitCode;

use squire_tests::{crew::Order, show::say};

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Order::parse(std::env::args().skip(1)) {
        Ok(order) => order.carry_out().await,
        Err(e) => Err(e),
    };
    match done {
        Ok(what) => {
            say(format!("done {what}"));
            ExitCode::SUCCESS
        }
        Err(e) => {
            say(format!("failed {e}"));
            ExitCode::FAILURE
        }
    }
}
