//! Duties that schedules and users request.

use super::state::Keeper;
use crate::service::{clock, schedule::triggers::Trigger};

impl Keeper {
    /// Forces the duties that schedules and users requested. A request that comes before any table is known waits. A manual
    /// request skips tables that are paused now; a scheduled one waits until the pause ends.
    pub(super) fn force(&mut self) {
        let name = &self.target.name;
        let now = clock::not_ahead();
        for call in self.triggers.take(!self.tables.is_empty()) {
            let duty = match &call {
                Trigger::Schedule(duty, cron) => {
                    tracing::info!(target_name = %name, cron, "the schedule forces {duty}");
                    *duty
                }
                Trigger::User(duty, table) => {
                    tracing::info!(target_name = %name, table = table.as_deref().unwrap_or("all"), "a user forces {duty}");
                    *duty
                }
            };
            for (key, kept) in &mut self.tables {
                let text = key.to_string();
                let meant = match &call {
                    Trigger::Schedule(_, cron) => kept.crons.get(&duty) == Some(cron),
                    Trigger::User(_, table) => {
                        let paused = self.shared.pauses.until(name, &text, now).is_some();
                        table.as_ref().is_none_or(|table| *table == text) && !paused
                    }
                };
                if meant {
                    kept.unneeded.remove(&duty);
                    kept.forced.insert(duty);
                    if let Trigger::User(..) = call {
                        kept.history.forgive(duty);
                        self.writes.made_room();
                    }
                    let (state, clock) = (&self.shared.state, self.shared.clock());
                    state.forced(name, &text, &kept.forced, &clock);
                    if let Trigger::User(..) = call {
                        state.forgiven(name, &text, duty);
                    }
                }
            }
        }
    }
}
