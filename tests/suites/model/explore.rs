//! Exploring a configuration: every state that can be reached, and what is wrong in one of them.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::{
    configurations::Configuration,
    protocol::{Action, Protocol},
    world::World,
};

/// What an exploration has found.
pub(crate) struct Explored {
    pub(crate) name: &'static str,
    /// Distinct states.
    pub(crate) states: usize,
    pub(crate) manifests: usize,
    pub(crate) depth: usize,
    /// Whether that is all of them.
    pub(crate) complete: bool,
    pub(crate) took: Duration,
    pub(crate) wrong: Option<Counterexample>,
}

/// A way to a state in which a property does not hold.
pub(crate) struct Counterexample {
    pub(crate) property: &'static str,
    pub(crate) steps: Vec<String>,
}

impl std::fmt::Display for Explored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            states,
            manifests,
            depth,
            ..
        } = self;
        let took = self.took.as_secs_f32();
        write!(
            f,
            "{name}: {states} states, {manifests} manifests, depth {depth}, {took:.1} s"
        )?;
        if !self.complete {
            write!(f, ", NOT ALL")?;
        }
        if let Some(wrong) = &self.wrong {
            write!(
                f,
                "\n  VIOLATED after {} steps: {}",
                wrong.steps.len(),
                wrong.property
            )?;
            for (index, step) in wrong.steps.iter().enumerate() {
                write!(f, "\n  {:3} {step}", index + 1)?;
            }
        }
        Ok(())
    }
}

/// Explores a configuration until all states are known, something is wrong, or `patience` is over.
pub(crate) fn explore(configuration: Configuration, patience: Duration) -> Explored {
    let began = Instant::now();
    let name = configuration.name;
    let liveness = configuration.liveness;
    let checker = Protocol::new(configuration)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::Any)
        .timeout(patience)
        .spawn_bfs()
        .join();
    let protocol = checker.model();
    let complete = began.elapsed() < patience;
    let discovered = checker.discoveries().into_iter().next();
    let mut wrong = discovered.map(|(property, path)| Counterexample {
        property,
        steps: tell(protocol, &path.into_actions()),
    });
    if wrong.is_none() && complete && liveness {
        wrong = find_stuck(protocol);
    }
    Explored {
        name,
        states: checker.unique_state_count(),
        manifests: protocol.manifests.len(),
        depth: checker.max_depth(),
        complete,
        took: began.elapsed(),
        wrong,
    }
}

/// A shortest way to a state from which the graph cannot become quiet.
fn find_stuck(protocol: &Protocol) -> Option<Counterexample> {
    let stuck = protocol.graph.stuck();
    if stuck.is_empty() {
        return None;
    }
    let mut known = std::collections::HashMap::new();
    let mut todo = std::collections::VecDeque::new();
    for first in protocol.init_states() {
        known.insert(first.fingerprint(), None);
        todo.push_back(first);
    }
    let mut actions = Vec::new();
    while let Some(world) = todo.pop_front() {
        let from = world.fingerprint();
        if stuck.contains(&from) {
            let mut way = Vec::new();
            let mut at = from;
            while let Some(Some((before, action))) = known.get(&at).copied() {
                way.push(action);
                at = before;
            }
            way.reverse();
            return Some(Counterexample {
                property: "the graph can become quiet",
                steps: tell(protocol, &way),
            });
        }
        actions.clear();
        protocol.actions(&world, &mut actions);
        for action in &actions {
            if let Some(next) = protocol.after(&world, *action) {
                known.entry(next.fingerprint()).or_insert_with(|| {
                    todo.push_back(next);
                    Some((from, *action))
                });
            }
        }
    }
    None
}

/// The steps for people: who does what, and what has changed then.
fn tell(protocol: &Protocol, actions: &[Action]) -> Vec<String> {
    let mut world = protocol.init_states().remove(0);
    let mut told = Vec::new();
    for action in actions {
        let Some(next) = protocol.after(&world, *action) else {
            break;
        };
        told.push(format!(
            "{} {}",
            describe(&world, *action),
            state(protocol, &next)
        ));
        world = next;
    }
    told
}

fn describe(world: &World, action: Action) -> String {
    use super::run::Who;
    match action {
        Action::Step(who, reply) => {
            let actor = match who {
                Who::Owner(o) => world.owners[o as usize],
                Who::Helper(h) => world.helpers[h as usize],
            };
            format!(
                "{who:?} {:?} {:?} (operation {}, table {}) -> {reply:?}",
                actor.at, actor.ask, actor.operation, actor.table
            )
        }
        Action::Land(place) => format!("lands: {:?}", world.in_flight[place as usize]),
        other => format!("{other:?}"),
    }
}

fn state(protocol: &Protocol, world: &World) -> String {
    let facts = protocol.manifests.facts(world.newest);
    format!(
        "| manifest {} (collected below {}) pins {:?} standing {:?} heads {:?} sidecars {:b} answers {:?}",
        facts.number,
        facts.collected_below,
        facts.pins,
        facts.standing,
        world.tables.map(|t| t.head()),
        world.sidecars,
        world.answers,
    )
}
