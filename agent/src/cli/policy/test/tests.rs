use super::*;

const EXAMPLE: &str = include_str!("../../../../../config/policy-cases.yaml");

/// The configuration that the example is about, as it shows it itself.
fn config() -> Config {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#| "));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    Config::parse(Path::new("weir.yaml"), &text).unwrap()
}

fn suite(text: &str) -> Suite {
    cases::parse_text(Path::new("cases.yaml"), text).unwrap()
}

fn tested(text: &str) -> Tested {
    // No test asks a server for a list.
    let own = if text.contains("lists:") { "" } else { "lists: {bad: []}\n" };
    let suite = suite(&format!("{own}{text}"));
    let compiled = compile(&config(), &suite, Path::new("/nonexistent")).unwrap();
    let cases = rows(&mut Native::new(&compiled).unwrap(), &suite, &compiled).unwrap();
    let ok = cases.iter().all(|row| row.ok);
    Tested { ok, file: "cases.yaml".into(), config: "weir.yaml".into(), judge: "native", cases }
}

#[test]
fn the_example_comes_as_expected() {
    let tested = tested(EXAMPLE);
    assert!(tested.ok, "{}", text(&tested));
    assert!(tested.cases.len() >= 18);
}

#[test]
fn what_comes_otherwise_is_told_with_its_place() {
    let other = EXAMPLE.replacen("verdict: drop, reason: 'feed:bad'", "verdict: pass, reason: clean", 1);
    let tested = tested(&other);
    assert!(!tested.ok);
    let line = other.lines().position(|line| line.contains("a listed source is dropped")).unwrap() + 1;
    let text = text(&tested);
    let want = format!(
        "cases.yaml:{line}: a listed source is dropped: expected verdict pass, reason clean; got verdict drop, \
         reason feed:bad"
    );
    assert!(text.contains(&want), "{text}");
    assert!(text.contains("18 cases, 1 not as expected"), "{text}");
}

#[test]
fn cases_do_not_depend_on_those_before() {
    let case = |name: &str| {
        format!(
            "  - {{name: {name}, packet: {{src: 203.0.113.9, dport: 443}}, repeat: 60, expect: {{admitted: 50}}}}\n"
        )
    };
    let text = format!("cases:\n{}{}", case("one"), case("two"));
    assert!(tested(&text).ok);
}

#[test]
fn admitted_counts_are_compared() {
    let wrong = |expected: &str| {
        let text = format!(
            "cases: [{{name: x, packet: {{src: 203.0.113.9, dport: 443}}, repeat: 60, expect: {{admitted: {expected}}}}}]"
        );
        tested(&text).cases[0].expected.join("")
    };
    assert_eq!(wrong("50"), "");
    assert_eq!(wrong("{min: 50}"), "");
    assert_eq!(wrong("{max: 50}"), "");
    assert_eq!(wrong("49"), "49 admitted");
    assert_eq!(wrong("{min: 51}"), "at least 51 admitted");
    assert_eq!(wrong("{max: 49}"), "0 to 49 admitted");
}

#[test]
fn a_wrong_file_is_an_error_with_its_line() {
    let error = |text: &str| cases::parse_text(Path::new("c.yaml"), text).unwrap_err().to_string();
    let case = |fields: &str| error(&format!("cases:\n  - name: x\n    {fields}\n"));
    let expect = "expect: {verdict: drop}";
    for (error, wants) in [
        (error("cases: []"), &["c.yaml", "no cases"][..]),
        (error("cases: ["), &["c.yaml"]),
        (error("lists: {bad: [10.0.0.0/33]}\ncases: [{name: x}]"), &["line 1", "lists.bad", "10.0.0.0/33"]),
        (case("packet: {src: 192.0.2.1}"), &["line 2", "cases[0]", "missing"]),
        (
            case(&format!("packet: {{source: 192.0.2.1}}\n    {expect}")),
            &["c.yaml:3:", "cases[0].packet.source", "unknown field"],
        ),
        (case(&format!("packet: {{src: 192.0.2}}\n    {expect}")), &["c.yaml"]),
        (case(&format!("packet: {{dport: 1}}\n    {expect}")), &["packet.src: is missing"]),
        (
            case(&format!("packet: {{src: 192.0.2.1, dst: '::1'}}\n    {expect}")),
            &["packet.dst", "same family"],
        ),
        (
            case(&format!("packet: {{src: 192.0.2.1, proto: carp}}\n    {expect}")),
            &["packet.proto: `carp`", "tcp"],
        ),
        (
            case(&format!("packet: {{src: 192.0.2.1, flags: sin}}\n    {expect}")),
            &["packet.flags: `sin`", "syn"],
        ),
        (case(&format!("packet: {{src: 192.0.2.1, proto: udp, flags: syn}}\n    {expect}")), &["only TCP"]),
        (case(&format!("packet: {{src: 192.0.2.1, len: 20}}\n    {expect}")), &["packet.len: 20", "54"]),
        (case(&format!("packet: {{src: 192.0.2.1, vlan: 4096}}\n    {expect}")), &["packet.vlan: 4096"]),
        (case(&format!("packet: {{frame: 0x}}\n    {expect}")), &["packet.frame", "two digits"]),
        (case(&format!("packet: {{frame: '00', ttl: 1}}\n    {expect}")), &["packet.frame: stands alone"]),
        (case("packet: {src: 192.0.2.1}\n    expect: {}"), &["expect: nothing"]),
        (case(&format!("packet: {{src: 192.0.2.1}}\n    repeat: 0\n    {expect}")), &["line 4", "repeat: 0"]),
        (
            case(&format!("packet: {{src: 192.0.2.1}}\n    every: soon\n    {expect}")),
            &["line 4", "every: `soon`"],
        ),
        (
            case(
                "packet: {src: 192.0.2.1}\n    steps: [{repeat: 9, every: 1s, expect: {verdict: drop}}, {at: 5s, expect: {verdict: drop}}]",
            ),
            &["line 4", "begins before"],
        ),
        (
            case(&format!("packet: {{src: 192.0.2.1}}\n    {expect}\n    steps: [{{{expect}}}]")),
            &["with `steps`"],
        ),
    ] {
        for want in wants {
            assert!(error.contains(want), "no {want:?} in {error}");
        }
    }
    let unknown =
        suite("lists: {good: []}\ncases: [{name: x, packet: {src: 192.0.2.1}, expect: {verdict: pass}}]");
    let error = compile(&config(), &unknown, Path::new("/nonexistent")).unwrap_err().to_string();
    assert!(error.contains("lists.good") && error.contains("bad"), "{error}");
    for (reason, want) in [("feed:nope", "`nope` for `feed:`, but [\"bad\""), ("limit:x", "`x` for `limit:`")]
    {
        let expect = format!("{{reason: '{reason}'}}");
        let text = format!("cases:\n- {{name: x, packet: {{src: 192.0.2.1}}, expect: {expect}}}\n");
        let error = compile(&config(), &suite(&text), Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("cases.yaml: line 2") && error.contains(want), "{error}");
    }
}

/// Frames of all shapes are what they say, in the eyes of the parser of the kernel.
#[test]
fn packets_are_frames() {
    use weir_common::packet::{Fragment, Kind, Packet, parse};
    let parsed = |packet: &str| {
        let suite = suite(&format!("cases: [{{name: x, packet: {packet}, expect: {{verdict: pass}}}}]"));
        let mut facts = Packet::UNKNOWN;
        parse(&suite.cases[0].steps[0].frame.as_slice(), &mut facts);
        assert_eq!((facts.kind, facts.defect), (Kind::Ip, None), "{packet}");
        facts
    };
    for source in ["192.0.2.9", "'2001:db8::9'"] {
        let with = |rest: &str| parsed(&format!("{{src: {source}{rest}}}"));
        let tcp = with(", sport: 7, dport: 443, flags: syn, ttl: 3");
        assert_eq!((tcp.protocol, tcp.source_port, tcp.destination_port, tcp.flags), (6, 7, 443, 2));
        assert!(tcp.opens_connection() && tcp.hop_limit == 3);
        assert_eq!(with(", flags: syn+ack").flags, 18);
        let udp = with(", proto: udp, dport: 53, len: 500, vlan: [5, 6]");
        assert_eq!((udp.protocol, udp.destination_port, udp.length), (17, 53, 500));
        assert_eq!(with(", proto: 47").protocol, 47);
        assert_eq!(with(", proto: sctp, dport: 9").destination_port, 9);
        assert!(with(", proto: icmp, type: 3").is_control());
        let first = with(", proto: udp, dport: 53, fragment: first");
        assert_eq!((first.fragment, first.destination_port), (Fragment::First, 53));
        let later = with(", proto: udp, fragment: later");
        assert_eq!((later.fragment, later.destination_port, later.protocol), (Fragment::Later, 0, 17));
    }
}
