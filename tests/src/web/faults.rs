//! All that a server of lists can do wrong.

use std::time::Duration;

use super::{Answer, Body};

/// A fault, and how the agent must tell of it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// In words.
    pub what: &'static str,
    /// What the server answers.
    pub answer: Answer,
    /// The cause that the agent names.
    pub cause: &'static str,
    /// A word of its message.
    pub word: String,
}

impl Fault {
    /// Returns a fault.
    #[must_use]
    pub fn new(what: &'static str, answer: Answer, cause: &'static str, word: &str) -> Self {
        Self { what, answer, cause, word: word.to_owned() }
    }
}

/// Returns what can go wrong with the list of a feed, at the path of its name: `list` makes one of so
/// many entries, and `whole` are in force. The feed must wait for 2 s and take 8 MiB at most.
pub fn faults(feed: &str, whole: usize, list: impl Fn(usize) -> String) -> Vec<Fault> {
    let page = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head></html>\n".repeat(20);
    let (drip, pause) = (list(whole).into_bytes(), Duration::from_millis(500));
    let noise = "a line of something else\n".repeat(whole);
    let accept = format!("weir feeds accept {feed}");
    let claim = 2 * whole;
    vec![
        Fault::new("empty", Answer::ok(""), "empty", "can_be_empty"),
        Fault::new("comments only", Answer::ok("# moved\n; moved\n"), "empty", &accept),
        Fault::new(
            "everything",
            Answer::ok(format!("{}0.0.0.0/0\n", list(whole))),
            "vast",
            "no list of offenders",
        ),
        Fault::new("lost 60 %", Answer::ok(list(whole * 2 / 5)), "shrink", &accept),
        Fault::new("grew 15 times", Answer::ok(list(15 * whole)), "growth", &accept),
        Fault::new(
            "cut short",
            Answer::ok(format!("# Entries : {claim} subnets, {claim} unique IPs\n{}", list(whole))),
            "truncated",
            &accept,
        ),
        Fault::new("of another format", Answer::ok(noise), "garbled", "not in its format"),
        Fault::new("a page", Answer::ok(page).header("Content-Type", "text/html"), "html", "HTML page"),
        Fault::new("gone", Answer::status(404), "status", "404"),
        Fault::new("broken", Answer::status(500), "status", "500"),
        Fault::new(
            "endless",
            Answer::ok("").body(Body::Endless(b"198.51.100.7\n".repeat(1000))),
            "size",
            "guards.bytes",
        ),
        Fault::new("slow", Answer::ok("").body(Body::Drip(drip, 16, pause)), "timeout", "http.timeout"),
        Fault::new("silent", Answer::ok("").body(Body::Hang), "timeout", "http.timeout"),
        Fault::new(
            "cut off",
            Answer::ok("").body(Body::Cut(list(whole * 7 / 10).into(), 100 * whole)),
            "protocol",
            "breaks off",
        ),
        Fault::new("redirects for ever", Answer::redirect(302, format!("/{feed}")), "redirect", "5 times"),
        Fault::new(
            "redirects inside",
            Answer::redirect(302, "http://127.0.0.1:9646/metrics"),
            "address",
            "http.private",
        ),
        Fault::new("redirects elsewhere", Answer::redirect(302, "file:///etc/passwd"), "redirect", "nowhere"),
    ]
}
