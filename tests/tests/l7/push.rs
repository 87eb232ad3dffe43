use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Instant,
};

use serde_json::{Value, json};
use weir_tests::peers::{self, Program};

use crate::stand::{Stand, wait_until};

const PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
const MANY: u32 = 14_000;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Returns the status that a proxy answers to a client with this address.
fn status(stand: &Stand, client: &str) -> u16 {
    stand.http(PROXY, "GET", "/", &format!("X-Forwarded-For: {client}\r\n"), "").0
}

fn pushed(stand: &Stand, target: &str) -> f64 {
    stand.metric("weir_l7_push_total", &[("target", target), ("result", "ok")])
}

#[test]
fn files_follow_the_bans() {
    let mut stand = Stand::new();
    stand.start("{push: {list: {file: DIR/out/bans.txt}, envoy_tags: {file: DIR/envoy/tags.yaml}}}", "");
    let (list, tags) = (stand.path("out/bans.txt"), stand.path("envoy/tags.yaml"));
    wait_until("there is an empty list", || list.exists() && tags.exists());
    assert_eq!(read(&list), "");
    stand.set(
        r#"{"prefix": "198.51.100.0/30", "action": "ban"}, {"prefix": "198.51.100.2/32", "action": "allow"},
           {"prefix": "2001:db8:7::/48", "action": "ban", "seconds": 3600},
           {"prefix": "203.0.113.7/32", "action": "ban", "shadow": true},
           {"prefix": "203.0.113.8/32", "action": "throttle"}"#,
    );
    wait_until("bans are listed", || read(&list) == "198.51.100.0/31\n198.51.100.3/32\n2001:db8:7::/48\n");
    let want = json!({"ip_tags": [{"ip_tag_name": "weir-ban", "ip_list": [
        {"address_prefix": "198.51.100.0", "prefix_len": 31}, {"address_prefix": "198.51.100.3", "prefix_len": 32},
        {"address_prefix": "2001:db8:7::", "prefix_len": 48}]}]});
    wait_until("Envoy has them", || {
        serde_json::from_str::<Value>(&read(&tags)).is_ok_and(|tags| tags == want)
    });
    assert!((stand.metric("weir_l7_push_entries", &[("target", "list")]) - 3.0).abs() < 0.1);
    stand.lift("198.51.100.0/30");
    wait_until("what is lifted is not", || read(&list) == "2001:db8:7::/48\n");
    fs::remove_file(&list).unwrap();
    wait_until("what is lost is written again", || read(&list) == "2001:db8:7::/48\n");
    // In shadow mode nobody is dropped.
    let config = fs::read_to_string(stand.path("weir.yaml")).unwrap();
    stand.agent.configure(&config.replace("enforce: enforce", "enforce: shadow")).unwrap();
    stand.agent.signal(nix::sys::signal::Signal::SIGHUP).unwrap();
    wait_until("shadow mode has no list", || read(&list).is_empty());
}

#[test]
fn many_changes_are_few_writes() {
    let mut stand = Stand::new();
    stand.start("{push: {list: {file: DIR/bans.txt}}}", "");
    wait_until("it was written", || pushed(&stand, "list") > 0.0);
    let before = pushed(&stand, "list");
    let started = Instant::now();
    stand.ban_many(MANY);
    wait_until("all are listed", || read(&stand.path("bans.txt")).lines().count() == MANY as usize);
    let (writes, took) = (pushed(&stand, "list") - before, started.elapsed());
    println!("{MANY} bans in {took:?}, {writes} writes");
    assert!(writes <= took.as_secs_f64().mul_add(5.0, 2.0), "{writes}");
}

#[test]
fn a_target_that_fails_is_tried_again() {
    let mut stand = Stand::new();
    fs::write(stand.path("in-the-way"), "").unwrap();
    stand.start("{push: {list: {file: DIR/in-the-way/bans.txt}, nginx: {file: DIR/nginx.geo}}}", "");
    stand.ban("198.51.100.7/32", 3600);
    wait_until("the other has it", || read(&stand.path("nginx.geo")) == "198.51.100.7/32 1;\n");
    let failed = [("target", "list"), ("result", "error")];
    wait_until("failures are counted", || stand.metric("weir_l7_push_total", &failed) >= 2.0);
    fs::remove_file(stand.path("in-the-way")).unwrap();
    wait_until("it is tried again", || read(&stand.path("in-the-way/bans.txt")) == "198.51.100.7/32\n");
    assert_eq!(stand.agent.log().matches("cannot give bans").count(), 1, "{}", stand.agent.log());
}

#[test]
fn haproxy_swaps_its_map() {
    let Some(program) = Program::find("haproxy") else {
        return peers::missing("push::haproxy_swaps_its_map", "haproxy");
    };
    let mut stand = Stand::new();
    let d = stand.agent.directory().display().to_string();
    let map = format!("{d}/weir.map");
    stand.agent.write("weir.map", "").unwrap();
    let config = format!(
        "global\n  stats socket {d}/admin.sock mode 600 level admin\ndefaults\n  mode http\n  timeout connect 1s\n  \
         timeout client 5s\n  timeout server 5s\nfrontend f\n  bind {PROXY}\n  \
         http-request return status 429 if {{ hdr_ip(x-forwarded-for),map_ip({map},0) -m int eq 1 }}\n  \
         http-request return status 200\n"
    );
    let config = stand.agent.write("haproxy.cfg", config).unwrap().display().to_string();
    let start = |stand: &Stand| {
        Program::start(
            &stand.pair.server,
            &program,
            &["-db", "-f", &config],
            stand.agent.directory(),
            Some(PROXY),
        )
        .unwrap()
    };
    let haproxy = start(&stand);
    stand.start(
        "{push: {haproxy: {socket: 'unix:DIR/admin.sock', map: DIR/weir.map, file: DIR/weir.map}}}",
        "",
    );
    stand.ban("198.51.100.0/24", 3600);
    wait_until("it is banned", || status(&stand, "198.51.100.7") == 429);
    assert_eq!(status(&stand, "203.0.113.7"), 200);
    let started = Instant::now();
    stand.ban_many(MANY);
    wait_until("all of them are", || status(&stand, "44.0.109.94") == 429);
    println!("{MANY} bans in {:?}", started.elapsed());
    assert_eq!((status(&stand, "44.0.0.2"), status(&stand, "44.0.0.3")), (429, 200));
    // While maps are swapped, somebody who is banned stays so.
    for n in 0..5 {
        stand.ban(&format!("198.18.0.{n}/32"), 3600);
        (0..40).for_each(|_| assert_eq!(status(&stand, "198.51.100.7"), 429));
    }
    stand.lift("198.51.100.0/24");
    wait_until("it is lifted", || status(&stand, "198.51.100.7") == 200);
    // Of the five, four are a prefix together.
    assert_eq!(read(Path::new(&map)).lines().count(), MANY as usize + 2, "the file is for a start");
    // HAProxy that starts with an old file, and one that has gone.
    haproxy.stop().unwrap();
    stand.agent.write("weir.map", "198.51.100.0/24 1\n").unwrap();
    let haproxy = start(&stand);
    wait_until("it is told again", || {
        status(&stand, "44.0.0.2") == 429 && status(&stand, "198.51.100.7") == 200
    });
    haproxy.stop().unwrap();
    stand.ban("203.0.113.7/32", 3600);
    let failed = [("target", "haproxy"), ("result", "error")];
    wait_until("a failure is counted", || stand.metric("weir_l7_push_total", &failed) >= 1.0);
    let _haproxy = start(&stand);
    wait_until("it has what came meanwhile", || status(&stand, "203.0.113.7") == 429);
}

#[test]
fn nginx_includes_its_file() {
    let Some(program) = Program::find("nginx") else {
        return peers::missing("push::nginx_includes_its_file", "nginx");
    };
    let mut stand = Stand::new();
    let d = stand.agent.directory().display().to_string();
    stand.agent.write("weir.geo", "").unwrap();
    let config = format!(
        "pid {d}/nginx.pid;\nerror_log {d}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         client_body_temp_path {d}/t1; proxy_temp_path {d}/t2; fastcgi_temp_path {d}/t3; uwsgi_temp_path {d}/t4; scgi_temp_path {d}/t5;\n  \
         geo $http_x_forwarded_for $banned {{ default 0; include {d}/weir.geo; }}\n  \
         server {{ listen {PROXY}; if ($banned) {{ return 429; }} location / {{ return 200; }} }}\n}}\n"
    );
    let config = stand.agent.write("nginx.conf", config).unwrap().display().to_string();
    let arguments = ["-c", &config, "-e", "stderr", "-g", "daemon off;"];
    let _nginx =
        Program::start(&stand.pair.server, &program, &arguments, stand.agent.directory(), Some(PROXY))
            .unwrap();
    let reload = format!("['{}', '-c', '{config}', '-e', 'stderr', '-s', 'reload']", program.display());
    stand.start(&format!("{{push: {{nginx: {{file: DIR/weir.geo, reload_command: {reload}}}}}}}"), "");
    stand.ban("198.51.100.0/24", 3600);
    wait_until("it is banned", || status(&stand, "198.51.100.7") == 429);
    assert_eq!(status(&stand, "203.0.113.7"), 200);
    stand.ban_many(MANY);
    wait_until("all of them are", || status(&stand, "44.0.109.94") == 429);
    let mut check = Program::command(&stand.pair.server, &program, &["-t", "-c", &config, "-e", "stderr"]);
    let checked = check.output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    stand.lift("198.51.100.0/24");
    wait_until("it is lifted", || status(&stand, "198.51.100.7") == 200);
    assert_eq!(status(&stand, "44.0.0.2"), 429);
}

#[test]
fn envoy_follows_its_file() {
    let Some(program) = Program::find("envoy") else {
        return peers::missing("push::envoy_follows_its_file", "envoy");
    };
    let mut stand = Stand::new();
    stand.start("{push: {envoy_tags: {file: DIR/envoy/tags.yaml}}}", "");
    wait_until("there is a file", || stand.path("envoy/tags.yaml").exists());
    let d = stand.agent.directory().display().to_string();
    let types = "type.googleapis.com/envoy.extensions.filters";
    let tagging = json!({
        "@type": format!("{types}.http.ip_tagging.v3.IPTagging"),
        "request_type": "BOTH",
        "ip_tag_header": {"header": "x-weir-tags", "action": "SANITIZE"},
        "ip_tags_datasource": {"filename": format!("{d}/envoy/tags.yaml"), "watched_directory": {"path": format!("{d}/envoy")}}
    });
    let banned = json!({"prefix": "/", "headers": [{"name": "x-weir-tags", "string_match": {"contains": "weir-ban"}}]});
    let manager = json!({
        "@type": format!("{types}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "x",
        "use_remote_address": true,
        "xff_num_trusted_hops": 1,
        "http_protocol_options": {"accept_http_10": true},
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
            {"match": banned, "direct_response": {"status": 429}},
            {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        ]}]},
        "http_filters": [
            {"name": "envoy.filters.http.ip_tagging", "typed_config": tagging},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": format!("{types}.http.router.v3.Router")}}
        ]
    });
    let config = json!({"static_resources": {"listeners": [{
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": PROXY.port()}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]
    }]}});
    let config = stand.agent.write("envoy.json", config.to_string()).unwrap().display().to_string();
    let arguments = ["-c", &config, "-l", "error", "--disable-hot-restart", "--concurrency", "1"];
    let _envoy =
        Program::start(&stand.pair.server, &program, &arguments, stand.agent.directory(), Some(PROXY))
            .unwrap();
    assert_eq!(status(&stand, "198.51.100.7"), 200);
    stand.ban("198.51.100.0/24", 3600);
    wait_until("it is banned", || status(&stand, "198.51.100.7") == 429);
    assert_eq!(status(&stand, "203.0.113.7"), 200);
    stand.ban_many(MANY);
    wait_until("all of them are", || status(&stand, "44.0.109.94") == 429);
    stand.lift("198.51.100.0/24");
    wait_until("it is lifted", || status(&stand, "198.51.100.7") == 200);
}

#[test]
fn caddy_gets_its_matcher() {
    let Some(program) = Program::find("caddy") else {
        return peers::missing("push::caddy_gets_its_matcher", "caddy");
    };
    let mut stand = Stand::new();
    let respond = |status: u16| json!([{"handler": "static_response", "status_code": status}]);
    let config = json!({
        "admin": {"listen": "127.0.0.1:2019"},
        "apps": {"http": {"servers": {"s": {
            "listen": [PROXY.to_string()],
            "automatic_https": {"disable": true},
            "trusted_proxies": {"source": "static", "ranges": ["127.0.0.0/8"]},
            "routes": [
                {"match": [{"@id": "weir_ban", "client_ip": {"ranges": []}}], "handle": respond(429)},
                {"handle": respond(200)}
            ]
        }}}}
    });
    let config = stand.agent.write("caddy.json", config.to_string()).unwrap().display().to_string();
    let start = |stand: &Stand| {
        let arguments = ["run", "--config", &config];
        Program::start(&stand.pair.server, &program, &arguments, stand.agent.directory(), Some(PROXY))
            .unwrap()
    };
    let caddy = start(&stand);
    stand.start("{push: {caddy: {admin: 'http://127.0.0.1:2019', id: weir_ban, matcher: client_ip}}}", "");
    stand.ban("198.51.100.0/24", 3600);
    wait_until("it is banned", || status(&stand, "198.51.100.7") == 429);
    assert_eq!(status(&stand, "203.0.113.7"), 200);
    stand.ban_many(MANY);
    wait_until("all of them are", || status(&stand, "44.0.109.94") == 429);
    stand.lift("198.51.100.0/24");
    wait_until("it is lifted", || status(&stand, "198.51.100.7") == 200);
    // After a start it has the configuration of before.
    caddy.stop().unwrap();
    let _caddy = start(&stand);
    wait_until("it is told again", || status(&stand, "44.0.0.2") == 429);
}
