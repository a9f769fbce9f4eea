//! The API model: every type that crosses HTTP or the reload socket, defined once for the daemon and for the commands that
//! ask it.
//!
//! A client may ask a daemon of another version. So a field that an answer lacks is empty ([`Default`]), one that is not
//! known is ignored, and a word that is not known is kept as it is ([`Word`]). Requests are strict: what is not known is
//! rejected.
//!
//! | file | what is in it |
//! |---|---|
//! | [`overview`] | the daemon as a whole |
//! | [`configuration`] | how the configuration was loaded |
//! | [`target`], [`table`] | targets with their schedules; tables with their decisions |
//! | [`health`] | the health of tables and targets |
//! | [`jobs`] | jobs, their outcomes, and requests for one |
//! | [`queue`] | the queue of a graph |
//! | [`pauses`] | pauses, and requests for one |
//! | [`series`] | layouts, and how they changed |
//! | [`duty`], [`word`] | words of closed lists |
//! | [`refused`] | the answer to a rejected request |

mod configuration;
mod duty;
mod health;
mod jobs;
mod overview;
mod pauses;
mod queue;
mod refused;
mod series;
mod table;
mod target;
mod word;

pub(crate) use self::{
    configuration::{ConfigInfo, Loaded},
    health::{Health, HealthCounts, Status},
    jobs::{JobInfo, JobOutcome, RunAccepted, RunInfo, RunRequest},
    overview::{Overview, Writable},
    pauses::{Pause, PauseRequest, Paused, ResumeRequest},
    queue::TicketInfo,
    refused::Refused,
    series::{Layout, Series},
    table::{DutyInfo, GoneTable, TableInfo, Tables},
    target::{ScheduleInfo, TargetInfo},
    word::Word,
};
