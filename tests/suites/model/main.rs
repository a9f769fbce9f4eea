//! The protocol as a model: every interleaving of a few operations, healers and faults, in small worlds, by
//! the engine's own transitions.

mod actor;
mod configurations;
mod effects;
mod explore;
mod fingerprint;
mod helper;
mod large;
mod manifests;
mod owner;
mod properties;
mod protocol;
mod register;
mod rules;
mod run;
mod small;
mod taken_away;
mod world;

use std::{ops::Not, time::Duration};

use configurations::Configuration;
use explore::explore;

/// So long may one world take on a machine with much else to do; a small one takes seconds.
const PATIENCE: Duration = Duration::from_secs(1800);

/// `ONLY=word` picks the worlds, or rules, whose names contain it.
fn is_wanted(name: &str) -> bool {
    std::env::var("ONLY")
        .is_ok_and(|only| !name.contains(&only))
        .not()
}

fn all_hold(configurations: Vec<Configuration>, patience: Duration) {
    let mut broken = Vec::new();
    for configuration in configurations.into_iter().filter(|c| is_wanted(c.name)) {
        let explored = explore(configuration, patience);
        println!("{explored}");
        if explored.wrong.is_some() || !explored.complete {
            broken.push(explored.name);
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn every_small_configuration_holds() {
    all_hold(small::all(), PATIENCE);
}

/// Hours, on two cores and without optimisation: `make model`.
#[test]
#[ignore = "takes long: make model"]
fn every_large_configuration_holds() {
    all_hold(large::all(), Duration::from_secs(3600));
}

#[test]
fn every_rule_is_missed_when_it_is_taken_away() {
    let mut needless = Vec::new();
    for (rule, configuration) in taken_away::missed() {
        if !is_wanted(&format!("{rule:?}")) {
            continue;
        }
        let explored = explore(configuration.without(rule), PATIENCE);
        match explored.wrong {
            Some(wrong) => println!("{rule:?}: {} steps: {}", wrong.steps.len(), wrong.property),
            None => {
                println!("{rule:?}: NOT MISSED in{explored}");
                needless.push(rule);
            }
        }
    }
    assert!(needless.is_empty(), "{needless:?}");
}

#[test]
fn a_rule_that_follows_from_others_can_be_taken_away() {
    for (rule, configuration) in taken_away::implied() {
        if is_wanted(&format!("{rule:?}")) {
            let explored = explore(configuration.without(rule), PATIENCE);
            println!("{rule:?}{explored}");
            assert!(explored.wrong.is_none() && explored.complete, "{rule:?}");
        }
    }
}
