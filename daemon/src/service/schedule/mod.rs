//! Triggers of a duty, whatever the thresholds say.
//!
//! | file | what is in it |
//! |---|---|
//! | [`cron`] | one cron schedule, and when it comes next |
//! | [`timetable`] | the schedules of all targets |
//! | [`triggers`] | duties that were requested and not begun yet |

pub(crate) mod cron;
pub(in crate::service) mod timetable;
pub(in crate::service) mod triggers;
