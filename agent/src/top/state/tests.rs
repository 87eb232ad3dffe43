use std::time::Duration;

use super::*;
use crate::top::{Sources, sources::tests::view};

/// Returns a snapshot of sources and how many packets a second each has.
pub(crate) fn snapshot(sources: &[(&str, usize)]) -> Snapshot {
    let mut known = Sources::default();
    for (source, packets) in sources {
        (0..*packets).for_each(|_| known.take(&view(source, "drop", "feed")));
    }
    known.close(1.0, &std::collections::BTreeMap::new());
    Snapshot { seconds: 1.0, agent: true, sources: known.rows(), ..Snapshot::default() }
}

pub(crate) fn press(state: &mut State, keys: &str) -> Vec<Action> {
    let code = |letter| match letter {
        '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '\x1b' => KeyCode::Esc,
        '\x08' => KeyCode::Backspace,
        letter => KeyCode::Char(letter),
    };
    keys.chars().filter_map(|letter| state.key(KeyEvent::new(code(letter), KeyModifiers::NONE))).collect()
}

fn started() -> State {
    let mut state = State::default();
    state.set(snapshot(&[("192.0.2.7", 9), ("198.51.100.9", 5), ("192.0.2.8", 3)]));
    state
}

fn keys(state: &State) -> Vec<String> {
    state.rows(state.section()).into_iter().map(|row| row.key).collect()
}

#[test]
fn a_ban_is_asked_for_with_its_time() {
    let mut state = started();
    assert_eq!(press(&mut state, "jb"), []);
    assert!(matches!(state.front(), Front::Ban { source, .. } if source.to_string() == "198.51.100.9"));
    assert_eq!(press(&mut state, "x\n"), [], "10mx is no time");
    assert!(matches!(state.front(), Front::Ban { error: Some(_), .. }));
    let ban = |seconds| Action::Ban {
        source: "198.51.100.9".parse().unwrap(),
        lasts: Lasts(Some(Duration::from_secs(seconds))),
    };
    assert_eq!(press(&mut state, "\x08\n"), [ban(600)]);
    assert_eq!(*state.front(), Front::Nothing);
    assert_eq!(press(&mut state, "b\x08\x08\x082h\n"), [ban(7200)]);
    assert_eq!(press(&mut state, "b\x1b"), []);
    assert_eq!(state.notice_text(), "nothing is banned");
}

#[test]
fn the_selection_stays_with_its_source() {
    let mut state = started();
    press(&mut state, "j");
    state.set(snapshot(&[("203.0.113.1", 50), ("192.0.2.7", 9), ("198.51.100.9", 5)]));
    let explained = Action::Explain("198.51.100.9".parse().unwrap());
    assert_eq!(press(&mut state, "e"), [explained]);
    // One that is gone is no longer selected; the first is.
    state.set(snapshot(&[("203.0.113.1", 50)]));
    assert_eq!(press(&mut state, "\n"), [Action::Explain("203.0.113.1".parse().unwrap())]);
    state.set(snapshot(&[]));
    assert_eq!(press(&mut state, "jbe"), []);
}

#[test]
fn a_filter_is_typed_and_taken_back() {
    let mut state = started();
    press(&mut state, "/192.0.2\n");
    assert_eq!(keys(&state), ["192.0.2.7", "192.0.2.8"]);
    press(&mut state, "/q");
    assert_eq!(
        (state.front().clone(), state.filter()),
        (Front::Filter, "192.0.2q"),
        "q is typed, it ends nothing"
    );
    press(&mut state, "\x1b");
    assert_eq!(keys(&state).len(), 3);
}

#[test]
fn sections_and_columns_go_round() {
    let mut state = started();
    press(&mut state, "s");
    assert_eq!(state.sorting(Section::Sources), (2, false));
    press(&mut state, "r");
    assert_eq!(keys(&state), ["192.0.2.8", "198.51.100.9", "192.0.2.7"]);
    press(&mut state, "\t");
    assert_eq!(state.section(), Section::Reasons);
    assert_eq!(press(&mut state, "b"), [], "no source is selected");
    press(&mut state, "\t\t\t\t");
    assert_eq!(state.section(), Section::Sources);
}

#[test]
fn what_is_paused_stands_still() {
    let mut state = started();
    press(&mut state, "p");
    state.set(snapshot(&[("203.0.113.1", 50)]));
    assert_eq!(keys(&state).len(), 3);
    press(&mut state, "p");
    state.set(snapshot(&[("203.0.113.1", 50)]));
    assert_eq!(keys(&state), ["203.0.113.1"]);
}

#[test]
fn it_ends_by_q_and_by_control_c() {
    let mut state = started();
    press(&mut state, "?");
    assert_eq!(*state.front(), Front::Help);
    assert_eq!(press(&mut state, "q"), [], "that closes the help");
    assert_eq!(press(&mut state, "q"), [Action::Quit]);
    press(&mut state, "/");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.key(interrupt), Some(Action::Quit));
}
