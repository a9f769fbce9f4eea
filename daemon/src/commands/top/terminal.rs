//! The terminal: taken over, read, and given back however it ends.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    draw::{self, Scene},
    view::Key,
};
use crate::exit::Failure;

/// How long a key may stay unread after everything else has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a user does at the terminal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Key(Key),
    /// The screen has another size.
    Resized,
}

/// The screen, as long as it is ours. A panic gives it back, too, before it is shown.
#[derive(Debug)]
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> Result<Self, Failure> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Failure::Usage(
                "squire top needs a terminal; --once prints to anything".to_owned(),
            ));
        }
        let opened = ratatui::try_init();
        opened.map(Self).map_err(|e| broken(&e))
    }

    pub(super) fn draw(&mut self, scene: &Scene<'_>) -> Result<(), Failure> {
        let drawn = self.0.draw(|frame| {
            let area = frame.area();
            draw::draw(area, frame.buffer_mut(), scene);
        });
        drawn.map(drop).map_err(|e| broken(&e))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = ratatui::try_restore();
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::Machine(format!("the terminal cannot be used: {error}"))
}

/// How wide what is printed may be: the terminal's width, or what suits a file.
pub(super) fn width() -> u16 {
    const OF_FILES: u16 = 160;
    if !io::stdout().is_terminal() {
        return OF_FILES;
    }
    ratatui::crossterm::terminal::size().map_or(OF_FILES, |(width, _)| width)
}

/// What is done at the terminal, until it or the receiver is gone. Reading blocks, so it has a thread of its own.
pub(super) fn inputs() -> mpsc::Receiver<Input> {
    let (send, inputs) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !send.is_closed() {
            let input = match event::poll(LOOK_AGAIN) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(_) => return,
            };
            let input = match input {
                Ok(Event::Key(key)) => meant(key).map(Input::Key),
                Ok(Event::Resize(..)) => Some(Input::Resized),
                Ok(_) => None,
                Err(_) => return,
            };
            if let Some(input) = input
                && send.blocking_send(input).is_err()
            {
                return;
            }
        }
    });
    inputs
}

fn meant(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

/// Returns at a signal to end.
pub(super) async fn end_signal() -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = hangup.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
