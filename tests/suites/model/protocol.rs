//! The model: who may act in a state, and what comes of it.

use std::{collections::HashSet, sync::Mutex};

use stateright::{Model, Property};

use super::{
    actor::{Actor, At, Reply},
    configurations::Configuration,
    fingerprint::BuildFolding,
    helper::Job,
    manifests::{ManifestId, Manifests, Standing},
    properties,
    rules::Rule,
    run::{Run, Who},
    world::{
        Answer, BENIGN, HELPERS, History, NOBODY, OPERATIONS, Plan, Put, SEMANTIC, State, TABLES,
        VERSIONS, World, Wrong,
    },
};

pub(crate) struct Protocol {
    pub(crate) configuration: Configuration,
    pub(crate) manifests: Manifests,
    pub(crate) graph: Graph,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// An actor sends its next request, and the store answers so.
    Step(Who, Reply),
    /// A helper sets about something.
    Start(u8, Job),
    Crash(u8),
    Cancel(u8),
    /// A put that was on its way lands.
    Land(u8),
    /// A client reorganises a table.
    Benign(u8),
    /// A client changes what a table means.
    Semantic(u8),
    LoseSidecar(u8),
    LoseVersion(u8, u8),
    DeleteManifest(u8),
    /// Cleanup looks at a table, and deletes below what it has read.
    CleanUp(u8),
    DeleteVersions(u8),
    /// Cleanup deletes the files of an operation that no version names.
    Sweep(u8),
}

impl Action {
    /// Whether it is bad luck, which need not come.
    fn is_fault(self) -> bool {
        match self {
            Self::Step(_, reply) => reply != Reply::True,
            Self::Crash(_)
            | Self::Cancel(_)
            | Self::Benign(_)
            | Self::Semantic(_)
            | Self::LoseSidecar(_)
            | Self::LoseVersion(..) => true,
            _ => false,
        }
    }
}

/// The states that were reached, and how: for properties of the whole graph.
#[derive(Default)]
pub(crate) struct Graph {
    /// Steps without a fault, by the state they lead to, in shares so that threads do not wait for each other.
    shares: [Mutex<Vec<(u64, u64)>>; 16],
    quiet: Mutex<HashSet<u64, BuildFolding>>,
}

impl Graph {
    fn edge(&self, from: u64, to: u64) {
        let share = &self.shares[from as usize % self.shares.len()];
        share.lock().unwrap().push((to, from));
    }

    /// The states from which nothing quiet can be reached any more, however it goes on.
    pub(crate) fn stuck(&self) -> HashSet<u64, BuildFolding> {
        let mut edges: Vec<(u64, u64)> = Vec::new();
        for share in &self.shares {
            edges.append(&mut share.lock().unwrap());
        }
        edges.sort_unstable();
        edges.dedup();
        let mut reached = self.quiet.lock().unwrap().clone();
        let mut todo: Vec<u64> = reached.iter().copied().collect();
        while let Some(state) = todo.pop() {
            let first = edges.partition_point(|(to, _)| *to < state);
            for (_, from) in edges[first..].iter().take_while(|(to, _)| *to == state) {
                if reached.insert(*from) {
                    todo.push(*from);
                }
            }
        }
        let all = edges.iter().flat_map(|(to, from)| [*to, *from]);
        all.filter(|state| !reached.contains(state)).collect()
    }
}

impl Protocol {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self {
            manifests: Manifests::new(&configuration.operations, configuration.without),
            configuration,
            graph: Graph::default(),
        }
    }

    fn first(&self) -> World {
        let newest = self.manifests.first();
        let facts = self.manifests.facts(newest);
        let tables = facts.pins.map(|pin| {
            let mut history = History::default();
            if pin > 0 {
                history.push(NOBODY);
            }
            history
        });
        let queue_first = self.configuration.without.holds(Rule::QueueBeforeSnapshot);
        let owners = std::array::from_fn(|o| match self.configuration.operations.get(o) {
            Some(operation) => Actor::owner(o, operation.form, queue_first),
            None => Actor::new(At::Ended, o),
        });
        World {
            newest,
            deleted: 0,
            recreated: ManifestId::NONE,
            deletable: 0,
            kept_pins: facts.pins,
            tables,
            sidecars: 0,
            in_flight: [None; 2],
            plans: [Plan::default(); OPERATIONS],
            owners,
            helpers: [Actor::default(); HELPERS],
            cleaning: [0; TABLES],
            left: self.configuration.budget,
            answers: [Answer::None; OPERATIONS],
            published: 0,
            files_deleted: 0,
            wrong: 0,
        }
    }

    /// Numbers of manifests that somebody may yet create, or is about to read.
    fn awaited(&self, world: &World) -> u32 {
        let number = |id: ManifestId| u32::from(self.manifests.facts(id).number);
        let mut awaited = 0;
        for actor in world.owners.iter().chain(&world.helpers) {
            if actor.at.runs() && actor.seen != ManifestId::NONE {
                awaited |= 0b11 << number(actor.seen);
            }
            if actor.made != ManifestId::NONE {
                awaited |= 1 << number(actor.made);
            }
        }
        for put in world.in_flight.iter().flatten() {
            if let Put::Manifest(id) = put {
                awaited |= 1 << number(*id);
            }
        }
        awaited
    }

    /// Forgets what cannot make a difference any more.
    fn forget(&self, world: &mut World) {
        let awaited = self.awaited(world);
        world.deleted &= awaited;
        if world.recreated != ManifestId::NONE {
            let number = self.manifests.facts(world.recreated).number;
            if awaited >> number & 1 == 0 || world.is_deleted(number) {
                world.recreated = ManifestId::NONE;
            }
        }
        let on_its_way = world
            .in_flight
            .iter()
            .flatten()
            .any(|put| !matches!(put, Put::Sidecar(_)));
        let facts = self.manifests.facts(world.newest);
        for o in 0..self.configuration.operations.len() {
            let helped = |h: &Actor| h.at.runs() && h.operation as usize == o;
            if !on_its_way
                && !world.owners[o].at.runs()
                && !facts.standing[o].has_ticket()
                && !world.helpers.iter().any(helped)
            {
                world.plans[o] = Plan::default();
            }
        }
        if self.configuration.budget.cleanups == 0 {
            world.kept_pins = [0; TABLES];
        }
        world.helpers.sort_unstable();
    }

    /// Below which version cleanup may delete (`docs/protocol.md`, Cleanup).
    fn cleanup_limit(&self, world: &World, table: usize) -> u8 {
        let facts = self.manifests.facts(world.newest);
        let without = &self.configuration.without;
        let mut limit = if without.holds(Rule::KeepPins) {
            world.kept_pins[table]
        } else {
            world.tables[table].head()
        };
        if without.holds(Rule::KeepBases) {
            for o in self.configuration.writers_of(table) {
                if facts.standing[o].holds_tables() {
                    limit = limit.min(world.plans[o].bases[table]);
                }
            }
        }
        limit
    }

    /// Whether cleanup takes the staged files of an operation for left over: they are old, and nobody names them.
    fn may_sweep(&self, world: &World, o: usize) -> bool {
        let facts = self.manifests.facts(world.newest);
        let by = super::world::maker(o);
        let named = world.tables.iter().any(|t| t.times(by, t.head()) > 0);
        let conflicting = |other: usize| {
            facts.standing[other].holds_tables()
                && (other == o || self.configuration.conflict(o, other))
        };
        let spared =
            world.has_sidecar(o) || (0..self.configuration.operations.len()).any(conflicting);
        !world.owners[o].at.runs()
            && !named
            && world.files_deleted >> o & 1 == 0
            && world.answers[o] != Answer::Failed
            && !(spared && self.configuration.without.holds(Rule::SpareTickets))
    }

    pub(crate) fn is_quiet(&self, world: &World) -> bool {
        let facts = self.manifests.facts(world.newest);
        (0..OPERATIONS).all(|o| match facts.standing[o] {
            Standing::Waiting | Standing::Decided => false,
            Standing::Quarantined => true,
            Standing::Unknown | Standing::Ended(_) => !world.has_sidecar(o),
        })
    }

    /// The world after an action, as far as it can happen.
    pub(crate) fn after(&self, world: &World, action: Action) -> Option<State> {
        let mut next = *world;
        let left = &mut next.left;
        let take = |left: &mut u8| -> Option<()> {
            *left = left.checked_sub(1)?;
            Some(())
        };
        match action {
            Action::Step(who, reply) => {
                let mut run = Run::new(self, world, who);
                run.step(reply)?;
                next = run.done();
            }
            Action::Start(helper, job) => {
                let mut run = Run::new(self, world, Who::Helper(helper));
                run.set_about(job)?;
                next = run.done();
            }
            Action::Crash(o) => {
                take(&mut left.crashes)?;
                next.owners[o as usize] = Actor::new(At::Crashed, o as usize);
            }
            Action::Cancel(o) => {
                let mut run = Run::new(self, world, Who::Owner(o));
                take(&mut run.world.left.cancels)?;
                run.cancel()?;
                next = run.done();
            }
            Action::Land(place) => {
                let put = next.in_flight[place as usize].take()?;
                next.in_flight.sort_unstable();
                let mut run = Run::new(self, &next, Who::Helper(0));
                run.land(put);
                next = run.done();
            }
            Action::Benign(table) => {
                take(&mut left.benign)?;
                next.tables[table as usize].push(BENIGN);
            }
            Action::Semantic(table) => {
                take(&mut left.semantic)?;
                next.tables[table as usize].push(SEMANTIC);
            }
            Action::LoseSidecar(o) => {
                take(&mut left.lost_sidecars)?;
                next.sidecars &= !(1 << o);
            }
            Action::LoseVersion(table, version) => {
                take(&mut left.lost_versions)?;
                next.tables[table as usize].delete(version);
            }
            Action::DeleteManifest(number) => {
                next.deleted |= 1 << number;
                if number == self.manifests.facts(world.newest).number {
                    next.note(Wrong::NewestDeleted);
                }
            }
            Action::CleanUp(table) => {
                take(&mut left.cleanups)?;
                next.cleaning[table as usize] = self.cleanup_limit(world, table as usize);
            }
            Action::DeleteVersions(table) => {
                let below = std::mem::take(&mut next.cleaning[table as usize]);
                for version in 1..below {
                    next.tables[table as usize].delete(version);
                }
            }
            Action::Sweep(o) => {
                take(&mut left.sweeps)?;
                next.files_deleted |= 1 << o;
            }
        }
        self.forget(&mut next);
        Some(next.into())
    }

    fn offer_steps(&self, world: &World, who: Who, actor: &Actor, actions: &mut Vec<Action>) {
        if !actor.at.runs() {
            return;
        }
        actions.push(Action::Step(who, Reply::True));
        if actor.at.is_put() {
            let mut left = world.left;
            for reply in Reply::FAULTS {
                if reply.left(&mut left).is_some_and(|left| *left > 0) {
                    actions.push(Action::Step(who, reply));
                }
            }
        }
    }

    fn offer_jobs(&self, world: &World, helper: u8, actions: &mut Vec<Action>) {
        for o in 0..self.configuration.operations.len() as u8 {
            actions.push(Action::Start(helper, Job::Heal(o)));
            actions.push(Action::Start(helper, Job::Orphan(o)));
            if world.left.resolutions > 0 {
                actions.push(Action::Start(helper, Job::Resolve(o)));
            }
        }
        if world.left.collections > 0 {
            actions.push(Action::Start(helper, Job::Collect));
        }
        if world.left.adoptions > 0 {
            let tables = 0..TABLES as u8;
            actions.extend(tables.map(|t| Action::Start(helper, Job::Adopt(t))));
        }
    }

    fn offer_faults(&self, world: &World, actions: &mut Vec<Action>) {
        let left = &world.left;
        for (o, owner) in world.owners.iter().enumerate() {
            if owner.at.runs() && owner.at != At::Snapshot {
                if left.crashes > 0 {
                    actions.push(Action::Crash(o as u8));
                }
                if left.cancels > 0 {
                    actions.push(Action::Cancel(o as u8));
                }
            }
            if left.lost_sidecars > 0 && world.has_sidecar(o) {
                actions.push(Action::LoseSidecar(o as u8));
            }
        }
        for table in 0..TABLES {
            let history = &world.tables[table];
            let touched = self.configuration.writers_of(table).next().is_some();
            if !touched || history.head() == 0 || history.head() as usize + 4 > VERSIONS {
                continue;
            }
            if left.benign > 0 {
                actions.push(Action::Benign(table as u8));
            }
            if left.semantic > 0 {
                actions.push(Action::Semantic(table as u8));
            }
            if left.lost_versions > 0 {
                let pin = self.manifests.facts(world.newest).pins[table];
                let lost = pin + 1..history.head();
                actions.extend(lost.map(|v| Action::LoseVersion(table as u8, v)));
            }
        }
    }

    fn offer_deletions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.deletable > 0 {
            let newest = self.manifests.facts(world.newest).number;
            let deletable = (self.awaited(world) | 1 << newest) & !world.deleted;
            let numbers = 1..world.deletable;
            let there = numbers.filter(|n| deletable >> n & 1 == 1);
            actions.extend(there.map(Action::DeleteManifest));
        }
        for table in 0..TABLES {
            if world.cleaning[table] > 0 {
                actions.push(Action::DeleteVersions(table as u8));
            } else if world.left.cleanups > 0 {
                let below = self.cleanup_limit(world, table);
                if (1..below).any(|v| world.tables[table].is_there(v)) {
                    actions.push(Action::CleanUp(table as u8));
                }
            }
        }
        if world.left.sweeps > 0 {
            for o in 0..self.configuration.operations.len() {
                if self.may_sweep(world, o) {
                    actions.push(Action::Sweep(o as u8));
                }
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first().into()]
    }

    fn actions(&self, world: &State, actions: &mut Vec<Action>) {
        for (o, owner) in world.owners.iter().enumerate() {
            self.offer_steps(world, Who::Owner(o as u8), owner, actions);
        }
        let helpers = HELPERS - self.configuration.helpers..HELPERS;
        let mut idle = None;
        for h in helpers {
            let helper = &world.helpers[h];
            self.offer_steps(world, Who::Helper(h as u8), helper, actions);
            if !helper.at.runs() {
                idle = Some(h as u8);
            }
        }
        // Who is idle makes no difference.
        if let Some(helper) = idle {
            self.offer_jobs(world, helper, actions);
        }
        let places = (0..world.in_flight.len()).filter(|p| world.in_flight[*p].is_some());
        actions.extend(places.map(|p| Action::Land(p as u8)));
        self.offer_faults(world, actions);
        self.offer_deletions(world, actions);
        if self.configuration.liveness && self.is_quiet(world) {
            self.graph.quiet.lock().unwrap().insert(world.fingerprint());
        }
    }

    fn next_state(&self, world: &State, action: Action) -> Option<State> {
        let next = self.after(world, action)?;
        if next == *world {
            return None;
        }
        if self.configuration.liveness && !action.is_fault() {
            self.graph.edge(world.fingerprint(), next.fingerprint());
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
