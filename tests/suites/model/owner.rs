//! The owner of an operation, up to its decision: the short form, the long form, and the way in of physical
//! operations, as `engine/src/graph/operation/lifecycle.rs` and `compact.rs` have them.

use super::{
    actor::{Actor, Ask, At, Reply},
    configurations::{Form, Operation},
    manifests::{Kind, ManifestId, Over, Standing},
    register::Ended,
    rules::Rule,
    run::Run,
    world::{Answer, FENCE, Maker, Put, SEMANTIC, TABLES, Wrong},
};

impl Actor {
    /// An owner that has not begun.
    pub(crate) fn owner(operation: usize, form: Form, queue_first: bool) -> Self {
        let mut owner = Self::new(At::Snapshot, operation);
        if form == Form::Long && queue_first {
            owner.ask = Ask::Enqueue;
            owner.at = At::List;
        }
        owner
    }
}

impl Run<'_> {
    fn operates(&self) -> Operation {
        self.protocol.configuration.operations[self.operation()]
    }

    /// The newest manifest, without a ticket.
    pub(crate) fn snapshot(&mut self) {
        self.actor.seen = self.world.newest;
        if self.operates().form == Form::Short && self.newest().blocked[self.operation()] {
            // The long form follows, under another id.
            self.end(Answer::Failed);
        } else {
            self.take_snapshot();
        }
    }

    fn take_snapshot(&mut self) {
        let (operation, facts) = (self.operates(), self.newest());
        let plan = &mut self.world.plans[self.actor.operation as usize];
        let touches = operation.touches();
        plan.expected = std::array::from_fn(|t| if touches[t] { facts.pins[t] } else { 0 });
        plan.staged_on = facts.number;
        self.actor.at = At::Stage;
        self.actor.table = operation.first_table();
    }

    /// Reads the head of a table and stages at it, or finds that others have changed what the table means.
    pub(crate) fn stage(&mut self) {
        let (operation, index, table) =
            (self.operates(), self.operation(), self.actor.table as usize);
        let history = &self.world.tables[table];
        let (pin, head) = (self.world.plans[index].expected[table], history.head());
        let past = history.makers(pin, head);
        let is_benign = |by: &Maker| {
            self.protocol.configuration.is_physical_maker(*by) || *by >= FENCE && *by != SEMANTIC
        };
        let base = if past.iter().all(is_benign) {
            head.max(pin)
        } else if operation.form == Form::Physical && self.explains_head(table) {
            pin
        } else if operation.form == Form::Long && self.holds(Rule::QueueBeforeSnapshot) {
            self.withdraw();
            return;
        } else {
            self.end(Answer::Failed);
            return;
        };
        let plan = &mut self.world.plans[index];
        plan.bases[table] = base;
        if operation.form == Form::Physical {
            (plan.began_at, plan.read) = (pin, base);
        }
        if let Some(next) = operation.table_after(table) {
            self.actor.table = next;
            return;
        }
        self.actor.table = 0;
        if operation.form == Form::Long && !self.holds(Rule::QueueBeforeSnapshot) {
            self.change(Ask::Enqueue);
        } else {
            self.staged();
        }
    }

    fn explains_head(&self, table: usize) -> bool {
        let (newest, seen) = (
            self.newest(),
            self.protocol.manifests.facts(self.actor.seen),
        );
        let operations = self.protocol.configuration.operations.iter().enumerate();
        let mut writers = operations.filter(|(_, o)| o.writes[table]);
        newest.pins[table] != seen.pins[table]
            || writers.any(|(index, _)| newest.standing[index].holds_tables())
    }

    fn staged(&mut self) {
        if self.holds(Rule::SidecarBeforeDecision) {
            self.actor.at = At::WriteSidecar;
        } else {
            self.sidecar_written();
        }
    }

    pub(crate) fn write_sidecar(&mut self, reply: Reply) -> Option<()> {
        let operation = self.operation();
        let written = self.put(Put::Sidecar(operation as u8), reply)?;
        if written.is_some() {
            self.sidecar_written();
            return Some(());
        }
        self.world.undo(operation);
        if self.operates().form == Form::Long {
            self.withdraw();
        } else {
            self.end(Answer::Failed);
        }
        Some(())
    }

    fn sidecar_written(&mut self) {
        if self.standing_in(self.actor.seen) == Standing::Decided {
            // Decided without a sidecar: it is written only now.
            self.carry_out(true);
            return;
        }
        match self.operates().form {
            Form::Short => self.change(Ask::EnqueueDecided),
            Form::Long => self.change(Ask::Decide),
            Form::Physical => {
                self.actor.at = At::WaitForTurn;
                self.actor.seen = ManifestId::NONE;
            }
        }
    }

    /// Step 3, and the snapshot from the manifest that shows the ticket in front.
    pub(crate) fn wait_in_line(&mut self) -> Option<()> {
        let (facts, operation) = (self.newest(), self.operation());
        match facts.standing[operation] {
            Standing::Waiting if facts.quarantine_ahead[operation] => self.withdraw(),
            Standing::Waiting if facts.blocked[operation] && self.holds(Rule::NobodyAhead) => {
                return None;
            }
            Standing::Waiting if self.holds(Rule::QueueBeforeSnapshot) => {
                self.actor.seen = self.world.newest;
                self.take_snapshot();
            }
            Standing::Waiting => {
                self.actor.seen = self.world.newest;
                self.staged();
            }
            Standing::Unknown | Standing::Ended(Over::Aborted) => self.withdraw(),
            _ => self.end(Answer::Unknown),
        }
        Some(())
    }

    /// A finished rewrite waits until no conflicting ticket stands, and takes the pin of that moment.
    pub(crate) fn wait_for_turn(&mut self) -> Option<()> {
        let (facts, operation) = (self.newest(), self.operation());
        if facts.quarantine_ahead[operation] {
            self.give_up();
            return Some(());
        }
        if facts.blocked[operation] && self.holds(Rule::NobodyAhead) {
            return None;
        }
        let writes = self.operates().writes;
        let plan = &mut self.world.plans[operation];
        for table in (0..TABLES).filter(|t| writes[*t]) {
            let pin = facts.pins[table];
            plan.expected[table] = pin;
            plan.bases[table] = if pin == plan.began_at { plan.read } else { pin };
        }
        self.actor.seen = self.world.newest;
        self.change(Ask::EnqueueDecided);
        Some(())
    }

    /// A rewrite that did not come in is thrown away.
    fn give_up(&mut self) {
        self.world.undo(self.operation());
        self.end(Answer::Failed);
    }

    /// Whether the caller of this owner can go away with an effect: before the decision, in the wait.
    pub(crate) fn cancel(&mut self) -> Option<()> {
        match self.actor.at {
            At::WaitForTurn => self.give_up(),
            At::WaitInLine => self.withdraw(),
            _ => return None,
        }
        Some(())
    }

    /// Takes the ticket back, wherever it stands; the caller hears of the failure that led here.
    pub(crate) fn withdraw(&mut self) {
        self.actor.withdraws = true;
        self.change(Ask::Withdraw);
    }

    /// A long form that was refused at its decision: it held its place, so nobody may have come first.
    fn observe_refusal(&mut self, kind: Kind) {
        if kind == Kind::Moved {
            self.world.note(Wrong::LogicalRefused);
        }
    }

    /// Under the ticket: whether a rewrite still fits.
    pub(crate) fn check_sources(&mut self) {
        let plan = self.world.plans[self.operation()];
        let configuration = &self.protocol.configuration;
        let changed = configuration.tables_of(self.operation()).any(|t| {
            let since = self.world.tables[t].makers(plan.read, plan.bases[t]);
            since.iter().any(|by| configuration.moves_rows(*by))
        });
        if changed && self.holds(Rule::SourcesUnderTicket) {
            self.call_off();
        } else {
            self.carry_out(true);
        }
    }

    pub(crate) fn after_entering(&mut self, ended: Ended) {
        let operation = self.operation();
        match (self.actor.ask, ended) {
            (Ask::Enqueue, Ended::Holds) => {
                self.actor.at = At::WaitInLine;
                self.actor.seen = ManifestId::NONE;
            }
            (Ask::Enqueue, Ended::Refused(_)) => self.end(Answer::Failed),
            (Ask::Enqueue, Ended::Unknown) => {
                self.actor.in_doubt = true;
                self.withdraw();
            }
            (Ask::Enqueue, Ended::NotWritten) => self.withdraw(),
            (Ask::Decide | Ask::EnqueueDecided, Ended::Holds) => {
                if !self.holds(Rule::SidecarBeforeDecision) {
                    self.actor.at = At::WriteSidecar;
                } else if self.is_physical() {
                    self.actor.at = At::CheckSources;
                } else {
                    self.carry_out(true);
                }
            }
            (Ask::Decide | Ask::EnqueueDecided, Ended::Refused(why)) => {
                let moved = matches!(why.kind, Kind::Moved);
                if self.is_physical() && moved {
                    self.actor.at = At::WaitForTurn;
                    self.actor.seen = ManifestId::NONE;
                    return;
                }
                if self.operates().form == Form::Long {
                    self.observe_refusal(why.kind);
                }
                if why.proves_absence {
                    self.world.undo(operation);
                }
                if self.operates().form == Form::Long {
                    self.withdraw();
                } else {
                    self.end(Answer::Failed);
                }
            }
            (Ask::Decide | Ask::EnqueueDecided, Ended::Unknown) => {
                self.answer(Answer::Unknown);
                if !self.holds(Rule::FilesOnlyAfterProof) {
                    self.world.undo(operation);
                }
                if self.operates().form == Form::Long {
                    self.withdraw();
                } else {
                    self.rest();
                }
            }
            (Ask::Decide | Ask::EnqueueDecided, Ended::NotWritten) => {
                self.world.undo(operation);
                if self.operates().form == Form::Long {
                    self.withdraw();
                } else {
                    self.end(Answer::Failed);
                }
            }
            (_, Ended::Holds) => {
                let aborted = self.standing_in(self.actor.seen) == Standing::Ended(Over::Aborted);
                self.end(if aborted || !self.actor.in_doubt {
                    Answer::Failed
                } else {
                    Answer::Unknown
                });
            }
            // It is decided: it is carried out.
            (_, Ended::Refused(_)) => {
                self.answer(if self.actor.in_doubt {
                    Answer::Unknown
                } else {
                    Answer::Failed
                });
                self.actor.at = At::ReadSidecar;
            }
            // The engine tries again some times, and then leaves the ticket to healers.
            (_, Ended::Unknown | Ended::NotWritten) => self.end(if self.actor.in_doubt {
                Answer::Unknown
            } else {
                Answer::Failed
            }),
        }
    }
}
