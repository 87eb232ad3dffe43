use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use weir_tests::{
    agent::{Agent, binary},
    control::Control,
    frame::Frame,
    namespace::Pair,
    wire::Wire,
};

use crate::http;

pub(crate) const LISTED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const BANNED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
pub(crate) const CLEAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// Who sends nothing.
pub(crate) const QUIET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
pub(crate) const STATUS: SocketAddr = at(9647);
const AUTH: SocketAddr = at(9650);

/// What somebody might write to see whether pages escape it.
pub(crate) const HOSTILE: &str =
    "<img src=x onerror=\"document.title='owned'\"></td><script>alert(1)</script>&amp;";

/// Returns a port of the loopback.
pub(crate) const fn at(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// An agent with everything that is counted.
pub(crate) struct Stand {
    pub(crate) agent: Agent,
    pub(crate) pair: Pair,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let pair = Pair::new().unwrap();
        let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
        let list = agent.write("bad.netset", list(40)).unwrap();
        let directory = agent.directory().display().to_string();
        let config = format!(
            "enforce: enforce
interfaces: [{{name: eth0}}]
services: [{{name: https, ports: [443/tcp, 443/udp]}}]
feeds: [{{name: bad, path: {}, format: plain, action: drop}}]
limits: [{{name: per-source, service: https, packets: {{rate: 10/s, burst: 20}}}}]
listen: {{metrics: {}, status: {STATUS}}}
tables: {{limiter: 8MiB}}
l7:
  listen: {{http: ['{AUTH}'], logs: ['{}'], lapi: ['{}']}}
  rules:
    - {{name: admin, when: \"request.path.startsWith('/admin')\", then: deny}}
  routes: [{{name: all, quotas: [{{domain: api, entries: [client]}}]}}]
  quotas:
    domains: [{{domain: api, descriptors: [{{key: client, limits: [{{requests: 2, per: minute}}]}}]}}]
  push: {{list: {{file: {directory}/bans.txt}}}}
  fleet: {{redis: 'redis://127.0.0.1:1', name: gw-1}}
",
            list.display(),
            Agent::METRICS,
            at(9653),
            at(9652),
        );
        agent.configure(&config).unwrap();
        agent.start().unwrap();
        Self { agent, pair }
    }

    /// Sends what is dropped, what is over a limit, and what passes; and asks as a proxy.
    pub(crate) fn traffic(&self) {
        let wire = self.pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
        for (source, port, packets) in
            [(LISTED, 443, 50), (BANNED, 443, 20), (CLEAN, 443, 60), (CLEAN, 53, 30)]
        {
            let frame = Frame::new().ipv4(source, Pair::SERVER.v4).udp(4000, port).payload(b"weir").build();
            (0..packets).for_each(|_| wire.send(&frame).unwrap());
        }
        for path in ["/", "/admin", "/", "/", "/"] {
            let headers =
                format!("X-Forwarded-Method: GET\r\nX-Forwarded-Uri: {path}\r\nX-Real-IP: {CLEAN}\r\n");
            let page = "/v1/auth?deny=403&peer=x-real-ip";
            let answer = http::ask(&self.pair.server, AUTH, "GET", page, &headers, "").unwrap();
            assert!(answer.status < 500, "{answer:?}");
        }
    }

    /// Sets a rule as the control API takes it.
    pub(crate) fn rule(&self, prefix: &str, action: &str, note: &str) {
        let body = serde_json::json!({"action": action, "seconds": 3600, "note": note}).to_string();
        let mut control = Control::connect(&self.agent.socket()).unwrap();
        let (status, body) = control.request("PUT", &format!("/v1/rules/{prefix}"), &body).unwrap();
        assert_eq!(status, 200, "{body}");
    }
}

/// A list of so many addresses, with [`LISTED`] among them.
pub(crate) fn list(count: u32) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        _ = writeln!(text, "{}", Ipv4Addr::from(u32::from(LISTED) + n));
        text
    })
}
