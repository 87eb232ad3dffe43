//! A real Alertmanager and a webhook are told what is wrong, and when it is over.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::signal::Signal;
use weir_tests::{
    agent::{Agent, binary},
    namespace::{Namespace, Pair},
    patience,
    peers::{Program, lay_over, missing},
    web::{Answer, Server},
};

const ALERTMANAGER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9093);
/// How long it may take until somebody knows.
const SECONDS: u64 = 15;

struct Stand {
    agent: Agent,
    pair: Pair,
    webhook: Server,
    config: String,
    directory: tempfile::TempDir,
    alertmanager: Option<Program>,
}

impl Stand {
    fn new() -> Result<Option<Self>> {
        let pair = Pair::new()?;
        let directory = tempfile::Builder::new().prefix("notify-").tempdir()?;
        let webhook = Server::start(Some(&pair.server))?;
        webhook.answer("/hook", Answer::ok("taken"));
        let mut agent = Agent::new(binary()?, &pair.server)?;
        let secret = agent.write("secret", "s3cret\n")?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let list = agent.write("list", addresses(100))?;
        let config = format!(
            "enforce: enforce
interfaces: [{{name: {}}}]
feeds: [{{name: bad, path: {}, action: drop}}]
listen: {{metrics: {}}}
l7:
  notify:
    alertmanagers: [{{url: 'http://{ALERTMANAGER}'}}]
    webhooks: [{{url: '{}', secret_file: {}}}]
    timeout: 2s
",
            Pair::INTERFACE,
            list.display(),
            Agent::METRICS,
            webhook.url("/hook"),
            secret.display(),
        );
        agent.configure(&config)?;
        agent.start()?;
        let mut stand = Self { agent, pair, webhook, config, directory, alertmanager: None };
        Ok(stand.start_alertmanager()?.then_some(stand))
    }

    fn start_alertmanager(&mut self) -> Result<bool> {
        let Some(program) = Program::find("prometheus-alertmanager") else { return Ok(false) };
        // Its templates are looked for where Debian's package has them.
        lay_over(&self.pair.server, "usr/share")?;
        let config = self.directory.path().join("alertmanager.yml");
        fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")?;
        let (config, storage) = (config.display(), self.directory.path().display());
        let arguments = [
            format!("--config.file={config}"),
            format!("--storage.path={storage}"),
            format!("--web.listen-address={ALERTMANAGER}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let arguments = arguments.each_ref().map(String::as_str);
        let server = &self.pair.server;
        self.alertmanager =
            Some(Program::start(server, &program, &arguments, self.directory.path(), Some(ALERTMANAGER))?);
        Ok(true)
    }

    /// Waits until Alertmanager has exactly these alerts.
    fn wait_for(&self, expected: &[&str]) {
        let deadline = Instant::now() + patience::seconds(SECONDS);
        loop {
            let text = self.alerts();
            let names = text.matches("\"alertname\"").count();
            if names == expected.len() && expected.iter().all(|name| text.contains(name)) {
                return;
            }
            assert!(Instant::now() < deadline, "{expected:?}, but {text}\n{}", self.agent.log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn alerts(&self) -> String {
        let server = Namespace::clone(&self.pair.server);
        let answer = server.run(|| {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(ALERTMANAGER)?;
            stream.write_all(b"GET /api/v2/alerts?active=true HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        });
        answer.unwrap_or_default()
    }

    /// Returns all that the webhook was told.
    fn told(&self) -> String {
        let asked = self.webhook.asked("/hook").into_iter();
        asked.map(|(request, _)| String::from_utf8_lossy(&request.body).into_owned() + "\n").collect()
    }

    fn wait_for_webhook(&self, part: &str) {
        let deadline = Instant::now() + patience::seconds(SECONDS);
        while !self.told().contains(part) {
            assert!(Instant::now() < deadline, "no {part} in {}\n{}", self.told(), self.agent.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn addresses(count: u32) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        _ = writeln!(text, "{}", Ipv4Addr::from(0xc633_6400 + n));
        text
    })
}

#[test]
fn alertmanager_and_a_webhook_hear_what_is_wrong_and_when_it_is_over() {
    let Some(mut stand) = Stand::new().unwrap() else { return missing("notify", "prometheus-alertmanager") };
    stand.wait_for(&[]);
    // A configuration that is none.
    stand.agent.configure("enforce: perhaps\n").unwrap();
    stand.agent.signal(Signal::SIGHUP).unwrap();
    stand.wait_for(&["WeirReloadRefused"]);
    stand.wait_for_webhook(r#""kind":"configuration_refused","state":"firing""#);
    stand.agent.configure(&stand.config).unwrap();
    stand.agent.signal(Signal::SIGHUP).unwrap();
    stand.wait_for(&[]);
    stand.wait_for_webhook(r#""kind":"configuration_refused","state":"resolved""#);
    let (first, _) = stand.webhook.asked("/hook").remove(0);
    assert!(first.header("x-weir-signature").starts_with("sha256="), "{first:?}");

    // A list that shrinks, until somebody accepts it.
    stand.agent.write("list", addresses(3)).unwrap();
    stand.wait_for(&["WeirFeedHeld"]);
    assert!(stand.alerts().contains("\"subject\":\"bad\""), "{}", stand.alerts());
    assert!(stand.agent.weir(&["feeds", "accept", "bad"]).unwrap().status.success());
    stand.wait_for(&[]);

    // An interface that goes and comes back, while Alertmanager is away for a while.
    drop(stand.alertmanager.take());
    stand.pair.client.ip("link del eth0").unwrap();
    stand.wait_for_webhook(r#""kind":"interface_lost","state":"firing""#);
    stand.start_alertmanager().unwrap();
    stand.wait_for(&["WeirInterfaceNotAttached"]);
    stand.pair.server.ip("link add eth0 type veth peer name other\nlink set eth0 up\n").unwrap();
    stand.wait_for(&[]);
    assert!(
        stand.agent.metrics().unwrap().count("weir_notify_deliveries_total", &[("result", "failed")]) > 0
    );
}
