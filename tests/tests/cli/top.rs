use std::{env, process::Command, time::Duration};

use nix::sys::signal::Signal;
use weir_tests::{agent::Agent, namespace::Pair};

use crate::{BANNED, CLEAN, LISTED, has, json, send, send_paced, started, terminal::Terminal, text, weir};

/// Runs something while `per_second` frames a second come from each source.
fn under<T>(
    pair: &Pair,
    sources: &[std::net::Ipv4Addr],
    per_second: u32,
    lasts: Duration,
    work: impl FnOnce() -> T,
) -> T {
    std::thread::scope(|scope| {
        scope.spawn(|| send_paced(pair, sources, per_second, lasts));
        std::thread::sleep(Duration::from_millis(500));
        work()
    })
}

#[test]
fn once_tells_rates_and_the_sources_of_them() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    weir(&agent, &["ban", "203.0.113.7"]);
    let it = under(&pair, &[LISTED, BANNED, LISTED], 2000, Duration::from_secs(5), || {
        json(&agent, &["top", "--once", "--delay", "2s"])
    });
    let near = |value: &serde_json::Value, wanted: f64| {
        let value = value.as_f64().unwrap();
        assert!((0.7 * wanted..1.3 * wanted).contains(&value), "{value}, not {wanted}: {it}");
    };
    near(&it["rates"]["drop"], 6000.0);
    // Three in four of the packets are not in the sample, and are estimated.
    let sources = it["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2, "{it}");
    assert_eq!(
        (&sources[0]["source"], &sources[0]["by"]),
        (&"198.51.100.7".into(), &"feed bad".into()),
        "{it}"
    );
    near(&sources[0]["packets_per_second"], 4000.0);
    near(&sources[1]["packets_per_second"], 2000.0);
    let feed = &it["feeds"][0];
    assert_eq!(&feed["feed"], "bad");
    near(&feed["rates"]["drop"], 4000.0);
    let interface = it["interfaces"].as_array().unwrap().iter().find(|it| it["interface"] == "eth0").unwrap();
    near(&interface["rates"]["drop"], 6000.0);
    has(&weir(&agent, &["top", "--once", "-d", "200ms"]), &["REASON", "feed", "ban", "INTERFACE", "eth0"]);

    // Without an agent there are no sources, and the rest is there.
    agent.kill().unwrap();
    let it = under(&pair, &[CLEAN], 200, Duration::from_secs(3), || json(&agent, &["top", "--once"]));
    assert!(it["without_sources"].as_str().unwrap().contains("no agent answers"), "{it}");
    let limit = &it["limits"][0];
    assert!(limit["dropped_per_second"].as_f64().unwrap() > 100.0, "{it}");
    weir(&agent, &["unload"]);
    let output = agent.weir(&["top", "--once"]).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn without_a_terminal_it_says_what_works() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    let output = agent.weir(&["top"]).unwrap();
    assert_eq!(output.status.code(), Some(64));
    has(&text(&output), &["needs a terminal", "--once"]);
}

fn top(agent: &Agent) -> Terminal {
    Terminal::run(agent.command(&["top", "-d", "200ms"]), 24, 100)
}

#[test]
fn an_operator_finds_filters_explains_and_bans() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    let mut top = top(&agent);
    top.wait_for("enforce  agent runs");
    under(&pair, &[LISTED, CLEAN], 500, Duration::from_secs(12), || {
        top.wait_for("198.51.100.7");
        top.wait_for("192.0.2.77");
        top.keys("/192.0\r");
        top.wait("the other is filtered out", |screen| !screen.contents().contains("198.51.100.7"));
        top.wait_for("limit per-source");
        top.keys("e");
        top.wait_for("over limit per-source");
        top.keys("x");
        top.keys("b");
        top.wait_for("ban 192.0.2.77 for 10m_");
        top.keys("\u{7f}\u{7f}\u{7f}5m\r");
        top.wait_for("banned 192.0.2.77");
        // What comes from there is dropped for another reason now.
        top.wait("the ban is seen", |screen| {
            screen.contents().lines().any(|line| line.contains("192.0.2.77") && line.contains("ban"))
        });
    });
    has(&weir(&agent, &["bans"]), &["192.0.2.77/32", "operator", "from weir top", " 4m "]);
    top.keys("\t");
    top.wait_for("REASON");
    top.wait_for("BYTES/S");
    top.keys("?");
    top.wait_for("next section");
    top.keys("qq");
    assert!(top.ended_as_before().success());
}

#[test]
fn the_terminal_is_given_back_at_a_signal() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut top = top(&agent);
        top.wait("it is drawn", |screen| {
            screen.alternate_screen() && screen.contents().contains("agent runs")
        });
        top.signal(signal);
        assert!(top.ended_as_before().success(), "{signal}");
    }
}

#[test]
fn it_goes_on_without_an_agent_and_without_a_program() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    send(&pair, LISTED, 53, 3);
    let mut top = top(&agent);
    top.wait_for("agent runs");
    agent.kill().unwrap();
    top.wait_for("no agent; the kernel enforces on");
    top.wait_for("no sources: no agent answers");
    weir(&agent, &["unload"]);
    top.wait_for("weir is not loaded");
    agent.start().unwrap();
    top.wait_for("enforce  agent runs");
    top.keys("\u{3}");
    assert!(top.ended_as_before().success());
}

const PANICS: &str = "WEIR_TEST_PANICS";

/// Run by the test below, in a terminal.
#[test]
fn panics_with_the_screen() {
    if env::var_os(PANICS).is_some() {
        let mut screen = weir::top::Screen::open().unwrap();
        screen.draw(|_| {}).unwrap();
        panic!("on purpose");
    }
}

#[test]
fn the_terminal_is_given_back_at_a_panic() {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "top::panics_with_the_screen", "--nocapture"]).env(PANICS, "1");
    // It would fill the screen.
    command.env_remove("RUST_BACKTRACE");
    let mut terminal = Terminal::run(command, 24, 100);
    assert!(!terminal.ended_as_before().success());
    // To be read where the shell goes on.
    terminal.wait_for("on purpose");
}
