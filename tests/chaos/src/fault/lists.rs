//! Servers of lists: the last good list stays in force, and other feeds go on.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use weir_tests::web::{Answer, faults};

use super::process;
use crate::stand::Stand;

// Kinds of [`faults::faults`].
pub(super) const DOWN: &[&str] = &["gone", "broken", "silent", "cut off"];
pub(super) const EMPTY: &[&str] = &["empty", "comments only"];
pub(super) const POISONED: &[&str] =
    &["everything", "lost 60 %", "grew 15 times", "cut short", "of another format", "a page"];
pub(super) const HUGE: &[&str] = &["endless"];
pub(super) const SLOW: &[&str] = &["slow"];
pub(super) const ELSEWHERE: &[&str] = &["redirects for ever", "redirects inside", "redirects elsewhere"];

/// Has the list go wrong in one of these ways.
pub(super) fn wrong(stand: &mut Stand, kinds: &[&str]) -> Result<String> {
    let what = kinds[stand.random.usize(..kinds.len())];
    let listed = stand.sources.listed.len();
    let mut all = faults::faults("ipsum", listed, |entries| stand.list_of(entries)).into_iter();
    let kind = all.find(|kind| kind.what == what).context("no such fault")?;
    stand.lists.answer("/ipsum", kind.answer);
    let told = stand.agent.weir(&["feeds", "refresh", "ipsum", "-o", "json"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
    let cause = format!("\"{}\"", kind.cause);
    ensure!(told.contains(&cause) && told.contains(&kind.word), "{what}: not told: {told}");
    stand.wait("the list is held", |metrics, _| {
        metrics.count("weir_feed_held", &[("feed", "ipsum"), ("cause", kind.cause)]) == 1
    })?;
    stand.unchanged()?;
    let reads = |feed| {
        Ok::<_, anyhow::Error>(stand.agent.metrics()?.count("weir_feed_reads_total", &[("feed", feed)]))
    };
    let before = reads("steady")?;
    _ = stand.agent.weir(&["feeds", "refresh", "steady"])?;
    stand.wait_until("the other list goes on", || reads("steady").is_ok_and(|reads| reads > before))?;
    Ok(what.to_owned())
}

pub(super) fn killed_without(stand: &mut Stand) -> Result<String> {
    for path in ["/ipsum", "/steady"] {
        stand.lists.answer(path, Answer::status(503));
    }
    stand.agent.kill()?;
    stand.pause(0, 300);
    process::start_and_adopt(stand)?;
    stand.wait("both lists are held", |metrics, _| metrics.count("weir_feed_held", &[]) == 2)?;
    stand.unchanged()?;
    Ok("503".to_owned())
}

impl Stand {
    /// Returns a text with so many entries, those of the list first.
    fn list_of(&self, entries: usize) -> String {
        let more = (0_u32..).map(|n| std::net::Ipv4Addr::from(0x2c00_0000 + 2 * n));
        let all = self.sources.listed.iter().copied().chain(more);
        all.take(entries).fold(String::new(), |mut text, address| {
            _ = writeln!(text, "{address}");
            text
        })
    }
}
