use std::{
    io::Write as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use weir_tests::{
    agent::Agent,
    metrics::Metrics,
    peers::{Program, missing},
};

use crate::{
    http,
    stand::{BANNED, Stand},
};

/// As Prometheus 2.42 asks.
const PROMETHEUS: &str = "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";

fn fetch(stand: &Stand, headers: &str) -> http::Answer {
    let answer = http::ask(&stand.pair.server, Agent::METRICS, "GET", "/metrics", headers, "").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[test]
fn both_formats_say_the_same_and_promtool_finds_no_fault() {
    let stand = Stand::new();
    stand.rule(&format!("{BANNED}/32"), "ban", "by hand");
    stand.traffic();
    let classic = fetch(&stand, "");
    assert_eq!(classic.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let open = fetch(&stand, PROMETHEUS);
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.body.ends_with("\n# EOF\n"));
    let names = |text: &str| {
        let metrics = Metrics::parse(text).unwrap();
        metrics.iter().map(|(series, _)| series.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&classic.body), names(&open.body));

    let metrics = Metrics::parse(&classic.body).unwrap();
    assert_eq!(metrics.count("weir_packets_total", &[("verdict", "drop"), ("reason", "feed")]), 50);
    assert_eq!(metrics.count("weir_class_packets_total", &[("lists", "feed bad"), ("verdict", "drop")]), 50);
    assert_eq!(metrics.count("weir_packets_total", &[("verdict", "drop"), ("reason", "ban")]), 20);
    assert!(metrics.count("weir_feed_bytes_total", &[("feed", "bad"), ("verdict", "drop")]) >= 50 * 32);
    assert!(metrics.count("weir_limit_bytes_total", &[("limit", "per-source"), ("verdict", "drop")]) > 0);
    let (build, _) = metrics.series("weir_build_info").next().unwrap();
    assert!(!build.labels["kernel"].is_empty() && !build.labels["abi"].is_empty(), "{build}");
    assert_eq!(metrics.count("weir_table_entries", &[("table", "rules")]), 1);
    assert_eq!(metrics.count("weir_table_capacity", &[("table", "buckets")]), 8 << 17);
    assert!(metrics.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(metrics.sum("process_start_time_seconds", &[]) > 1e9);
    assert!(metrics.sum("weir_policy_applied_timestamp_seconds", &[]) > 1e9);
    assert!(metrics.sum("weir_config_reload_success_timestamp_seconds", &[]) > 1e9);

    let Some(promtool) = Program::find("promtool") else { return missing("promtool", "promtool") };
    let mut command = Program::command(&stand.pair.server, &promtool, &["check", "metrics"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(classic.body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Buckets that owe are counted, and the page takes no longer for that.
#[test]
fn pages_are_quick_and_buckets_are_estimated() {
    let stand = Stand::new();
    stand.traffic();
    let mut took: Vec<Duration> = (0..20)
        .map(|_| {
            let started = Instant::now();
            fetch(&stand, PROMETHEUS);
            // So that not one busy moment of the machine is all that is measured.
            let took = started.elapsed();
            thread::sleep(Duration::from_millis(20));
            took
        })
        .collect();
    took.sort();
    // Of a build without optimizations, on a machine that others use: five times what is promised.
    assert!(took[0] < Duration::from_millis(50), "{took:?}");
    let metrics = stand.agent.metrics().unwrap();
    assert!(metrics.sum("weir_scrape_duration_seconds", &[]) < 0.5);
    assert!(metrics.sum("weir_buckets_full_lines_ratio", &[]) <= 1.0);
}
