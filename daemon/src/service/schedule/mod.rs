//! Triggers of a duty, whatever the thresholds say.
//!
//! | file | what is in it |
//! |---|---|
//! | [`timetable`] | the schedules of all targets |
//! | [`triggers`] | duties that were requested and not begun yet |

pub(in crate::service) mod timetable;
pub(in crate::service) mod triggers;
