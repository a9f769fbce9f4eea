//! One step of one actor: it sends the request that comes next, and goes on to the one after.

use super::{
    actor::{Actor, Ask, At, Reply},
    manifests::{Facts, Over, Standing},
    protocol::Protocol,
    register::Ended,
    rules::Rule,
    world::{Answer, FENCE, Maker, OPERATIONS, Put, SEMANTIC, TABLES, World, Wrong, maker},
};

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Owner(u8),
    Helper(u8),
}

pub(crate) struct Run<'a> {
    pub(crate) protocol: &'a Protocol,
    pub(crate) world: World,
    pub(crate) actor: Actor,
    pub(crate) who: Who,
}

impl<'a> Run<'a> {
    pub(crate) fn new(protocol: &'a Protocol, world: &World, who: Who) -> Self {
        let actor = match who {
            Who::Owner(o) => world.owners[o as usize],
            Who::Helper(h) => world.helpers[h as usize],
        };
        Self {
            protocol,
            world: *world,
            actor,
            who,
        }
    }

    /// The world after the step.
    pub(crate) fn done(mut self) -> World {
        match self.who {
            Who::Owner(o) => self.world.owners[o as usize] = self.actor,
            Who::Helper(h) => self.world.helpers[h as usize] = self.actor,
        }
        self.world
    }

    pub(crate) fn holds(&self, rule: Rule) -> bool {
        self.protocol.configuration.without.holds(rule)
    }

    pub(crate) fn is_owner(&self) -> bool {
        matches!(self.who, Who::Owner(_))
    }

    pub(crate) fn operation(&self) -> usize {
        self.actor.operation as usize
    }

    pub(crate) fn is_physical(&self) -> bool {
        self.protocol.configuration.is_physical(self.operation())
    }

    pub(crate) fn newest(&self) -> Facts {
        self.protocol.manifests.facts(self.world.newest)
    }

    /// Sends the next request; `None` when it would change nothing, or when the store does not answer so.
    pub(crate) fn step(&mut self, reply: Reply) -> Option<()> {
        if reply != Reply::True && !self.actor.at.is_put() {
            return None;
        }
        match self.actor.at {
            At::Idle | At::Ended | At::Crashed => return None,
            At::List => self.list(),
            At::Read => self.read(),
            At::Put => self.put_manifest(reply)?,
            At::Snapshot => self.snapshot(),
            At::Stage => self.stage(),
            At::WaitInLine => self.wait_in_line()?,
            At::WaitForTurn => self.wait_for_turn()?,
            At::WriteSidecar => self.write_sidecar(reply)?,
            At::CheckSources => self.check_sources(),
            At::Search => self.search(),
            At::Standing => self.still_decided(),
            At::StandingOfMissing => self.missing_though_decided(),
            At::Commit => self.commit(reply)?,
            At::Fence => self.fence(reply)?,
            At::SearchFenced => self.search_fenced(),
            At::DeleteSidecar => self.delete_sidecar(),
            At::ReadSidecar => self.read_sidecar(),
            At::WithoutSidecar => self.without_sidecar(),
            At::ReadHead => self.read_head()?,
        }
        Some(())
    }

    /// Goes on after a call of the register.
    pub(crate) fn go_on(&mut self, ended: Ended) {
        match (self.actor.ask, self.is_owner()) {
            (Ask::Enqueue | Ask::Decide | Ask::EnqueueDecided | Ask::Withdraw, _) => {
                self.after_entering(ended);
            }
            (Ask::Publish | Ask::Discard | Ask::Quarantine, _) => self.after_effects(ended),
            _ => self.after_helping(ended),
        }
    }

    /// A put; the answer is whether it created its object, `None` inside for an error.
    pub(crate) fn put(&mut self, put: Put, reply: Reply) -> Option<Option<bool>> {
        if let Some(left) = reply.left(&mut self.world.left) {
            *left = left.checked_sub(1)?;
        }
        match reply {
            Reply::True => Some(Some(self.land(put))),
            // What does not land is a failure.
            Reply::Error => self.land(put).then_some(None),
            Reply::Late => self.world.send(put).then_some(None),
            Reply::Failure => Some(None),
        }
    }

    /// A put arrives: it creates its object if it is absent.
    pub(crate) fn land(&mut self, put: Put) -> bool {
        match put {
            Put::Manifest(made) => self.land_manifest(made),
            Put::Version { table, version, by } => self.land_version(table as usize, version, by),
            Put::Sidecar(operation) => {
                let absent = !self.world.has_sidecar(operation as usize);
                self.world.sidecars |= 1 << operation;
                absent
            }
        }
    }

    fn land_version(&mut self, table: usize, version: u8, by: Maker) -> bool {
        let head = self.world.tables[table].head();
        let Some(created) = self.world.tables[table].create(version, by) else {
            self.world.note(Wrong::Gap);
            return false;
        };
        if created && version == head + 1 && by != FENCE {
            self.observe_effect(table, version, by as usize - 1);
        }
        created
    }

    /// What the observer sees when an effect becomes a part of its table's history.
    fn observe_effect(&mut self, table: usize, version: u8, operation: usize) {
        let configuration = &self.protocol.configuration;
        let newest = self.newest();
        let plan = self.world.plans[operation];
        let between = self.world.tables[table].makers(plan.bases[table], version - 1);
        let rigid = configuration.operations[operation].rigid;
        if between
            .iter()
            .any(|by| *by < FENCE || rigid && *by == SEMANTIC)
        {
            self.world.note(Wrong::Interleaved);
        }
        let place = newest.queue.iter().position(|o| *o == maker(operation));
        let ahead = &newest.queue[..place.unwrap_or(0)];
        let conflicts = |o: &u8| configuration.conflict(operation, *o as usize - 1);
        if !newest.standing[operation].holds_tables() || ahead.iter().any(conflicts) {
            self.world.note(Wrong::OutOfOrder);
        }
        if configuration.is_physical(operation) {
            let since = self.world.tables[table].makers(plan.read, version - 1);
            if since.iter().any(|by| configuration.moves_rows(*by)) {
                self.world.note(Wrong::DeleteUndone);
            }
        }
        if self.world.files_deleted >> operation & 1 == 1 {
            self.world.note(Wrong::FilesMissing);
        }
    }

    /// What the observer sees when a manifest becomes the newest.
    pub(crate) fn observe(&mut self, now: Facts, next: Facts) {
        if (0..TABLES).any(|t| next.pins[t] < now.pins[t]) {
            self.world.note(Wrong::PinWentBack);
        }
        for o in 0..OPERATIONS {
            let (was, is) = (now.standing[o], next.standing[o]);
            if is == Standing::Ended(Over::Published) {
                self.world.published |= 1 << o;
            }
            let plan = self.world.plans[o];
            let reads = self.protocol.configuration.reads(o);
            let moved = |t: usize| reads[t] && next.pins[t] != plan.expected[t];
            if is == Standing::Decided && was != is && (0..TABLES).any(moved) {
                self.world.note(Wrong::ReadMoved);
            }
            let published = self.world.published >> o & 1 == 1;
            if published && is.has_ticket() {
                self.world.note(Wrong::DecidedAgain);
            }
            let causes = &self.protocol.configuration.budget;
            let left = &self.world.left;
            let caused = left.semantic < causes.semantic
                || left.lost_sidecars < causes.lost_sidecars
                || left.lost_versions < causes.lost_versions;
            if is == Standing::Quarantined && was != is && !caused {
                self.world.note(Wrong::QuarantinedForNothing);
            }
        }
        if next.collected_below > now.collected_below {
            self.world.kept_pins = next.pins;
        }
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        let given = &mut self.world.answers[self.actor.operation as usize];
        if *given == Answer::None {
            *given = answer;
        }
    }

    /// The actor has nothing more to do.
    pub(crate) fn rest(&mut self) {
        self.actor = if self.is_owner() {
            Actor::new(At::Ended, self.operation())
        } else {
            Actor::default()
        };
    }

    /// Tells the caller, if somebody waits for an answer, and rests.
    pub(crate) fn end(&mut self, answer: Answer) {
        if self.is_owner() {
            self.answer(answer);
        }
        self.rest();
    }
}
