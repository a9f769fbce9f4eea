//! What the handlers share.

use std::sync::{Arc, atomic::AtomicUsize};

use chrono::{DateTime, Utc};

use crate::{
    api::Writable,
    service::{
        liveness::Liveness,
        pauses::PauseRegistry,
        reload::Record,
        schedule::{timetable::Timetable, triggers::TriggerBook},
        status::StatusStore,
    },
};

/// What the handlers share.
#[derive(Clone)]
pub(in crate::service) struct Api {
    pub(in crate::service) pauses: Arc<PauseRegistry>,
    pub(in crate::service) status: Arc<StatusStore>,
    pub(in crate::service) triggers: Arc<TriggerBook>,
    pub(in crate::service) timetable: Arc<Timetable>,
    pub(in crate::service) liveness: Arc<Liveness>,
    /// The number of job slots.
    pub(in crate::service) places: Arc<AtomicUsize>,
    /// How the configuration was loaded.
    pub(in crate::service) record: Arc<Record>,
    pub(in crate::service) writable: Writable,
    pub(in crate::service) started: DateTime<Utc>,
}
