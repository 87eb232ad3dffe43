use super::*;
use crate::decision::{
    Client,
    source::{Ban, Listed, Pressure},
};

fn request() -> Request {
    let client = Client { address: "203.0.113.9".parse().unwrap(), direct: true };
    Request {
        method: "POST".to_owned(),
        host: "api.example.org".to_owned(),
        path: "/login/now".to_owned(),
        headers: [("user-agent".to_owned(), "curl/8.5".to_owned())].into(),
        ..Request::of(client)
    }
}

fn source() -> Source {
    Source {
        listed: Listed::Suspicious,
        lists: ["tor".to_owned(), "cloud".to_owned()].into(),
        ban: Some(Ban { shadow: true, left: None }),
        used: 0.9,
        pressure: Pressure::Soft,
        risk: 12.0,
        ..Source::default()
    }
}

fn holds(text: &str) -> Result<bool, String> {
    let (request, source) = (request(), source());
    let condition = Condition::compile(text)?;
    condition.holds(&Facts { request: &request, source: &source }).map_err(|error| error.to_string())
}

#[test]
fn conditions_see_the_request_and_its_source() {
    for (text, want) in [
        ("true", true),
        ("request.method == 'POST' && request.path.startsWith('/login')", true),
        ("request.host.endsWith('example.com')", false),
        ("request.host in ['api.example.org', 'www.example.org']", true),
        ("request.headers['User-Agent'].contains('curl')", true),
        ("request.headers['x-missing'] == ''", true),
        ("request.headers.missing == ''", true),
        ("'user-agent' in request.headers", true),
        ("'x-missing' in request.headers", false),
        ("request.path.matches('^/[a-z]+/(now|later)$')", true),
        ("matches(request.path, 'logout')", false),
        ("request.consumer == '' && request.tls == ''", true),
        ("inNetwork(request.client, '203.0.113.0/24')", true),
        ("request.client.inNetwork('10.0.0.0/8')", false),
        ("inNetwork(request.host, '10.0.0.0/8')", false),
        ("inNetwork(request.client, '2001:db8::/32')", false),
        ("request.direct", true),
        ("source.listed == 'suspicious' && source.listed != ''", true),
        ("'tor' in source.lists && size(source.lists) == 2", true),
        ("source.lists.exists(l, l.startsWith('clo'))", true),
        ("source.banned || source.over", false),
        ("source.soft && source.used > 0.5 && source.risk >= 12", true),
        ("source.risk > 12.5 ? true : false", false),
    ] {
        assert_eq!(holds(text), Ok(want), "{text}");
    }
}

#[test]
fn what_can_never_be_evaluated_is_an_error_with_a_mend() {
    let deep = format!("{}true{}", "(".repeat(200), ")".repeat(200));
    let long = format!("request.path == '{}'", "x".repeat(BYTES_MAX));
    for (text, want) in [
        ("request.path ==", "at 1:"),
        ("", "at 1:"),
        ("\u{0}", "at 1:"),
        ("request.path", "compare it"),
        ("request.path > 5", "numbers with numbers"),
        ("path == '/'", "only `request` and `source`"),
        ("request.url == '/'", "`request` has no `url`, but method"),
        ("source.score > 1", "`source` has no `score`"),
        ("has(request.headers.foo)", "in request.headers"),
        ("request.path.upper() == 'X'", "no function `upper`"),
        ("request.path.matches('(')", "no regular expression"),
        ("request.path.matches('(a{1000}){1000}')", "no regular expression"),
        ("request.path.matches(request.host)", "written out"),
        ("inNetwork(request.client, 'office')", "no network"),
        ("[1].all(x, [1].all(y, x == y))", "loop inside a loop"),
        ("a.b{c: 1}", "there is no"),
        (&deep, ""),
        (&long, "at most 1024 bytes"),
    ] {
        let error = Condition::compile(text).unwrap_err();
        assert!(error.contains(want), "no `{want}` in `{error}` for `{text}`");
    }
}

#[test]
fn headers_of_conditions_are_known() {
    let text = "request.headers['X-One'] == '' && 'x-two' in request.headers && request.headers.three != ''";
    assert_eq!(Condition::compile(text).unwrap().headers(), ["x-one", "x-two", "three"]);
}

#[test]
fn the_first_rule_that_decides_is_the_last_that_is_asked() {
    let rule = |name: &str, when: &str, then, score, shadow| Rule {
        name: name.into(),
        when: Condition::compile(when).unwrap(),
        then,
        score,
        retry_after: None,
        shadow,
    };
    let rules = [
        rule("broken", "int(request.path) > 1", Some(Verdict::Deny), 0.0, false),
        rule("never", "false", Some(Verdict::Deny), 1.0, false),
        rule("scores", "true", None, 20.0, false),
        rule("shadowed", "true", Some(Verdict::Deny), 100.0, true),
        rule("decides", "true", Some(Verdict::Throttle), 3.0, false),
        rule("late", "true", Some(Verdict::Deny), 1000.0, false),
    ];
    let found = evaluate(&rules, &request(), &source());
    assert_eq!(found.decision, Some(Decision::of(Verdict::Throttle, Why::Rule("decides".into()))));
    assert_eq!(found.would, Some((Verdict::Deny, Why::Rule("shadowed".into()))));
    assert!((found.score - 23.0).abs() < 1e-9);
    assert_eq!(found.failed, [std::sync::Arc::<str>::from("broken")]);
}
