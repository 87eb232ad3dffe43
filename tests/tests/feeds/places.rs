use std::{net::Ipv4Addr, process::Stdio};

use nix::sys::signal::Signal;
use weir_tests::{agent::Agent, namespace::Pair, process::Process, volume::Volume, web::Server};

use super::stand::{
    self, CLEAN, LISTED, OTHER, PACKETS, deliver, entries, held, refresh, said, started, value, wait,
};

fn web(server: &Server, name: &str, more: &str) -> String {
    let url = server.url(&format!("/{name}"));
    format!(
        "{{name: {name}, url: '{url}', action: drop, interval: 1s, http: {{insecure: true, private: true}}{more}}}"
    )
}

/// A list that names the host itself and its way out, alone and as part of a network.
#[test]
fn what_the_host_needs_is_not_cut_off() {
    let pair = Pair::new().unwrap();
    let (gateway, own) = (Pair::CLIENT.v4, Pair::SERVER.v4);
    pair.server.ip(&format!("route add default via {gateway}")).unwrap();
    let server = Server::start(Some(&pair.server)).unwrap();
    server.list("/list", format!("{LISTED}\n"));
    let agent = started(&pair, &[&web(&server, "list", "")]);
    wait(&agent, "the list", |agent| entries(agent, "list") == 1);
    let all = [LISTED, gateway, own, CLEAN];
    assert_eq!(deliver(&pair, &all), [0, PACKETS, PACKETS, PACKETS]);
    for (list, clean) in [(format!("{gateway}\n{own}\n"), PACKETS), ("192.0.2.0/24\n".to_owned(), 0)] {
        server.list("/list", format!("{LISTED}\n{list}"));
        let published = value(&agent, "weir_policy_publications_total", &[]);
        refresh(&agent, "list");
        wait(&agent, "it is in force", |agent| {
            value(agent, "weir_policy_publications_total", &[]) > published
        });
        // In the list of the feed are both, and neither is in force.
        assert_eq!(deliver(&pair, &all), [0, PACKETS, PACKETS, clean], "{list}");
        let status = said(&agent, &["status"]);
        // Each entry once.
        let conflict = |(address, what)| status.contains(&format!("meets {address}/32 ({what})"));
        let protected = [(gateway, "gateway"), (own, "own address")];
        let conflicts = protected.into_iter().filter(|one| conflict(*one)).count();
        assert_eq!(conflicts, list.lines().count(), "{status}");
        for (address, what) in protected {
            let told = said(&agent, &["explain", &address.to_string()]);
            assert!(told.contains(what) && told.contains("pass"), "{told}");
        }
        assert!(agent.log().contains("must not be cut off"), "{}", agent.log());
    }
}

/// The one file of a volume.
const FILE: &str = "list.txt";

#[test]
fn a_config_map_is_swapped_under_the_agent() {
    let pair = Pair::new().unwrap();
    let mut agent = stand::agent(&pair);
    let [second, third, fourth] = [8, 9, 10].map(|n| Ipv4Addr::new(198, 51, 100, n));
    let mut by_file = Volume::new(agent.directory().join("file"), &[(FILE, &format!("{LISTED}\n"))]).unwrap();
    let mut by_directory =
        Volume::new(agent.directory().join("directory"), &[(FILE, &format!("{OTHER}\n"))]).unwrap();
    let feeds = [
        format!("{{name: file, path: {}, action: drop}}", by_file.path().join(FILE).display()),
        format!("{{name: directory, path: {}, action: drop}}", by_directory.path().display()),
    ];
    agent.configure(&stand::config(&feeds.each_ref().map(String::as_str))).unwrap();
    agent.start().unwrap();
    let all = [LISTED, OTHER, second, third, fourth, CLEAN];
    assert_eq!(deliver(&pair, &all), [0, 0, PACKETS, PACKETS, PACKETS, PACKETS]);
    by_file.swap(&[(FILE, &format!("{second}\n"))]).unwrap();
    by_directory.swap(&[(FILE, &format!("{third}\n{fourth}\n"))]).unwrap();
    // Well before anybody would look at them of his own accord.
    wait(&agent, "both are new", |_| deliver(&pair, &all) == [PACKETS, PACKETS, 0, 0, 0, PACKETS]);
    // Back at once, one swap upon the other: the last one counts.
    for list in [OTHER, CLEAN, LISTED] {
        by_file.swap(&[(FILE, &format!("{list}\n"))]).unwrap();
        by_directory.swap(&[(FILE, &format!("{list}\n{second}\n"))]).unwrap();
    }
    wait(&agent, "the last ones", |_| deliver(&pair, &all) == [0, PACKETS, 0, PACKETS, PACKETS, PACKETS]);
    // One that is emptied by accident stays.
    by_file.swap(&[(FILE, "")]).unwrap();
    wait(&agent, "it is refused", |agent| held(agent, "file"));
    assert_eq!(deliver(&pair, &all), [0, PACKETS, 0, PACKETS, PACKETS, PACKETS]);
    by_file.swap(&[(FILE, &format!("{OTHER}\n"))]).unwrap();
    wait(&agent, "it goes on", |_| deliver(&pair, &all) == [0, 0, 0, PACKETS, PACKETS, PACKETS]);
    assert!(!held(&agent, "file") && !held(&agent, "directory"), "{}", agent.log());
}

#[test]
fn a_configuration_in_a_config_map_is_taken_up_too() {
    const CONFIG: &str = "weir.yaml";
    let pair = Pair::new().unwrap();
    let agent = stand::agent(&pair);
    let volume = agent.directory().join("volume");
    let feed = format!("{{name: list, path: {}, action: drop}}", volume.join(FILE).display());
    let config = |enforce: &str| stand::config(&[&feed]).replace("enforce: enforce", enforce);
    let list = format!("{LISTED}\n");
    let first = config("enforce: shadow");
    let mut map = Volume::new(volume.clone(), &[(CONFIG, &first), (FILE, &list)]).unwrap();
    let mut command = agent.command(&["run", "--watch"]);
    command.env("WEIR_CONFIG", volume.join(CONFIG)).stdout(Stdio::null()).stderr(Stdio::null());
    let _process = Process::spawn(command).unwrap();
    wait(&agent, "it is ready", |agent| matches!(agent.get("/readyz"), Ok((200, _))));
    assert_eq!(deliver(&pair, &[LISTED, OTHER]), [PACKETS; 2]);
    map.swap(&[(CONFIG, &config("enforce: enforce")), (FILE, &list)]).unwrap();
    wait(&agent, "it is enforced", |_| deliver(&pair, &[LISTED, OTHER]) == [0, PACKETS]);
    let reloads = |result| value(&agent, "weir_config_reloads_total", &[("result", result)]);
    let bad = config("enforce: perhaps");
    map.swap(&[(CONFIG, &bad), (FILE, &list)]).unwrap();
    wait(&agent, "it is refused", |_| reloads("refused") == 1);
    // A change beside it does not have it refused once more.
    map.swap(&[(CONFIG, &bad), (FILE, &format!("{LISTED}\n{OTHER}\n"))]).unwrap();
    wait(&agent, "the list is in force", |_| deliver(&pair, &[LISTED, OTHER]) == [0, 0]);
    assert_eq!((reloads("refused"), reloads("ok")), (1, 1));
    map.swap(&[(CONFIG, &first), (FILE, &list)]).unwrap();
    wait(&agent, "it drops nothing", |_| deliver(&pair, &[LISTED, OTHER]) == [PACKETS; 2]);
}

#[test]
fn a_proxy_is_what_the_configuration_says_and_not_the_environment() {
    let pair = Pair::new().unwrap();
    let [server, proxy] = [(); 2].map(|()| Server::start(Some(&pair.server)).unwrap());
    server.list("/list", format!("{LISTED}\n"));
    proxy.list(&server.url("/list"), format!("{LISTED}\n{OTHER}\n"));
    let mut agent = stand::agent(&pair);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        agent = agent.with_variable(name, proxy.url(""));
    }
    agent.configure(&stand::config(&[&web(&server, "list", "")])).unwrap();
    agent.start().unwrap();
    wait(&agent, "the list", |agent| entries(agent, "list") == 1);
    wait(&agent, "asked more than once", |_| server.count("/list", 304) > 1);
    assert_eq!(proxy.requests(), 0);
    assert_eq!(deliver(&pair, &[LISTED, OTHER]), [0, PACKETS]);

    let through = web(&server, "list", "")
        .replace("private: true", &format!("private: true, proxy: '{}'", proxy.url("")));
    agent.configure(&stand::config(&[&through])).unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait(&agent, "the list of the proxy", |agent| entries(agent, "list") == 2);
    assert_eq!(deliver(&pair, &[LISTED, OTHER]), [0, 0]);
}

const CSV: &str = "# scanners of the day\r
\"first_seen\",\"kind\",\"src_ip\",\"confidence\"\r
\"2026-11-24\",\"ssh\",\"198.51.100.7\",\"95\"\r
\"2026-11-24\",\"ssh\",\"198.51.100.8\",\"79\"\r
\"2026-11-24\",\"web\",\"198.51.100.9\",\"95\"\r
\"2026-11-24\",\"ssh, telnet\",\"203.0.113.0/28\",\"80\"\r
";

const JSON: &str = r#"{"syncToken": "1", "prefixes": [
    {"ip_prefix": "198.51.100.16/30", "service": "A"},
    {"ip_prefix": "198.51.100.32/30", "service": "B"},
    {"ipv6_prefix": "2001:db8::/48", "service": "A"}]}"#;

#[test]
fn columns_and_keys_have_names() {
    let pair = Pair::new().unwrap();
    let server = Server::start(Some(&pair.server)).unwrap();
    let serve = |path: &str, text: &str| server.list(path, text);
    serve("/csv", CSV);
    serve("/json", JSON);
    let csv = ", format: {csv: {address: src_ip, score: confidence, category: kind}}, min_score: 80, categories: [ssh]";
    let json = ", format: {json: {items: /prefixes/*, address: [ip_prefix, ipv6_prefix], category: service}}, categories: [a]";
    let agent = started(&pair, &[&web(&server, "csv", csv), &web(&server, "json", json)]);
    wait(&agent, "both", |agent| entries(agent, "csv") == 2 && entries(agent, "json") == 2);
    let last = |n| Ipv4Addr::new(198, 51, 100, n);
    let check = |agent: &Agent| {
        let sources = [last(7), last(8), last(9), OTHER, last(17), last(33)];
        assert_eq!(deliver(&pair, &sources), [0, PACKETS, PACKETS, 0, 0, PACKETS], "{}", agent.log());
    };
    check(&agent);
    for (feed, left_out) in [("csv", 2), ("json", 1)] {
        let labels = [("feed", feed), ("cause", "unselected")];
        assert_eq!(value(&agent, "weir_feed_rejected", &labels), left_out, "{feed}");
    }
    // A column that is called something else is no list of nothing.
    for (feed, text, word) in [
        ("csv", CSV.replace("src_ip", "source"), "no column `src_ip`"),
        ("json", JSON.replace("\"prefixes\"", "\"networks\""), "has no entries"),
    ] {
        serve(&format!("/{feed}"), &text);
        let told = refresh(&agent, feed);
        assert!(told.contains(word), "{told}");
        wait(&agent, "it is held", |agent| held(agent, feed));
    }
    check(&agent);
    // Entries come and go, in another order of columns.
    let other = "kind,confidence,src_ip\nssh,100,198.51.100.8\nssh,100,203.0.113.0/28\n";
    serve("/csv", other);
    wait(&agent, "the other order", |agent| {
        !held(agent, "csv") && deliver(&pair, &[last(7), last(8), OTHER, CLEAN]) == [PACKETS, 0, 0, PACKETS]
    });
}
