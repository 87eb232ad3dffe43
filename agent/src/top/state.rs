use std::net::IpAddr;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    Snapshot,
    grid::{Row, Section, rows},
};
use crate::config::Lasts;

/// How long a ban lasts that nobody says more about.
const BAN: &str = "10m";
/// Longest line that is typed.
const TYPED_MAX: usize = 64;
/// Rows that a page key goes over.
const PAGE: usize = 10;

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// End.
    Quit,
    /// Ban an address.
    Ban {
        /// Which.
        source: IpAddr,
        /// How long.
        lasts: Lasts,
    },
    /// Explain an address.
    Explain(IpAddr),
}

/// What is in front of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Front {
    /// Nothing.
    #[default]
    Nothing,
    /// The filter is typed.
    Filter,
    /// It is asked whether to ban.
    Ban {
        /// Whom.
        source: IpAddr,
        /// How long, as it is typed.
        lasts: String,
        /// What is wrong with that.
        error: Option<String>,
    },
    /// Some text.
    Text {
        /// What it is about.
        title: String,
        /// The text.
        text: String,
        /// Lines of it that are above the window.
        scroll: u16,
    },
    /// What keys do.
    Help,
}

/// How a section is shown.
#[derive(Clone, Debug, Default)]
struct View {
    column: usize,
    reverse: bool,
    /// The key of the selected row; nothing: the first one, whatever it is.
    selected: Option<String>,
}

/// What is shown, and what the operator has chosen.
#[derive(Clone, Debug)]
pub struct State {
    snapshot: Option<Snapshot>,
    section: Section,
    views: [View; Section::ALL.len()],
    filter: String,
    front: Front,
    paused: bool,
    notice: String,
}

impl Default for State {
    fn default() -> Self {
        let view = |section: Section| View { column: section.sorted_by(), ..View::default() };
        Self {
            snapshot: None,
            section: Section::default(),
            views: Section::ALL.map(view),
            filter: String::new(),
            front: Front::Nothing,
            paused: false,
            notice: String::new(),
        }
    }
}

impl State {
    /// Shows what goes on now, unless the operator looks at what went on a moment ago.
    pub fn set(&mut self, snapshot: Snapshot) {
        if !self.paused {
            self.snapshot = Some(snapshot);
        }
    }

    /// Shows what has come of an action.
    pub fn notice(&mut self, notice: impl Into<String>) {
        self.notice = notice.into();
    }

    /// Shows a text until a key is pressed.
    pub fn show(&mut self, title: impl Into<String>, text: impl Into<String>) {
        self.front = Front::Text { title: title.into(), text: text.into(), scroll: 0 };
    }

    /// Returns what is shown.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Returns the section that keys act on.
    #[must_use]
    pub fn section(&self) -> Section {
        self.section
    }

    /// Returns what is in front of the tables.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Returns what rows must have in them.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Returns what has come of the last action.
    #[must_use]
    pub fn notice_text(&self) -> &str {
        &self.notice
    }

    /// Returns true while what is shown stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Returns the column by which a section is sorted, and whether the other way round.
    #[must_use]
    pub fn sorting(&self, section: Section) -> (usize, bool) {
        let view = self.view(section);
        (view.column, view.reverse)
    }

    /// Returns the rows of a section.
    #[must_use]
    pub fn rows(&self, section: Section) -> Vec<Row> {
        let view = self.view(section);
        // What is typed is for the section where it is typed.
        let filter = if section == self.section { self.filter.as_str() } else { "" };
        let snapshot = self.snapshot.as_ref();
        snapshot.map(|it| rows(it, section, filter, view.column, view.reverse)).unwrap_or_default()
    }

    /// Returns the place of the selected row among `rows` of a section.
    #[must_use]
    pub fn selected(&self, section: Section, rows: &[Row]) -> Option<usize> {
        let selected = self.view(section).selected.as_ref();
        let place = selected.and_then(|key| rows.iter().position(|row| row.key == *key));
        place.or(if rows.is_empty() { None } else { Some(0) })
    }

    fn view(&self, section: Section) -> &View {
        &self.views[section as usize]
    }

    /// Does what a key says, and returns what is to be done outside.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing here")]
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let code = match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            // In raw mode the terminal makes no signal of it.
            (KeyCode::Char('c'), true) => return Some(Action::Quit),
            // What some terminals send.
            (KeyCode::Char('h'), true) => KeyCode::Backspace,
            (KeyCode::Char(_), true) => return None,
            (code, _) => code,
        };
        match std::mem::take(&mut self.front) {
            Front::Nothing => self.key_of_tables(code),
            Front::Filter => {
                self.key_of_filter(code);
                None
            }
            Front::Ban { source, lasts, .. } => self.key_of_ban(code, source, lasts),
            Front::Text { title, text, scroll } => {
                let scroll = match code {
                    KeyCode::Down | KeyCode::Char('j') => scroll.saturating_add(1),
                    KeyCode::Up | KeyCode::Char('k') => scroll.saturating_sub(1),
                    _ => return None,
                };
                self.front = Front::Text { title, text, scroll };
                None
            }
            Front::Help => None,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing here")]
    fn key_of_tables(&mut self, key: KeyCode) -> Option<Action> {
        self.notice.clear();
        match key {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char('?' | 'h') => self.front = Front::Help,
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Section::ALL.len() - 1),
            KeyCode::Char('s') => {
                let columns = self.section.columns().len();
                let view = &mut self.views[self.section as usize];
                view.column = (view.column + 1) % columns;
            }
            KeyCode::Char('r') => {
                let view = &mut self.views[self.section as usize];
                view.reverse = !view.reverse;
            }
            KeyCode::Char('/') => self.front = Front::Filter,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Down | KeyCode::Char('j') => self.step(|at, last| (at + 1).min(last)),
            KeyCode::Up | KeyCode::Char('k') => self.step(|at, _| at.saturating_sub(1)),
            KeyCode::PageDown => self.step(|at, last| (at + PAGE).min(last)),
            KeyCode::PageUp => self.step(|at, _| at.saturating_sub(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.step(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.step(|_, last| last),
            KeyCode::Char('b') => match self.source() {
                Some(source) => self.front = Front::Ban { source, lasts: BAN.to_owned(), error: None },
                None => self.notice(self.no_source()),
            },
            KeyCode::Char('e') | KeyCode::Enter => match self.source() {
                Some(source) => return Some(Action::Explain(source)),
                None => self.notice(self.no_source()),
            },
            _ => {}
        }
        None
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing here")]
    fn key_of_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                self.filter.clear();
                return;
            }
            KeyCode::Backspace => _ = self.filter.pop(),
            KeyCode::Char(letter) if self.filter.len() < TYPED_MAX => self.filter.push(letter),
            _ => {}
        }
        self.front = Front::Filter;
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing here")]
    fn key_of_ban(&mut self, key: KeyCode, source: IpAddr, mut lasts: String) -> Option<Action> {
        let mut error = None;
        match key {
            KeyCode::Enter => match lasts.parse() {
                Ok(lasts) => return Some(Action::Ban { source, lasts }),
                Err(wrong) => error = Some(wrong),
            },
            KeyCode::Esc => {
                self.notice("nothing is banned");
                return None;
            }
            KeyCode::Backspace => _ = lasts.pop(),
            KeyCode::Char(letter) if lasts.len() < TYPED_MAX => lasts.push(letter),
            _ => {}
        }
        self.front = Front::Ban { source, lasts, error };
        None
    }

    fn turn(&mut self, by: usize) {
        let next = (self.section as usize + by) % Section::ALL.len();
        self.section = Section::ALL[next];
    }

    /// Moves the selection: `to` gets its place and the last one.
    fn step(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let rows = self.rows(self.section);
        let Some(at) = self.selected(self.section, &rows) else { return };
        let row = rows.get(to(at, rows.len() - 1));
        self.views[self.section as usize].selected = row.map(|row| row.key.clone());
    }

    /// Says why there is no address to do something about.
    fn no_source(&self) -> &'static str {
        if self.section == Section::Sources && !self.rows(self.section).is_empty() {
            "this is a pseudonym: whoever knows the address can ban or explain it (`audit.addresses`)"
        } else {
            "select a source to ban or explain (Tab)"
        }
    }

    /// Returns the selected source, if it is sources that are looked at.
    fn source(&self) -> Option<IpAddr> {
        if self.section != Section::Sources {
            return None;
        }
        let rows = self.rows(self.section);
        rows.get(self.selected(self.section, &rows)?)?.key.parse().ok()
    }
}

#[cfg(test)]
pub(super) mod tests;
