//! The screen as a user sees it, and what keys do.

use ratatui::{
    Terminal,
    backend::TestBackend,
    style::{Color, Modifier},
};

use super::{
    draw::{self, Scene},
    panes,
    snapshot::Snapshot,
    view::{Act, Entry, Key, Pane, Sort, Subject, View},
};
use crate::api::{
    HealthCounts, JobInfo, JobOutcome, Layout, Pause, RunInfo, TableInfo, TargetInfo, TicketInfo,
};
use chrono::{DateTime, TimeDelta, Utc};
use squire_engine::planner::Duty;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn table(target: &str, name: &str, health: &str, small: u64) -> TableInfo {
    TableInfo {
        target: target.into(),
        table: name.into(),
        health: serde_json::from_value(health.into()).expect("it is a word"),
        reason: (health == "failing").then(|| "the store denies access".into()),
        rows: 1_234_567,
        fragments: small + 2,
        small_fragments: small,
        bytes: small << 20,
        looked: Some(now()),
        ..TableInfo::default()
    }
}

fn snapshot_of(tables: Vec<TableInfo>) -> Snapshot {
    let seconds_ago = |n| Some(now() - TimeDelta::seconds(n));
    Snapshot {
        targets: vec![TargetInfo {
            name: "lake".into(),
            kind: Some("directory".into()),
            tables: tables.len() as u64,
            looked: seconds_ago(3),
            tickets: 1,
            health: HealthCounts {
                failing: 1,
                ok: 2,
                ..HealthCounts::default()
            },
            ..TargetInfo::default()
        }],
        tables: tables
            .into_iter()
            .map(|t| ((t.target.clone(), t.table.clone()), t))
            .collect(),
        running: vec![JobInfo {
            target: "lake".into(),
            table: "events".into(),
            duty: Duty::Compaction.into(),
            phase: "rewriting".into(),
            since: now() - TimeDelta::seconds(95),
            done: 3,
            all: 10,
            ..JobInfo::default()
        }],
        queue: vec![(
            "lake".into(),
            TicketInfo {
                operation: "019aad0e-4c1b-7e57-b7a5-4c8d2e0f6a01".into(),
                kind: "Load".into(),
                state: "waiting".into(),
                actor: "ada@lab".into(),
                waits_for: vec!["019aad0f-4c1b-7e57-b7a5-4c8d2e0f6a01".into()],
                ..TicketInfo::default()
            },
        )],
        history: vec![RunInfo {
            target: "lake".into(),
            table: "docs".into(),
            duty: Duty::Index.into(),
            outcome: JobOutcome::Done.into(),
            began: now() - TimeDelta::seconds(600),
            seconds: 2.5,
            before: Layout {
                fragments: 12,
                bytes: 1 << 20,
            },
            after: Some(Layout {
                fragments: 1,
                bytes: 1 << 20,
            }),
            ..RunInfo::default()
        }],
        ..Snapshot::default()
    }
}

fn few() -> Snapshot {
    snapshot_of(vec![
        table("lake", "docs", "ok", 1),
        table("lake", "events", "due", 40),
        table("lake", "broken", "failing", 0),
    ])
}

fn scene<'a>(snapshot: &'a Snapshot, view: &'a View) -> Scene<'a> {
    Scene {
        view,
        snapshot: Some((snapshot, now())),
        trouble: None,
        address: "http://127.0.0.1:9464",
        now: now(),
        colour: true,
    }
}

/// The screen of this size, line by line.
fn screen(width: u16, height: u16, scene: &Scene<'_>) -> Vec<String> {
    let drawn = drawn(width, height, scene);
    let lines = drawn.content.chunks(usize::from(width));
    let text = lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>());
    text.map(|line| line.trim_end().to_owned()).collect()
}

fn drawn(width: u16, height: u16, scene: &Scene<'_>) -> ratatui::buffer::Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it is memory");
    let frame = terminal.draw(|frame| draw::draw(frame.area(), frame.buffer_mut(), scene));
    frame.expect("it is memory").buffer.clone()
}

fn says(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line.contains(what))
}

fn press(view: &mut View, snapshot: &Snapshot, keys: &[Key]) -> Option<Act> {
    let pressed = keys.iter().map(|key| view.press(*key, snapshot, now()));
    pressed.last().flatten()
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

#[test]
fn a_large_terminal_shows_every_pane_worst_tables_first() {
    let (snapshot, view) = (few(), View::default());
    let lines = screen(140, 40, &scene(&snapshot, &view));
    for what in [
        "http://127.0.0.1:9464  1 target, 3 tables, 1 job",
        "1 failing, 2 ok",
        "the store denies access",
        "███░░░░░░░ 3/10",
        "1m 35s",
        "019aad0f",
        "12 → 1",
        "9m 57s",
        "? keys",
    ] {
        assert!(says(&lines, what), "{what}: {lines:#?}");
    }
    let at = |what| lines.iter().position(|line| line.starts_with(what));
    assert!(
        at("failing") < at("due") && at("due") < at("ok"),
        "{lines:#?}"
    );
}

#[test]
fn a_small_terminal_shows_one_pane_and_no_size_is_too_small_to_draw() {
    let snapshot = few();
    let mut view = View::default();
    let lines = screen(60, 12, &scene(&snapshot, &view));
    assert!(
        says(&lines, " 2 tables ") && says(&lines, "events"),
        "{lines:#?}"
    );
    assert!(!says(&lines, "history ("), "{lines:#?}");
    view.focus = Pane::History;
    assert!(says(&screen(60, 12, &scene(&snapshot, &view)), "docs"));
    view.entry = Entry::Help;
    for width in [1, 19, 20, 45, 89, 90, 140] {
        for height in [1, 3, 4, 10, 25, 26, 40] {
            for focus in Pane::ALL {
                view.focus = focus;
                screen(width, height, &scene(&snapshot, &view));
            }
        }
    }
}

#[test]
fn without_colour_nothing_is_coloured_and_the_words_say_it() {
    let (snapshot, view) = (few(), View::default());
    let coloured = drawn(140, 40, &scene(&snapshot, &view));
    assert!(coloured.content.iter().any(|cell| cell.fg == Color::Red));
    let plain = Scene {
        colour: false,
        trouble: Some("no answer"),
        ..scene(&snapshot, &view)
    };
    let plain = drawn(140, 40, &plain);
    for cell in &plain.content {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
    assert!(
        plain
            .content
            .iter()
            .any(|cell| cell.modifier.contains(Modifier::BOLD))
    );
}

#[test]
fn a_daemon_that_is_gone_is_shown_above_what_was_known_last() {
    let (snapshot, view) = (few(), View::default());
    let gone = Scene {
        snapshot: Some((&snapshot, now() - TimeDelta::seconds(42))),
        trouble: Some("no daemon answers at http://127.0.0.1:9464"),
        ..scene(&snapshot, &view)
    };
    let lines = screen(140, 40, &gone);
    assert!(lines[0].contains("as of 42s ago"), "{lines:#?}");
    assert!(lines[1].starts_with("no daemon answers"), "{lines:#?}");
    assert!(says(&lines, "events"), "what was known stays");
    let never = Scene {
        snapshot: None,
        ..gone
    };
    let lines = screen(60, 12, &never);
    assert!(says(&lines, "again and again"), "{lines:#?}");
}

#[test]
fn names_and_errors_command_no_terminal() {
    let evil = "a\x1b[2J\u{9b}31m\r\n\u{202e}b\x07";
    let mut snapshot = snapshot_of(vec![TableInfo {
        reason: Some(evil.into()),
        ..table(evil, evil, evil, 1)
    }]);
    snapshot.targets[0].failing = Some(evil.into());
    snapshot.running[0].table = evil.into();
    snapshot.queue[0].1.actor = evil.into();
    snapshot.history[0].detail = Some(evil.into());
    let mut view = View {
        note: Some((evil.replace(|c: char| c.is_control(), ""), false)),
        ..View::default()
    };
    for focus in Pane::ALL {
        view.focus = focus;
        let scene = scene(&snapshot, &view);
        let mut said = screen(200, 40, &scene);
        said.extend(draw::lines(200, &scene));
        let obeyed = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        for line in said.iter().filter(|line| !line.contains("by health")) {
            assert!(!line.contains(obeyed), "{line:?}");
        }
        assert!(says(&said, "\\u001b[2J"), "{said:#?}");
    }
    // What is done is done to the table of that very name.
    view.focus = Pane::Tables;
    let keys = [Key::Char('p'), Key::Enter];
    let Some(Act::Pause { what, .. }) = press(&mut view, &snapshot, &keys) else {
        panic!("it is paused")
    };
    assert_eq!(what.table.as_deref(), Some(evil));
}

#[test]
fn a_thousand_tables_are_drawn_fast_enough_to_be_scrolled() {
    let tables = (0..1_000).map(|n| table("lake", &format!("t{n:04}"), "ok", n));
    let snapshot = snapshot_of(tables.collect());
    let mut view = View::default();
    press(&mut view, &snapshot, &[Key::Char('G')]);
    let lines = screen(140, 40, &scene(&snapshot, &view));
    assert!(
        says(&lines, "tables (1,000)") && says(&lines, "t0000"),
        "{lines:#?}"
    );
    press(&mut view, &snapshot, &[Key::Home, Key::Down, Key::PageDown]);
    assert!(says(&screen(140, 40, &scene(&snapshot, &view)), "t0978"));
    let all = draw::lines(160, &scene(&snapshot, &view));
    assert_eq!(
        all.iter().filter(|line| line.contains(" t0")).count(),
        1_000
    );
}

#[test]
fn tables_are_sorted_and_found_by_words() {
    let snapshot = few();
    let mut view = View::default();
    let names = |view: &View| {
        let rows = panes::rows(Pane::Tables, &snapshot, view, now()).into_iter();
        let names = rows.map(|row| row.subject.table.unwrap_or_default());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&view), "broken events docs");
    for (sort, sorted) in [
        (Sort::Name, "broken docs events"),
        (Sort::Fragments, "events docs broken"),
    ] {
        press(&mut view, &snapshot, &[Key::Char('s')]);
        assert_eq!((view.sort, &*names(&view)), (sort, sorted));
    }
    let keys = [
        vec![Key::Char('/')],
        typed("LAKE q"),
        vec![Key::Backspace],
        typed("do"),
    ];
    press(&mut view, &snapshot, &keys.concat());
    assert_eq!(names(&view), "docs");
    assert_eq!(view.entry, Entry::Filter, "q is a letter there");
    press(&mut view, &snapshot, &[Key::Enter, Key::Escape]);
    assert_eq!(names(&view), "events docs broken");
}

#[test]
fn what_is_selected_is_paused_for_a_time_resumed_or_run() {
    let mut snapshot = few();
    let mut view = View::default();
    let what = |table: Option<&str>| Subject {
        target: "lake".into(),
        table: table.map(Into::into),
    };
    assert_eq!(
        press(&mut view, &snapshot, &[Key::Down, Key::Char('p')]),
        None
    );
    assert!(says(
        &screen(140, 40, &scene(&snapshot, &view)),
        "pause events of lake for: 1h_"
    ));
    let typing = [
        vec![Key::Backspace, Key::Backspace],
        typed("soon"),
        vec![Key::Enter],
    ];
    assert_eq!(press(&mut view, &snapshot, &typing.concat()), None);
    assert!(says(
        &screen(140, 40, &scene(&snapshot, &view)),
        "\"soon\" is no time"
    ));
    let typing = [vec![Key::Backspace; 4], typed("30m"), vec![Key::Enter]];
    let lasts = std::time::Duration::from_secs(1_800);
    let paused = Act::Pause {
        what: what(Some("events")),
        lasts,
    };
    assert_eq!(press(&mut view, &snapshot, &typing.concat()), Some(paused));

    snapshot.pauses.push(Pause {
        target: "lake".to_owned(),
        table: None,
        until: now(),
        reason: None,
    });
    let resume = Act::Resume { what: what(None) };
    let keys = [Key::Char('1'), Key::Char('p'), Key::Escape];
    assert_eq!(press(&mut view, &snapshot, &keys), None, "a yes is wanted");
    assert_eq!(press(&mut view, &snapshot, &[Key::Char('p')]), None);
    // Whatever moves under the selected row meanwhile, it is the one that was asked about.
    let moved = Snapshot {
        targets: vec![TargetInfo {
            name: "aaa".into(),
            ..TargetInfo::default()
        }],
        ..snapshot.clone()
    };
    assert_eq!(press(&mut view, &moved, &[Key::Char('y')]), Some(resume));

    let keys = [Key::Char('2'), Key::Char('r'), Key::Escape];
    assert_eq!(press(&mut view, &snapshot, &keys), None, "a yes is wanted");
    let run = Act::Run {
        what: what(Some("events")),
    };
    let keys = [Key::Char('r'), Key::Char('y')];
    assert_eq!(press(&mut view, &snapshot, &keys), Some(run));
}

#[test]
fn keys_go_round_the_panes_stay_within_the_rows_and_quit() {
    let snapshot = few();
    let mut view = View::default();
    let mut seen = Vec::new();
    for _ in Pane::ALL {
        press(&mut view, &snapshot, &[Key::Tab]);
        seen.push(view.focus);
    }
    assert_eq!(seen[4], Pane::Tables);
    press(&mut view, &snapshot, &[Key::BackTab]);
    assert_eq!(view.focus, Pane::Targets);
    press(&mut view, &snapshot, &[Key::Tab, Key::Up, Key::PageUp]);
    assert_eq!(view.selected(Pane::Tables, 3), 0);
    press(&mut view, &snapshot, &[Key::Char('G'), Key::Down]);
    assert_eq!(view.selected(Pane::Tables, 3), 2);
    assert_eq!(view.selected(Pane::Tables, 1), 0, "tables may go");
    press(&mut view, &snapshot, &[Key::Char('?')]);
    assert!(says(
        &screen(140, 40, &scene(&snapshot, &view)),
        "another pane"
    ));
    assert_eq!(
        press(&mut view, &snapshot, &[Key::Char('q')]),
        None,
        "any key ends the help"
    );
    assert_eq!(
        press(&mut view, &snapshot, &[Key::Char('q')]),
        Some(Act::Quit)
    );
    press(&mut view, &snapshot, &[Key::Char('/')]);
    assert_eq!(
        press(&mut view, &snapshot, &[Key::Interrupt]),
        Some(Act::Quit)
    );
    let none = Snapshot::default();
    let keys = [Key::Char('p'), Key::Char('r'), Key::Down, Key::End];
    assert_eq!(press(&mut view, &none, &keys), None);
}
