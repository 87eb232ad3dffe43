use super::{
    READER, TRIES,
    street::{CDN, CUSTOMER, OFFICE, SCRAPER, Street},
};

/// A bot behind the CDN that says what it is.
const BAD_BOT: &str = "203.0.113.77";
/// Requests that a partner may send at once, as the street's configuration has it.
const BURST: usize = 5;
/// Pages that a client may read at once, likewise.
const PAGES: usize = 20;

/// Plays them with any proxy: what is noted of them comes from questions alone.
pub(crate) fn play(street: &Street) {
    partner(street);
    scraper(street);
    bad_bot(street);
    for honest in [CUSTOMER, OFFICE] {
        assert_eq!(street.status(honest, "/items", None), 200, "{honest}: {}", street.why());
    }
}

/// A partner has a quota, whatever address it comes from, and is told of it. Others have theirs.
fn partner(street: &Street) {
    let ask = |from, key| street.ask_with(from, "/items", &[("x-api-key", key)]).unwrap();
    for number in 0..BURST {
        let from = if number % 2 == 0 { CUSTOMER } else { OFFICE };
        assert_eq!(ask(from, "gold").status, 200, "{number}: {}", street.why());
    }
    let refused = ask(CUSTOMER, "gold");
    assert_eq!(refused.status, 429, "{refused:?}: {}", street.why());
    // 20 an hour: one in three minutes.
    let after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((100..=180).contains(&after), "{refused:?}");
    let (limit, policy) = (refused.header("ratelimit"), refused.header("ratelimit-policy"));
    assert!(limit.is_some_and(|value| value.starts_with("\"api/consumer\";r=0;t=")), "{refused:?}");
    assert_eq!(policy, Some("\"api/consumer\";q=20;w=3600"), "{refused:?}");
    assert_eq!(ask(CUSTOMER, "silver").status, 200, "{}", street.why());
    assert_eq!(street.status(CUSTOMER, "/items", None), 200, "{}", street.why());
}

/// A customer reads some pages; a scraper reads all it can get, and does not stop when it is told to.
/// In the end its packets are dropped.
fn scraper(street: &Street) {
    let read = |from, page| street.ask(from, &format!("/catalogue?page={page}"), None);
    for page in 0..PAGES / 2 {
        assert_eq!(read(CUSTOMER, page).unwrap().status, 200, "{}", street.why());
    }
    let mut refused = 0;
    let banned = (0..TRIES).any(|page| {
        let got = read(SCRAPER, page);
        match got.as_ref().map_or(0, |got| got.status) {
            200 => assert!(page < PAGES, "page {page}: {}", street.why()),
            429 | 403 => refused += 1,
            _ => {}
        }
        got.is_err()
    });
    assert!(banned && refused > 0, "{refused} of {TRIES} refused: {}", street.why());
    street.wait_for_ban(&SCRAPER.to_string(), false);
    assert_eq!(read(CUSTOMER, PAGES).unwrap().status, 200, "{}", street.why());
}

/// A rule knows a bot by what it says. It is refused, then banned at the proxy, whatever it says then.
/// Who else comes by the CDN is not.
fn bad_bot(street: &Street) {
    let ask = |client, agent| {
        let headers = [("x-forwarded-for", client), ("user-agent", agent)];
        street.ask_with(CDN, "/items", &headers).unwrap().status
    };
    for _ in 0..5 {
        assert_eq!(ask(BAD_BOT, "BadBot/1.0"), 403, "{}", street.why());
    }
    street.wait_for_ban(BAD_BOT, true);
    assert_eq!(ask(BAD_BOT, "Mozilla/5.0"), 403, "{}", street.why());
    assert_eq!(ask(READER, "Mozilla/5.0"), 200, "{}", street.why());
}
