use serde::Serialize;
use weir_common::verdict::Reason;

use super::{Explanation, RuleFound};
use crate::{
    api::risk,
    config::FeedAction,
    output::{date, duration},
};

/// Something that would change what happens to an address, or will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mend {
    /// The command that does it, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What it does, or what has to be done.
    pub what: String,
}

impl Mend {
    fn by(command: String, what: impl Into<String>) -> Self {
        Self { command: Some(command), what: what.into() }
    }

    fn note(what: impl Into<String>) -> Self {
        Self { command: None, what: what.into() }
    }
}

/// Returns what would change the verdict, the nearest first.
pub(super) fn mends(it: &Explanation) -> Vec<Mend> {
    let mut mends = Vec::new();
    if let Some(protected) = it.protected {
        mends.push(Mend::note(format!(
            "no list and no ban cuts it off ({protected}); that is said in the configuration, or by the host itself"
        )));
        return mends;
    }
    if it.reason == Reason::Management.as_str() {
        mends.push(Mend::note(
            "everybody gets to a management port: `management.ports` of the configuration has it",
        ));
        return mends;
    }
    if it.shadow && it.verdict == "would_drop" {
        mends.push(Mend::note("nothing is dropped until the configuration says `enforce: enforce`"));
    }
    for rule in it.rule.iter().chain(&it.proxy_rule) {
        lift(&mut mends, rule);
    }
    lists(&mut mends, it);
    for bucket in it.limits.iter().filter(|bucket| bucket.over) {
        let again = duration(bucket.admitted_in);
        mends.push(Mend::note(format!("limit {} admits it again after {again} of silence", bucket.limit)));
    }
    if let Some(risk) = &it.agent.risk {
        risky(&mut mends, risk);
    }
    let banned = it.rule.iter().chain(&it.proxy_rule).any(|rule| rule.does == "ban");
    let over = it.limits.iter().any(|bucket| bucket.over);
    if it.verdict == "pass" && it.rule.is_none() && !banned {
        mends.push(Mend::by(format!("weir ban {}", it.address), "bans it"));
    }
    if it.verdict != "pass" || over {
        let what = match it.verdict {
            "would_drop" => "lets it pass, in shadow mode or not",
            _ if it.lists.is_empty() => "lets it pass",
            _ => "lets it pass, whatever lists say",
        };
        mends.push(Mend::by(format!("weir allow {}", it.address), what));
    }
    mends
}

fn lift(mends: &mut Vec<Mend>, rule: &RuleFound) {
    let what = match rule.does {
        "ban" => "lifts the ban",
        "allow" => "takes back that it is allowed",
        _ => "gives it back its pace",
    };
    match &rule.book {
        Some(book) => mends.push(Mend::by(format!("weir unban {}", book.prefix), what)),
        None => {
            mends
                .push(Mend::note("`weir unban PREFIX` lifts the rule; the state directory does not know it"));
        }
    }
    if let Some(seconds) = rule.seconds_left {
        #[expect(clippy::cast_precision_loss, reason = "ten years at most")]
        let left = duration(seconds as f64);
        mends.push(Mend::note(format!("the {} ends by itself in {left}", rule.does)));
    }
}

fn lists(mends: &mut Vec<Mend>, it: &Explanation) {
    for list in &it.lists {
        let Some(feed) = &list.feed else { continue };
        if !matches!(feed.action, FeedAction::Drop | FeedAction::Suspicious) {
            continue;
        }
        let mut ways = vec!["add it to `allow`".to_owned()];
        if let Some(score) = feed.min_score {
            ways.push(format!("raise `min_score` of the feed, now {score}"));
        }
        if !feed.shadow {
            ways.push("set the feed to `enforce: shadow`".to_owned());
        }
        mends.push(Mend::note(format!("it is in feed {}: {}", feed.name, ways.join(", or "))));
        if let Some(until) = list.until {
            mends.push(Mend::note(format!(
                "its entry of feed {} ends by itself at {}",
                feed.name,
                date(until)
            )));
        }
        if let Some(seconds) = feed.lapses_in {
            #[expect(clippy::cast_precision_loss, reason = "a ttl is some days")]
            let left = duration(seconds as f64);
            mends.push(Mend::note(format!("feed {} lapses in {left} unless it is confirmed", feed.name)));
        }
    }
}

fn risky(mends: &mut Vec<Mend>, risk: &risk::View) {
    if risk.risk >= risk.challenge_at {
        mends.push(Mend::note(format!(
            "its risk of {:.0} fades by itself; below {:.0} its requests are no longer challenged",
            risk.risk, risk.challenge_at
        )));
    }
}
