//! What must hold in every state, whatever happens.

use stateright::Property;

use super::{
    manifests::{Over, Standing},
    protocol::Protocol,
    world::{Answer, State, TABLES, World, Wrong, maker},
};

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("no acknowledged operation is lost", acknowledged_is_kept),
        Property::always("nothing is applied twice", nothing_twice),
        Property::always(
            "all of an operation is published, or nothing",
            all_or_nothing,
        ),
        Property::always(
            "what is reported as failed never takes effect",
            failed_never_happens,
        ),
        Property::always("what is pinned is there", pins_stand),
        Property::always("pins never go back", |_: &Protocol, w: &State| {
            !w.noted(Wrong::PinWentBack)
        }),
        Property::always(
            "effects are in the order of the tickets",
            |_: &Protocol, w: &State| !w.noted(Wrong::Interleaved) && !w.noted(Wrong::OutOfOrder),
        ),
        Property::always("a rewrite undoes no delete", |_: &Protocol, w: &State| {
            !w.noted(Wrong::DeleteUndone)
        }),
        Property::always(
            "files are deleted only when nobody can commit them",
            |_: &Protocol, w: &State| !w.noted(Wrong::FilesMissing),
        ),
        Property::always(
            "a physical operation never fails a logical one",
            |_: &Protocol, w: &State| {
                !w.noted(Wrong::LogicalRefused) && !w.noted(Wrong::QuarantinedForNothing)
            },
        ),
        Property::always(
            "what is read stands still until the decision",
            |_: &Protocol, w: &State| !w.noted(Wrong::ReadMoved),
        ),
        Property::always(
            "what is over does not begin again",
            |_: &Protocol, w: &State| !w.noted(Wrong::DecidedAgain),
        ),
        Property::always(
            "the register has no gap and no end",
            |_: &Protocol, w: &State| !w.noted(Wrong::Gap) && !w.noted(Wrong::NewestDeleted),
        ),
    ]
}

fn operations(protocol: &Protocol) -> std::ops::Range<usize> {
    0..protocol.configuration.operations.len()
}

/// How many times an operation's effect is in the published state of a table.
fn published_times(protocol: &Protocol, world: &World, operation: usize, table: usize) -> usize {
    let pin = protocol.manifests.facts(world.newest).pins[table];
    world.tables[table].times(maker(operation), pin)
}

fn acknowledged_is_kept(protocol: &Protocol, world: &State) -> bool {
    operations(protocol)
        .filter(|o| world.answers[*o] == Answer::Acknowledged)
        .all(|o| {
            let mut tables = protocol.configuration.tables_of(o);
            tables.all(|t| published_times(protocol, world, o, t) == 1)
        })
}

fn nothing_twice(protocol: &Protocol, world: &State) -> bool {
    operations(protocol).all(|o| {
        let tables = world.tables.iter();
        tables.clone().all(|t| t.times(maker(o), t.head()) <= 1)
    })
}

fn all_or_nothing(protocol: &Protocol, world: &State) -> bool {
    operations(protocol).all(|o| {
        let published = world.published >> o & 1 == 1;
        let mut tables = protocol.configuration.tables_of(o);
        tables.all(|t| (published_times(protocol, world, o, t) > 0) == published)
    })
}

fn failed_never_happens(protocol: &Protocol, world: &State) -> bool {
    let facts = protocol.manifests.facts(world.newest);
    let discarded = |o: usize| facts.standing[o] == Standing::Ended(Over::Discarded);
    let over = |o: &usize| world.answers[*o] == Answer::Failed || discarded(*o);
    operations(protocol).filter(over).all(|o| {
        let stands = world.tables.iter().any(|t| t.times(maker(o), t.head()) > 0);
        world.published >> o & 1 == 0 && !stands
    })
}

fn pins_stand(protocol: &Protocol, world: &State) -> bool {
    let pins = protocol.manifests.facts(world.newest).pins;
    (0..TABLES)
        .all(|t| world.tables[t].is_whole(pins[t]) && world.tables[t].is_whole(world.kept_pins[t]))
}
