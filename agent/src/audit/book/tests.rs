use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::{audit::verify, naming::Naming};

fn book(state: &TempDir, size: u64, files: u32) -> Book {
    let settings = config::Audit { size, files, ..config::Audit::default() };
    Book::new(settings, state.path(), Context::new(Arc::new(Naming::Plain)))
}

fn entry() -> Entry {
    Entry { at: SystemTime::now(), actor: Actor::Agent, what: What::Started }
}

fn append(book: &mut Book, lines: usize) -> u64 {
    (0..lines).map(|_| book.append(&[entry()]).unwrap().seq).last().unwrap()
}

fn report(state: &TempDir) -> verify::Report {
    verify::state(state.path(), 0).unwrap()
}

/// Returns the flaw, and the line of the file that has it.
fn broken(state: &TempDir) -> (verify::Flaw, u64) {
    let broken = report(state).broken.unwrap();
    (broken.flaw, broken.line)
}

fn lines(state: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(state.path().join("audit.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn replace(state: &TempDir, lines: &[String]) {
    fs::write(state.path().join("audit.jsonl"), lines.join("\n") + "\n").unwrap();
}

#[test]
fn the_chain_goes_on_over_restarts_and_files() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(append(&mut book(&state, 1 << 20, 4), 3), 4, "the first line tells of the file");
    assert_eq!(append(&mut book(&state, 1 << 20, 4), 1), 5);
    // Files of a few lines, of which three are kept.
    append(&mut book(&state, 2000, 3), 40);
    assert_eq!(files::before(&state.path().join("audit.jsonl")).unwrap().len(), 2);
    let report = report(&state);
    assert!(report.broken.is_none(), "{report:?}");
    assert_eq!(report.files.len(), 3);
    assert!(report.first > 5 && report.last.seq > 45, "{report:?}");
    // An older file that nobody has rotated away is missed.
    fs::remove_file(&report.files[0]).unwrap();
    assert_eq!(broken(&state).0, verify::Flaw::Missing);
}

#[test]
fn a_torn_line_is_taken_off_and_told_and_is_no_tampering() {
    let state = tempfile::tempdir().unwrap();
    append(&mut book(&state, 1 << 20, 4), 3);
    let path = state.path().join("audit.jsonl");
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"{\"seq\":5,\"prev\":\"00").unwrap();
    let torn = report(&state);
    assert!(torn.broken.is_none() && torn.torn == 19, "{torn:?}");
    let mut book = book(&state, 1 << 20, 4);
    assert_eq!(append(&mut book, 1), 6, "one line tells of it");
    assert_eq!(book.take_tampered(), None);
    let report = report(&state);
    assert!(report.broken.is_none() && report.torn == 0 && report.notes.len() == 1, "{report:?}");
}

#[test]
fn the_first_broken_line_is_named() {
    let state = tempfile::tempdir().unwrap();
    append(&mut book(&state, 1 << 20, 4), 9);
    let whole = lines(&state);
    let edited: Vec<String> = whole.iter().map(|line| line.replace("\"seq\":4,", "\"seq\":4, ")).collect();
    replace(&state, &edited);
    assert_eq!(broken(&state), (verify::Flaw::Edited, 4));
    // Sealed anew: then the next line hangs on another.
    let mut link = chain::read(whole[2].as_bytes()).unwrap().link;
    let mut sealed = Vec::new();
    link.seal("{\"message\":\"nothing\"}", &mut sealed);
    let mut resealed = whole.clone();
    resealed[3] = String::from_utf8(sealed).unwrap().trim_end().to_owned();
    replace(&state, &resealed);
    assert_eq!(broken(&state), (verify::Flaw::Edited, 4));
    let mut missing = whole.clone();
    missing.remove(3);
    replace(&state, &missing);
    assert_eq!(broken(&state), (verify::Flaw::Missing, 4));
    let mut reordered = whole.clone();
    reordered.swap(3, 4);
    replace(&state, &reordered);
    assert_eq!(broken(&state), (verify::Flaw::Reordered, 4));
    let mut twice = whole.clone();
    twice.insert(4, whole[3].clone());
    replace(&state, &twice);
    assert_eq!(broken(&state), (verify::Flaw::Reordered, 5));
    replace(&state, &whole[..7]);
    assert_eq!(broken(&state), (verify::Flaw::CutOff, 8));
    replace(&state, &whole[2..]);
    assert_eq!(broken(&state), (verify::Flaw::Missing, 1));
    let mut foreign = whole.clone();
    foreign.insert(5, "hello".to_owned());
    replace(&state, &foreign);
    assert_eq!(broken(&state), (verify::Flaw::Foreign, 6));
    replace(&state, &whole);
    assert!(report(&state).broken.is_none());
}

#[test]
fn what_was_cut_off_while_nobody_looked_stays_missing() {
    let state = tempfile::tempdir().unwrap();
    append(&mut book(&state, 1 << 20, 4), 9);
    let whole = lines(&state);
    replace(&state, &whole[..6]);
    let mut next = book(&state, 1 << 20, 4);
    next.prepare().unwrap();
    let tampered = next.take_tampered().unwrap();
    assert!(tampered.contains("lines 7 to 10 were cut off"), "{tampered}");
    append(&mut next, 1);
    assert_eq!(broken(&state), (verify::Flaw::Missing, 7));
    // Under an agent that runs.
    fs::remove_file(state.path().join("audit.jsonl")).unwrap();
    append(&mut next, 1);
    let broken = report(&state).broken.unwrap();
    assert_eq!(broken.flaw, verify::Flaw::Missing, "{broken:?}");
}

#[test]
fn another_path_goes_on_with_the_chain() {
    let state = tempfile::tempdir().unwrap();
    let last = append(&mut book(&state, 1 << 20, 4), 3);
    let elsewhere = state.path().join("elsewhere/log.jsonl");
    let settings = config::Audit { path: Some(elsewhere.clone()), ..config::Audit::default() };
    let mut other = Book::new(settings, state.path(), Context::new(Arc::new(Naming::Plain)));
    assert_eq!(append(&mut other, 1), last + 2);
    assert_eq!(files::current(state.path()), elsewhere);
    assert!(report(&state).broken.is_none());
}

#[test]
fn a_failure_leaves_the_file_as_it_was() {
    let state = tempfile::tempdir().unwrap();
    let mut book = book(&state, 1 << 20, 4);
    append(&mut book, 2);
    let before = lines(&state);
    // A file that takes nothing.
    let open = book.open.as_mut().unwrap();
    open.file = File::open(state.path().join("audit.jsonl")).unwrap();
    assert!(book.append(&[entry()]).is_err());
    assert_eq!(lines(&state), before);
    book.open = None;
    append(&mut book, 1);
    assert!(report(&state).broken.is_none());
}
