use chrono::{NaiveDate, NaiveDateTime};

use super::*;

/// A moment of the week that begins on Monday, 2026-01-05.
fn moment(day: u32, hour: u32, minute: u32) -> NaiveDateTime {
    let date = NaiveDate::from_ymd_opt(2026, 1, 5 + day).unwrap();
    date.and_hms_opt(hour, minute, 59).unwrap()
}

const WEEKDAYS: u8 = 0b001_1111;

#[test]
fn a_window_begins_and_ends_to_the_minute_on_its_days() {
    let office = Window {
        days: WEEKDAYS,
        from: 8 * 60,
        to: 17 * 60 + 30,
    };
    assert!(!office.contains(moment(0, 7, 59)));
    assert!(office.contains(moment(0, 8, 0)));
    assert!(office.contains(moment(4, 17, 29)));
    assert!(!office.contains(moment(4, 17, 30)));
    assert!(!office.contains(moment(5, 12, 0)), "Saturday");
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let night = Window {
        days: WEEKDAYS,
        from: 22 * 60,
        to: 4 * 60,
    };
    assert!(night.contains(moment(4, 23, 0)));
    assert!(night.contains(moment(5, 3, 59)), "Saturday, from Friday");
    assert!(!night.contains(moment(5, 4, 0)));
    assert!(!night.contains(moment(5, 23, 0)));
    assert!(!night.contains(moment(0, 3, 0)), "Monday, from Sunday");
    assert!(night.contains(moment(1, 3, 0)));
}

#[test]
fn a_window_whose_ends_meet_is_a_whole_day_long() {
    let sunday = Window {
        days: 0b100_0000,
        from: 0,
        to: 0,
    };
    assert!(sunday.contains(moment(6, 0, 0)));
    assert!(sunday.contains(moment(6, 23, 59)));
    assert!(!sunday.contains(moment(5, 23, 59)));
    let all = Window {
        days: Window::EVERY_DAY,
        from: 0,
        to: 24 * 60,
    };
    assert!(all.contains(moment(3, 23, 59)));
}

#[test]
fn a_blackout_wins_over_a_window_and_no_window_means_always() {
    let night = Window {
        days: Window::EVERY_DAY,
        from: 60,
        to: 5 * 60,
    };
    let backup = Window {
        days: Window::EVERY_DAY,
        from: 3 * 60,
        to: 4 * 60,
    };
    let windows = Windows {
        allowed: vec![night],
        blackout: vec![backup],
    };
    assert_eq!(windows.skip(moment(0, 2, 0)), None);
    assert_eq!(windows.skip(moment(0, 3, 0)), Some(Skip::Blackout));
    assert_eq!(windows.skip(moment(0, 12, 0)), Some(Skip::OutsideWindow));
    let always = Windows {
        blackout: vec![backup],
        ..Windows::default()
    };
    assert_eq!(always.skip(moment(0, 12, 0)), None);
}
