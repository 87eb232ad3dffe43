use super::{Action, Author, Profile, Rule, Wanted};

/// Returns a ban that somebody wants until it is lifted.
pub(crate) fn wanted(prefix: &str) -> Wanted {
    Wanted {
        prefix: prefix.parse().unwrap(),
        action: Action::Ban,
        profile: Profile::default(),
        shadow: false,
        lasts: None,
        note: "why".to_owned(),
        by: Author::Operator,
        proxy_only: false,
    }
}

/// Returns a ban in the book.
pub(crate) fn rule(prefix: &str) -> Rule {
    Rule {
        prefix: prefix.parse().unwrap(),
        action: Action::Ban,
        profile: None,
        shadow: false,
        since: 1,
        until: None,
        note: "why".to_owned(),
        by: Author::Operator,
        proxy_only: false,
    }
}
