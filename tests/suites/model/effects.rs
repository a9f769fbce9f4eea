//! Taking effect, publishing and clearing, and calling off: the same for owners and healers, as
//! `engine/src/graph/operation/apply.rs` has it.

use super::{
    actor::{Ask, At, Reply},
    manifests::{Kind, ManifestId, Over, Standing},
    register::Ended,
    rules::Rule,
    run::Run,
    world::{Answer, FENCE, Found, Put, SEMANTIC, TABLES, maker},
};

impl Run<'_> {
    /// Begins with the first table; `decided` when the caller holds the manifest of the decision.
    pub(crate) fn carry_out(&mut self, decided: bool) {
        self.actor.pins = [0; TABLES];
        self.actor.straight = decided && self.standing_in(self.actor.seen) == Standing::Decided;
        self.actor.ask = Ask::Nothing;
        let first = self.first_effect();
        self.land_on(first);
    }

    fn first_effect(&self) -> u8 {
        let mut tables = self.protocol.configuration.tables_of(self.operation());
        let first = if self.goes_backwards() {
            tables.next_back()
        } else {
            tables.next()
        };
        first.unwrap_or_default() as u8
    }

    fn effect_after(&self, table: usize) -> Option<u8> {
        let mut tables = self.protocol.configuration.tables_of(self.operation());
        let next = if self.goes_backwards() {
            tables.rfind(|t| *t < table)
        } else {
            tables.find(|t| *t > table)
        };
        next.map(|t| t as u8)
    }

    /// Healers in another order than owners.
    fn goes_backwards(&self) -> bool {
        self.protocol.configuration.reversed && !self.is_owner()
    }

    fn base(&self) -> u8 {
        self.world.plans[self.operation()].bases[self.actor.table as usize]
    }

    fn land_on(&mut self, table: u8) {
        self.actor.table = table;
        let base = self.base();
        if self.actor.straight && base > 0 {
            self.actor.head = base;
            self.actor.at = At::Commit;
        } else {
            self.actor.head = 0;
            self.actor.at = At::Search;
        }
    }

    fn landed(&mut self, version: u8) {
        let table = self.actor.table as usize;
        self.actor.pins[table] = version;
        self.actor.head = 0;
        match self.effect_after(table) {
            Some(next) => self.land_on(next),
            None => self.change(Ask::Publish),
        }
    }

    /// (a)
    pub(crate) fn search(&mut self) {
        let base = self.base();
        let history = &self.world.tables[self.actor.table as usize];
        let head = history.head();
        let mut found = history.search(base, head, maker(self.operation()));
        if !self.holds(Rule::Search) && matches!(found, Found::At(_)) {
            found = Found::Absent;
        }
        if !self.holds(Rule::MissingStops) && found == Found::Missing {
            found = Found::Absent;
        }
        self.actor.head = 0;
        match found {
            Found::At(version) => self.landed(version),
            Found::Missing => self.actor.at = At::StandingOfMissing,
            Found::Absent
                if self.is_physical() && head > base && self.holds(Rule::OnlyAfterBase) =>
            {
                self.change(Ask::Discard);
            }
            // Somebody else's table is at the path of a new one.
            Found::Absent if base == 0 && head > 0 => self.actor.at = At::StandingOfMissing,
            Found::Absent => {
                self.actor.head = head;
                self.actor.at = if self.holds(Rule::StillDecided) {
                    At::Standing
                } else {
                    At::Commit
                };
            }
        }
    }

    /// (b)
    pub(crate) fn still_decided(&mut self) {
        self.actor.seen = self.world.newest;
        match self.standing_in(self.actor.seen) {
            Standing::Decided => self.actor.at = At::Commit,
            otherwise => self.stopped(otherwise),
        }
    }

    pub(crate) fn missing_though_decided(&mut self) {
        self.actor.seen = self.world.newest;
        match self.standing_in(self.actor.seen) {
            Standing::Decided => self.cannot(),
            otherwise => self.stopped(otherwise),
        }
    }

    /// Ends an operation that cannot be applied.
    fn cannot(&mut self) {
        if self.is_physical() {
            self.call_off();
        } else {
            self.change(Ask::Quarantine);
        }
    }

    /// (c)
    pub(crate) fn commit(&mut self, reply: Reply) -> Option<()> {
        let table = self.actor.table as usize;
        let (base, head) = (self.base(), self.actor.head);
        let configuration = &self.protocol.configuration;
        let history = &self.world.tables[table];
        let exact = self.holds(Rule::ExactVersion);
        let version = if exact { head + 1 } else { history.head() + 1 };
        // Lance compares the effect with what came in since it was staged; the owner of a rewrite has done so.
        let plan = self.world.plans[self.operation()];
        let conflict = if self.is_physical() {
            let since = history.makers(plan.read, head);
            !self.is_owner() && since.iter().any(|by| configuration.moves_rows(*by))
        } else {
            let since = history.makers(base, head);
            configuration.operations[self.operation()].rigid && since.contains(&SEMANTIC)
        };
        if history.head() >= version {
            if reply != Reply::True {
                return None;
            }
            self.actor.at = At::Search;
            self.actor.head = 0;
            return Some(());
        }
        if conflict {
            if reply != Reply::True {
                return None;
            }
            self.cannot();
            return Some(());
        }
        let by = maker(self.operation());
        let (table, put) = (table as u8, version);
        let landed = self.put(
            Put::Version {
                table,
                version: put,
                by,
            },
            reply,
        )?;
        match landed {
            Some(true) => self.landed(version),
            // It must not stand in the way of logical ones. (The engine tries three times.)
            None if self.is_physical() => self.call_off(),
            _ => {
                self.actor.at = At::Search;
                self.actor.head = 0;
            }
        }
        Some(())
    }

    /// Calls off a decided physical operation: every table is fenced, and then searched.
    pub(crate) fn call_off(&mut self) {
        self.actor.pins = [0; TABLES];
        self.actor.head = 0;
        self.actor.straight = false;
        let first = self.first_effect();
        self.fence_off(first);
    }

    fn fence_off(&mut self, table: u8) {
        self.actor.table = table;
        let fences = if self.actor.repairs {
            self.holds(Rule::FenceBeforeResolve)
        } else {
            self.holds(Rule::FenceBeforeDiscard)
        };
        self.actor.at = if fences { At::Fence } else { At::SearchFenced };
    }

    /// An empty version keeps the number taken at which somebody's commit may yet arrive: base+1 of a physical
    /// operation, the one after the head of a quarantined one.
    pub(crate) fn fence(&mut self, reply: Reply) -> Option<()> {
        let table = self.actor.table;
        let history = &self.world.tables[table as usize];
        let version = if self.actor.repairs {
            history.head()
        } else {
            self.base()
        } + 1;
        if history.head() >= version {
            if reply != Reply::True {
                return None;
            }
            self.actor.at = At::SearchFenced;
            return Some(());
        }
        match self.put(
            Put::Version {
                table,
                version,
                by: FENCE,
            },
            reply,
        )? {
            None if self.world.tables[table as usize].head() < version => self.end(Answer::Unknown),
            _ => self.actor.at = At::SearchFenced,
        }
        Some(())
    }

    pub(crate) fn search_fenced(&mut self) {
        let (base, table) = (self.base(), self.actor.table as usize);
        let history = &self.world.tables[table];
        if self.holds(Rule::SearchAfterFence) {
            match history.search(base, history.head(), maker(self.operation())) {
                Found::At(version) => self.actor.pins[table] = version,
                Found::Absent => {}
                Found::Missing => self.actor.uncertain = true,
            }
        }
        if let Some(next) = self.effect_after(table) {
            self.fence_off(next);
            return;
        }
        let mut tables = self.protocol.configuration.tables_of(self.operation());
        let all = tables.all(|t| self.actor.pins[t] > 0);
        let none = self.actor.pins == [0; TABLES];
        match (self.actor.repairs, all) {
            (false, true) => self.change(Ask::Publish),
            (false, false) => self.change(Ask::Discard),
            (true, true) => self.change(Ask::ResolveByPublish),
            (true, false) if none || !self.holds(Rule::ResolveWhole) => {
                self.change(Ask::ResolveByDiscard);
            }
            // Half of it stands: that is the operator's to mend.
            (true, false) => self.rest(),
        }
    }

    pub(crate) fn after_effects(&mut self, ended: Ended) {
        let standing = self.standing_in(self.actor.seen);
        match (self.actor.ask, ended) {
            (Ask::Publish, Ended::Holds) => self.clear(Answer::Acknowledged),
            (Ask::Discard, Ended::Holds) => {
                // This process has seen that base+1 is somebody else's: no version holds the files.
                let certain = !self.actor.uncertain && self.actor.pins == [0; TABLES];
                if self.is_owner() && certain {
                    self.world.delete_files(self.operation());
                }
                self.clear(Answer::Failed);
            }
            (Ask::Quarantine, Ended::Holds) => self.end(Answer::Unknown),
            (_, Ended::Refused(why)) => match why.kind {
                Kind::Ended(over) => self.stopped(Standing::Ended(over)),
                Kind::NoTicket => self.stopped(Standing::Unknown),
                _ if self.actor.ask == Ask::Publish => self.stopped(standing),
                _ => self.end(Answer::Unknown),
            },
            (_, Ended::Unknown | Ended::NotWritten | Ended::Holds) => self.end(Answer::Unknown),
        }
    }

    /// The operation is no longer decided; somebody else has brought it here.
    fn stopped(&mut self, standing: Standing) {
        match standing {
            Standing::Ended(Over::Published) => self.clear(Answer::Acknowledged),
            Standing::Ended(Over::Discarded) if self.is_physical() => self.clear(Answer::Failed),
            // What was decided is never aborted: it is forgotten, and barred since.
            Standing::Ended(_) | Standing::Unknown => self.clear(Answer::Unknown),
            Standing::Waiting | Standing::Decided | Standing::Quarantined => {
                self.end(Answer::Unknown);
            }
        }
    }

    /// The caller is told; then the sidecar goes.
    fn clear(&mut self, answer: Answer) {
        if self.is_owner() {
            self.answer(answer);
        }
        self.actor.ask = Ask::Nothing;
        self.actor.seen = ManifestId::NONE;
        self.actor.pins = [0; TABLES];
        self.actor.table = 0;
        self.actor.at = At::DeleteSidecar;
    }

    pub(crate) fn delete_sidecar(&mut self) {
        self.world.sidecars &= !(1 << self.actor.operation);
        self.rest();
    }
}
