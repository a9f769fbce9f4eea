//! Duties that schedules and users request.

use super::state::Keeper;
use crate::service::{clock, schedule::triggers::Call};

impl Keeper {
    /// Leaves the thresholds of the duties aside that a schedule or a person calls for. What is called for before tables
    /// are known waits for them. A schedule's call waits for the end of a pause, too; a person's does not: he means now.
    pub(super) fn force(&mut self) {
        let name = &self.target.name;
        let now = clock::not_ahead();
        for call in self.forces.take(!self.tables.is_empty()) {
            let duty = match &call {
                Call::Schedule(duty, cron) => {
                    tracing::info!(target_name = %name, cron, "the schedule forces {duty}");
                    *duty
                }
                Call::Person(duty, table) => {
                    tracing::info!(target_name = %name, table = table.as_deref().unwrap_or("all"), "a person forces {duty}");
                    *duty
                }
            };
            for (key, kept) in &mut self.tables {
                let text = key.to_string();
                let meant = match &call {
                    Call::Schedule(_, cron) => kept.crons.get(&duty) == Some(cron),
                    Call::Person(_, table) => {
                        let paused = self.shared.pauses.until(name, &text, now).is_some();
                        table.as_ref().is_none_or(|table| *table == text) && !paused
                    }
                };
                if meant {
                    kept.unneeded.remove(&duty);
                    kept.forced.insert(duty);
                    if let Call::Person(..) = call {
                        kept.history.forgive(duty);
                        self.writes.made_room();
                    }
                    let (state, clock) = (&self.shared.state, self.shared.clock());
                    state.forced(name, &text, &kept.forced, &clock);
                    if let Call::Person(..) = call {
                        state.forgiven(name, &text, duty);
                    }
                }
            }
        }
    }
}
