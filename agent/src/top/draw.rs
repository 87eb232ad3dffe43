use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell as TableCell, Clear, Paragraph, Row as TableRow, Table, TableState, Tabs, Wrap},
};

use super::{
    Snapshot, State,
    grid::{Cell, Row, Section, short},
    state::Front,
};
use crate::config::Enforce;

/// From so much room on all sections are shown at once; below, the one that is looked at.
const ALL_WIDTH: u16 = 120;
const ALL_HEIGHT: u16 = 30;

/// Widths of the first column: of the longest IPv6 address at most.
const NAME_MIN: u16 = 15;
const NAME_MAX: u16 = 39;

/// Where there is no room for all keys, help tells of the rest.
const KEYS: [&str; 8] =
    ["q quit", "? help", "Tab section", "s sort", "/ filter", "b ban", "e explain", "p pause"];
const HELP: &str = "\
q        quit
Tab      next section; Shift-Tab the one before
s        sort by the next column; r the other way round
/        show rows with a text only; Enter keeps it, Esc takes it back
j k      down and up, as the arrows; g G first and last
b        ban the selected source: asks for how long, and whether
e        explain the selected source
p        pause: what is shown stands still, the kernel does not

Sources are estimated from sampled packets against which a rule spoke; all else is counted.
WOULD is what shadow mode lets pass.";

/// How it looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With colours.
    pub colour: bool,
}

impl Look {
    fn bold() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn dim() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn tint(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn of_verdict(self, text: &str) -> Style {
        match text {
            "drop" => self.tint(Color::Red),
            "would_drop" => self.tint(Color::Yellow),
            _ => Style::new(),
        }
    }
}

/// Draws all.
pub fn draw(frame: &mut Frame<'_>, state: &State, look: Look) {
    let [head, tabs, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(state, look), head);
    let titles = Section::ALL.map(|section| format!("{} {}", section.title(), state.rows(section).len()));
    let selected = Look::bold().add_modifier(Modifier::REVERSED);
    frame.render_widget(Tabs::new(titles).select(state.section() as usize).highlight_style(selected), tabs);
    if body.width >= ALL_WIDTH && body.height >= ALL_HEIGHT {
        all(frame, body, state, look);
    } else {
        section(frame, body, state, state.section(), look);
    }
    frame.render_widget(footer(state, foot.width), foot);
    front(frame, body, state, look);
}

fn header(state: &State, look: Look) -> Paragraph<'static> {
    let Some(snapshot) = state.snapshot() else {
        return Paragraph::new(Line::styled("weir top: reading the counters", Look::bold()));
    };
    let Snapshot { rates, .. } = snapshot;
    let mode = match snapshot.enforce {
        Some(Enforce::Enforce) => Span::styled("enforce", look.tint(Color::Green)),
        Some(Enforce::Shadow) => Span::styled("shadow: nothing is dropped", look.tint(Color::Yellow)),
        None => Span::raw("mode not known"),
    };
    let agent = if snapshot.agent { "agent runs" } else { "no agent; the kernel enforces on" };
    let mut first = vec![
        Span::styled("weir top", Look::bold()),
        Span::raw("  "),
        mode,
        Span::raw(format!("  {agent}  publication {}  rules {}", snapshot.publication, snapshot.rules)),
    ];
    if state.is_paused() {
        first.push(Span::styled("  PAUSED", Look::bold()));
    }
    let second = Line::from(vec![
        Span::raw(format!("pass {}/s  ", short(rates.pass))),
        Span::styled(format!("drop {}/s  ", short(rates.drop)), look.of_verdict("drop")),
        Span::styled(format!("would drop {}/s  ", short(rates.would_drop)), look.of_verdict("would_drop")),
        Span::raw(format!("{}B/s", short(rates.bytes))),
        Span::styled(
            match &snapshot.without_sources {
                Some(why) => format!("  no sources: {why}"),
                None => format!("  {} packets not in the sample", short_count(snapshot)),
            },
            Look::dim(),
        ),
    ]);
    Paragraph::new(vec![Line::from(first), second])
}

fn short_count(snapshot: &Snapshot) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    short((snapshot.events_left_out + snapshot.events_lost) as f64)
}

fn footer(state: &State, width: u16) -> Paragraph<'static> {
    if *state.front() == Front::Filter {
        return Paragraph::new(Line::styled(format!("filter: {}_", state.filter()), Look::bold()));
    }
    if !state.notice_text().is_empty() {
        return Paragraph::new(Line::styled(state.notice_text().to_owned(), Look::bold()));
    }
    let filter = match state.filter() {
        "" => String::new(),
        filter => format!("  [filter: {filter}]"),
    };
    let room = usize::from(width).saturating_sub(filter.chars().count());
    Paragraph::new(Line::styled(format!("{}{filter}", keys(room)), Look::dim()))
}

/// Returns as many keys as there is room for.
fn keys(room: usize) -> String {
    let mut text = KEYS[0].to_owned();
    for key in &KEYS[1..] {
        if text.len() + 2 + key.len() > room {
            break;
        }
        text = format!("{text}  {key}");
    }
    text
}

/// Shows all sections, that of the sources largest.
fn all(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    let halves = Constraint::Percentage(50);
    let [top, bottom] =
        Layout::vertical([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(area);
    let [sources, right] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(top);
    let [reasons, interfaces] =
        Layout::vertical([Constraint::Percentage(65), Constraint::Percentage(35)]).areas(right);
    let [feeds, limits] = Layout::horizontal([halves, halves]).areas(bottom);
    let places = [sources, reasons, feeds, limits, interfaces];
    for (place, of) in places.into_iter().zip(Section::ALL) {
        section(frame, place, state, of, look);
    }
}

fn section(frame: &mut Frame<'_>, area: Rect, state: &State, section: Section, look: Look) {
    let rows = state.rows(section);
    let looked_at = section == state.section();
    let (column, reverse) = state.sorting(section);
    let header = section.columns().iter().enumerate().map(|(at, (title, width))| {
        let mark = match (at == column, reverse) {
            (true, false) => "▾",
            (true, true) => "▴",
            (false, _) => "",
        };
        let title = format!("{title}{mark}");
        let width = usize::from(*width);
        // Above numbers, which stand at the right.
        let number = rows.first().is_some_and(|row| matches!(row.cells.get(at), Some(Cell::Number(_))));
        TableCell::from(if number { format!("{title:>width$}") } else { title })
    });
    let shown = rows.iter().map(|row| {
        TableRow::new(row.cells.iter().zip(section.columns()).map(|(cell, (_, width))| {
            let (text, width) = (cell.text(), usize::from(*width));
            match cell {
                Cell::Number(_) => TableCell::from(format!("{text:>width$}")),
                Cell::Text(_) => {
                    let style = look.of_verdict(&text);
                    TableCell::from(text).style(style)
                }
            }
        }))
    });
    let widths = widths(section, &rows);
    let mut block = Block::bordered().title(format!(" {} ", section.title()));
    if looked_at {
        block = block.border_style(look.tint(Color::Cyan)).title_style(Look::bold());
    }
    let table = Table::new(shown, widths)
        .header(TableRow::new(header).style(Look::bold()))
        .block(block)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = state.selected(section, &rows).filter(|_| looked_at);
    frame.render_stateful_widget(table, area, &mut TableState::default().with_selected(selected));
}

/// Words are as wide as they are, numbers have their columns, and what is last has the rest.
fn widths(section: Section, rows: &[Row]) -> Vec<Constraint> {
    let columns = section.columns();
    let longest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at));
        u16::try_from(cells.map(|cell| cell.text().chars().count()).max().unwrap_or(0)).unwrap_or(u16::MAX)
    };
    let is_text = |at| rows.first().is_some_and(|row| matches!(row.cells.get(at), Some(Cell::Text(_))));
    let width = |(at, (title, width)): (usize, &(&str, u16))| match at {
        0 => Constraint::Length(longest(0).clamp(NAME_MIN, NAME_MAX)),
        at if at + 1 == columns.len() => Constraint::Fill(1),
        at if is_text(at) => {
            // The title, and the mark of what is sorted by.
            let least = u16::try_from(title.len() + 1).unwrap_or(*width).min(*width);
            Constraint::Length(longest(at).clamp(least, *width))
        }
        _ => Constraint::Length(*width),
    };
    columns.iter().enumerate().map(width).collect()
}

/// Draws what is in front of the tables.
fn front(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    let (title, text, scroll) = match state.front() {
        Front::Nothing | Front::Filter => return,
        Front::Help => ("keys".to_owned(), HELP.to_owned(), 0),
        Front::Text { title, text, scroll } => (title.clone(), text.clone(), *scroll),
        Front::Ban { source, lasts, error } => {
            let mut text = format!(
                "ban {source} for {lasts}_\n\nEnter bans it, Esc does not; 30s, 10m, 1h, 7d, forever"
            );
            if let Some(error) = error {
                text = format!("{text}\n\n{error}");
            }
            (format!("ban {source}?"), text, 0)
        }
    };
    let lines = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
    let width = Constraint::Length(area.width.saturating_sub(4).min(100));
    let height = Constraint::Length(lines.saturating_add(4).clamp(5, area.height.max(5)));
    let place = area.centered(width, height);
    let block = Block::bordered().title(format!(" {title} ")).border_style(look.tint(Color::Cyan));
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(text).wrap(Wrap { trim: false }).scroll((scroll, 0)).block(block),
        place,
    );
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::top::{
        sources::tests::view,
        state::tests::{press, snapshot},
    };

    fn screen(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state, Look { colour: true })).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(usize::from(width));
        lines.map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
    }

    fn started() -> State {
        let mut state = State::default();
        let mut snapshot = snapshot(&[("192.0.2.7", 9000), ("2001:db8::9", 5)]);
        snapshot.enforce = Some(Enforce::Shadow);
        snapshot.rates.drop = 9005.0;
        state.set(snapshot);
        state
    }

    #[test]
    fn a_small_terminal_shows_the_section_that_is_looked_at() {
        let mut state = started();
        let shown = screen(&state, 80, 24);
        for text in [
            "shadow: nothing is dropped",
            "drop 9.0k/s",
            "Sources 2",
            "192.0.2.7",
            "2001:db8::9",
            "PPS▾",
            "feed bad",
            "q quit",
            "p pause",
        ] {
            assert!(shown.contains(text), "no `{text}` in:\n{shown}");
        }
        press(&mut state, "\t");
        let shown = screen(&state, 80, 24);
        assert!(shown.contains("BYTES/S") && !shown.contains("192.0.2.7"), "{shown}");
    }

    #[test]
    fn who_says_so_has_the_room_that_reasons_leave() {
        let mut limited = view("2001:db8:1:2:3:4:5:6", "drop", "limit");
        limited.limit = Some("per-source".to_owned());
        limited.answer = Some("drop".to_owned());
        let mut sources = crate::top::Sources::default();
        sources.take(&limited);
        sources.close(1.0, &std::collections::BTreeMap::new());
        let mut state = State::default();
        state.set(Snapshot { sources: sources.rows(), ..Snapshot::default() });
        let shown = screen(&state, 80, 24);
        assert!(shown.contains("limit   limit per-source"), "{shown}");
        let narrow = screen(&state, 60, 24);
        assert!(narrow.contains("q quit  ? help") && !narrow.contains("e expl"), "{narrow}");
    }

    #[test]
    fn a_large_one_shows_all() {
        let shown = screen(&started(), 160, 50);
        for section in Section::ALL {
            assert!(shown.contains(&format!(" {} ─", section.title())), "{section:?}:\n{shown}");
        }
    }

    #[test]
    fn what_is_asked_is_in_front() {
        let mut state = started();
        press(&mut state, "b");
        let shown = screen(&state, 80, 24);
        assert!(shown.contains("ban 192.0.2.7 for 10m_") && shown.contains("Enter bans it"), "{shown}");
        press(&mut state, "z\n");
        assert!(screen(&state, 80, 24).contains("write a time like"));
        press(&mut state, "\x1b?");
        assert!(screen(&state, 80, 24).contains("next section"));
        press(&mut state, "x/2001");
        let shown = screen(&state, 80, 24);
        assert!(shown.contains("filter: 2001_") && !shown.contains("192.0.2.7"), "{shown}");
        state.show("192.0.2.7", "line\n".repeat(100));
        assert!(screen(&state, 80, 24).contains("line"));
    }

    #[test]
    fn the_smallest_terminal_is_drawn_too() {
        for (width, height) in [(1, 1), (3, 2), (20, 5)] {
            for keys in ["", "b", "?", "/a"] {
                let mut state = started();
                press(&mut state, keys);
                screen(&state, width, height);
            }
        }
        screen(&State::default(), 80, 24);
    }

    #[test]
    fn without_colour_there_is_none() {
        let mut terminal = Terminal::new(TestBackend::new(160, 50)).unwrap();
        terminal.draw(|frame| draw(frame, &started(), Look { colour: false })).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
}
