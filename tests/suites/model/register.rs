//! The register's loop, request by request, as `engine/src/graph/manifest/log.rs` has it.

use super::{
    actor::{Ask, At, Open, Reply},
    manifests::{Call, Facts, ManifestId, Outcome, Standing, Why},
    rules::Rule,
    run::Run,
    world::{Put, Wrong},
};

/// So often a call tries to write. (The engine: 4.)
const MAX_FAILURES: u8 = 2;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The manifest holds the effect; it is the newest one, and seen.
    Holds,
    Refused(Why),
    /// `OutcomeUnknown`.
    Unknown,
    /// The store failed, and nothing was written.
    NotWritten,
}

impl Open {
    fn begin(&mut self, number: u8) {
        if self.lowest == 0 {
            self.lowest = number;
        }
        self.highest = number;
    }

    fn close_by(&mut self, newest: Facts, only_uncollected: bool) {
        let uncollected = newest.collected_below <= self.lowest || !only_uncollected;
        if newest.number >= self.highest && uncollected {
            *self = Self::default();
        }
    }

    fn is_closed(self) -> bool {
        self.lowest == 0
    }
}

impl Run<'_> {
    /// Begins a call: it is first computed on the newest manifest that the actor has seen.
    pub(crate) fn change(&mut self, ask: Ask) {
        self.actor.ask = ask;
        self.forget_call();
        if self.actor.seen == ManifestId::NONE || !self.protocol.configuration.hints {
            self.actor.at = At::List;
        } else {
            self.compute();
        }
    }

    fn compute(&mut self) {
        let counts = self.actor.listed || !self.holds(Rule::RefuseOnListed);
        match self
            .protocol
            .manifests
            .compute(self.actor.seen, self.call())
        {
            Outcome::Next(made) => {
                self.actor.made = made;
                self.actor.at = At::Put;
            }
            Outcome::Already if counts => self.end_call(Ended::Holds),
            Outcome::Refused(_)
                if counts && !self.actor.open.is_closed() && self.holds(Rule::OpenIsUnknown) =>
            {
                self.end_call(Ended::Unknown);
            }
            Outcome::Refused(why) if counts => self.end_call(Ended::Refused(why)),
            Outcome::Already | Outcome::Refused(_) => self.actor.at = At::List,
        }
    }

    /// Whether the manifest that is seen settles the call, so that nothing is left to be written.
    fn is_settled(&self) -> bool {
        let outcome = self
            .protocol
            .manifests
            .compute(self.actor.seen, self.call());
        self.holds(Rule::LookBeforeGivingUp) && !matches!(outcome, Outcome::Next(_))
    }

    fn call(&self) -> Call {
        let actor = &self.actor;
        let operation = actor.operation;
        let plan = self.world.plans[operation as usize];
        match actor.ask {
            Ask::Enqueue => Call::Enqueue(operation),
            Ask::Decide => Call::Decide(operation, plan),
            Ask::EnqueueDecided => Call::EnqueueDecided(operation, plan),
            Ask::Withdraw if self.standing_in(actor.seen).has_ticket() => Call::Abort(operation),
            Ask::Withdraw | Ask::Bar => Call::Bar(operation),
            Ask::Abort => Call::Abort(operation),
            Ask::Publish => Call::Publish(operation, actor.pins),
            Ask::Discard => Call::Discard(operation),
            Ask::Quarantine => Call::Quarantine(operation),
            Ask::ResolveByPublish => Call::ResolveByPublish(operation, actor.pins),
            Ask::ResolveByDiscard => Call::ResolveByDiscard(operation),
            Ask::Adopt => Call::Adopt {
                table: actor.table,
                pin: actor.pins[actor.table as usize],
                head: actor.head,
            },
            Ask::Collect => Call::Collect,
            Ask::Nothing => unreachable!("a call asks for something"),
        }
    }

    pub(crate) fn standing_in(&self, manifest: ManifestId) -> Standing {
        self.protocol.manifests.facts(manifest).standing[self.actor.operation as usize]
    }

    /// The create. Whatever the store answers, it is open from now on.
    pub(crate) fn put_manifest(&mut self, reply: Reply) -> Option<()> {
        let made = self.actor.made;
        let number = self.protocol.manifests.facts(made).number;
        let answered = self.put(Put::Manifest(made), reply)?;
        self.actor.open.begin(number);
        if self.actor.ask == Ask::Collect && !self.holds(Rule::DeleteOnlyCounted) {
            self.world.deletable = self.world.deletable.max(number);
        }
        self.actor.created = answered == Some(true);
        self.actor.failed = answered.is_none();
        self.actor.failures += u8::from(self.actor.failed);
        if self.actor.created && !self.holds(Rule::ConfirmByList) {
            self.actor.seen = made;
            self.end_call(Ended::Holds);
        } else {
            if !self.actor.created {
                self.actor.made = ManifestId::NONE;
            }
            self.actor.at = At::List;
        }
        Some(())
    }

    /// The list, and the read of what it names where that is a step of its own.
    pub(crate) fn list(&mut self) {
        self.actor.seen = self.world.newest;
        let own = self.actor.created && self.actor.made == self.world.newest;
        if self.protocol.configuration.split_reads && !own {
            self.actor.at = At::Read;
        } else {
            self.listed();
        }
    }

    /// The read of the manifest that was listed: it may be deleted by now, and even created anew.
    pub(crate) fn read(&mut self) {
        let number = self.protocol.manifests.facts(self.actor.seen).number;
        if self.world.is_deleted(number) {
            self.actor.at = At::List;
            return;
        }
        let again = self.world.recreated;
        if !self.holds(Rule::ReadWhatWasListed)
            && again != ManifestId::NONE
            && self.protocol.manifests.facts(again).number == number
        {
            self.actor.seen = again;
        }
        self.listed();
    }

    fn listed(&mut self) {
        let newest = self.protocol.manifests.facts(self.actor.seen);
        self.actor.listed = true;
        if self.actor.created {
            let number = self.protocol.manifests.facts(self.actor.made).number;
            if newest.collected_below <= number {
                self.end_call(Ended::Holds);
                return;
            }
        }
        self.actor.made = ManifestId::NONE;
        self.actor.created = false;
        let only_uncollected = self.holds(Rule::CloseOnlyUncollected);
        self.actor.open.close_by(newest, only_uncollected);
        if std::mem::take(&mut self.actor.failed) {
            let open = self.actor.open;
            let landed_not =
                self.protocol.configuration.failed_put_is_final && newest.number < open.highest;
            if landed_not && open.lowest == open.highest {
                self.actor.open = Open::default();
            }
        }
        if self.actor.failures == MAX_FAILURES && !self.is_settled() {
            self.end_call(if self.actor.open.is_closed() {
                Ended::NotWritten
            } else {
                Ended::Unknown
            });
            return;
        }
        self.compute();
    }

    fn end_call(&mut self, ended: Ended) {
        self.forget_call();
        self.go_on(ended);
    }

    /// Nothing of a call outlives it, so that the same state is the same state.
    fn forget_call(&mut self) {
        self.actor.made = ManifestId::NONE;
        self.actor.open = Open::default();
        self.actor.listed = false;
        self.actor.created = false;
        self.actor.failed = false;
        self.actor.failures = 0;
    }

    /// A manifest comes into the world, if its number is free.
    pub(crate) fn land_manifest(&mut self, made: ManifestId) -> bool {
        let manifests = &self.protocol.manifests;
        let (now, next) = (manifests.facts(self.world.newest), manifests.facts(made));
        if next.number > now.number + 1 {
            self.world.note(Wrong::Gap);
            return false;
        }
        if next.number <= now.number {
            let free = self.world.is_deleted(next.number);
            if free {
                self.world.deleted &= !(1 << next.number);
                self.world.recreated = made;
            }
            return free;
        }
        self.observe(now, next);
        self.world.newest = made;
        true
    }
}
