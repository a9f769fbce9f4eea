//! Helpers: healers, and whoever collects, adopts or repairs.

use super::{
    actor::{Actor, Ask, At},
    manifests::{Over, Standing},
    register::Ended,
    rules::Rule,
    run::Run,
    world::{Found, SEMANTIC},
};

/// What a helper can set about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    /// Heal the ticket of an operation.
    Heal(u8),
    /// Remove a sidecar that no ticket names.
    Orphan(u8),
    Collect,
    Adopt(u8),
    Resolve(u8),
}

impl Run<'_> {
    /// Sets about a job, by the newest manifest; `None` when it is not due.
    pub(crate) fn set_about(&mut self, job: Job) -> Option<()> {
        let facts = self.newest();
        let seen = self.world.newest;
        self.actor = Actor {
            seen,
            ..Actor::default()
        };
        match job {
            Job::Heal(o) => {
                self.actor.operation = o;
                match facts.standing[o as usize] {
                    Standing::Waiting if self.protocol.configuration.aborts => {
                        self.change(Ask::Abort);
                    }
                    Standing::Decided => self.actor.at = At::ReadSidecar,
                    _ => return None,
                }
            }
            Job::Orphan(o) => {
                self.actor.operation = o;
                let standing = facts.standing[o as usize];
                match standing {
                    _ if !self.world.has_sidecar(o as usize) => return None,
                    Standing::Ended(_) => self.leave(),
                    Standing::Unknown if !self.holds(Rule::BarBeforeDeletion) => self.leave(),
                    Standing::Unknown => self.change(Ask::Bar),
                    _ => return None,
                }
            }
            Job::Collect => {
                self.world.left.collections = self.world.left.collections.checked_sub(1)?;
                self.change(Ask::Collect);
            }
            Job::Adopt(table) => {
                let history = &self.world.tables[table as usize];
                let pin = facts.pins[table as usize];
                if pin == 0 || history.head() == pin {
                    return None;
                }
                self.world.left.adoptions = self.world.left.adoptions.checked_sub(1)?;
                self.actor.table = table;
                self.actor.pins[table as usize] = pin;
                self.actor.at = At::ReadHead;
            }
            Job::Resolve(o) => {
                if facts.standing[o as usize] != Standing::Quarantined {
                    return None;
                }
                self.world.left.resolutions = self.world.left.resolutions.checked_sub(1)?;
                self.actor.operation = o;
                self.actor.repairs = true;
                self.call_off();
            }
        }
        Some(())
    }

    /// All that is left to do is to delete the sidecar.
    fn leave(&mut self) {
        self.actor = Actor::new(At::DeleteSidecar, self.operation());
    }

    pub(crate) fn read_sidecar(&mut self) {
        if self.world.has_sidecar(self.operation()) {
            self.carry_out(false);
        } else {
            self.actor.at = At::WithoutSidecar;
        }
    }

    /// It ended meanwhile, or it is physical and fenced off, or nobody can tell what it meant.
    pub(crate) fn without_sidecar(&mut self) {
        self.actor.seen = self.world.newest;
        match self.standing_in(self.actor.seen) {
            Standing::Decided if self.is_physical() => self.call_off(),
            Standing::Decided => self.change(Ask::Quarantine),
            _ => self.rest(),
        }
    }

    /// The head that is to become the pin; what changes the meaning is not adopted.
    pub(crate) fn read_head(&mut self) -> Option<()> {
        let table = self.actor.table as usize;
        let history = &self.world.tables[table];
        let (pin, head) = (self.actor.pins[table], history.head());
        let past = history.makers(pin, head);
        let configuration = &self.protocol.configuration;
        let whole = history.search(pin, head, SEMANTIC) == Found::Absent;
        let operations = 1..=configuration.operations.len() as u8;
        let logical = |by: &u8| operations.contains(by) && !configuration.is_physical_maker(*by);
        if !whole || past.iter().any(logical) {
            self.rest();
        } else {
            self.actor.head = head;
            self.change(Ask::Adopt);
        }
        Some(())
    }

    pub(crate) fn after_helping(&mut self, ended: Ended) {
        match (self.actor.ask, ended) {
            (Ask::Abort | Ask::Bar, Ended::Holds) => {
                self.leave();
            }
            (Ask::Collect, Ended::Holds) => {
                let counts = self.protocol.manifests.facts(self.actor.seen);
                self.world.deletable = self.world.deletable.max(counts.collected_below);
                self.rest();
            }
            (Ask::ResolveByPublish | Ask::ResolveByDiscard, Ended::Holds)
                if matches!(
                    self.standing_in(self.actor.seen),
                    Standing::Ended(Over::Published | Over::Discarded)
                ) =>
            {
                self.leave();
            }
            _ => self.rest(),
        }
    }
}
