use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Location;
use url::{Host, Url};

use super::listen::Endpoint;
use crate::config::{raw::Text, validate::check::Check};

/// Words of a command that is run after a file is written.
const COMMAND_WORDS_MAX: usize = 16;
/// Bytes of a path that HAProxy is told in each command.
const MAP_BYTES_MAX: usize = 255;

/// What is written for proxies that decide by themselves, and who is told of bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Push {
    /// Envoy's filter `ip_tagging`: the file of its tags.
    pub envoy_tags: Option<PathBuf>,
    /// HAProxy.
    pub haproxy: Option<Haproxy>,
    /// nginx.
    pub nginx: Option<Nginx>,
    /// Caddy.
    pub caddy: Option<Caddy>,
    /// A file with a prefix a line.
    pub list: Option<PathBuf>,
    /// A LAPI of `CrowdSec`, which passes bans on to its bouncers.
    pub crowdsec: Option<Crowdsec>,
}

/// A map of HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Haproxy {
    /// Its runtime API, with level admin.
    pub socket: Endpoint,
    /// The map, as HAProxy's configuration names it.
    pub map: String,
    /// The file that HAProxy reads when it starts.
    pub file: PathBuf,
}

/// A file that `geo` of nginx includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nginx {
    /// The file.
    pub file: PathBuf,
    /// Program and arguments that have nginx read it; nothing: somebody else does.
    pub reload_command: Vec<String>,
}

/// A matcher in Caddy's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caddy {
    /// Its admin API.
    pub admin: Url,
    /// The `@id` of the object in which the matcher is.
    pub id: String,
    /// Whose address is compared.
    pub matcher: CaddyMatcher,
}

/// Whose address Caddy compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaddyMatcher {
    /// That of the connection.
    #[default]
    RemoteIp,
    /// That of the client, by what Caddy's trusted proxies say; since Caddy 2.7.
    ClientIp,
}

/// A LAPI, and who the agent is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowdsec {
    /// Its address, without `/v1`.
    pub url: Url,
    /// The name of the machine (`cscli machines add`).
    pub machine: String,
    /// The file with its password.
    pub password_file: PathBuf,
    /// Roots besides those of the system, in PEM.
    pub ca: Option<PathBuf>,
}

/// Bans for proxies that decide by themselves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// The file of Envoy's filter `ip_tagging`.
    envoy_tags: Option<RawFile>,
    /// A map of HAProxy.
    haproxy: Option<RawHaproxy>,
    /// A file for nginx's `geo`.
    nginx: Option<RawNginx>,
    /// A matcher in Caddy's configuration.
    caddy: Option<RawCaddy>,
    /// A list of prefixes, one a line.
    list: Option<RawFile>,
    /// Alerts to a LAPI of CrowdSec.
    crowdsec: Option<RawCrowdsec>,
}

/// A file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawFile {
    /// The path of the file.
    #[schemars(extend("x-type" = "path"))]
    file: Text,
}

/// A map of HAProxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawHaproxy {
    /// Its runtime API: `unix:` and a path, or an address and port.
    #[schemars(extend("x-type" = "endpoint"))]
    socket: Text,
    /// The map, as HAProxy calls it.
    #[schemars(extend("x-type" = "text"))]
    map: Text,
    /// The file of the map, for restarts.
    #[schemars(extend("x-type" = "path"))]
    file: Text,
}

/// A file for nginx's `geo`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawNginx {
    /// The path of the file.
    #[schemars(extend("x-type" = "path"))]
    file: Text,
    /// What makes nginx read it, program and arguments.
    #[serde(default)]
    #[schemars(extend("x-type" = "text"))]
    reload_command: Vec<Text>,
}

/// A matcher in Caddy's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCaddy {
    /// The URL of its admin API; `http` for loopback and private addresses only.
    #[schemars(extend("x-type" = "url"))]
    admin: Text,
    /// The `@id` of the object in which the matcher is.
    #[schemars(extend("x-type" = "text"))]
    id: Text,
    /// Whose address is compared.
    #[serde(default)]
    #[schemars(extend("default" = "remote_ip"))]
    matcher: CaddyMatcher,
}

/// A LAPI of CrowdSec that gets alerts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCrowdsec {
    /// Its URL, without `/v1`; `http` for loopback and private addresses only.
    #[schemars(extend("x-type" = "url"))]
    url: Text,
    /// The name of this machine there.
    #[schemars(extend("x-type" = "text"))]
    machine: Text,
    /// The file with its password.
    #[schemars(extend("x-type" = "path"))]
    password_file: Text,
    /// A PEM file with roots that are trusted besides those of the system.
    #[schemars(extend("x-type" = "path"))]
    ca: Option<Text>,
}

pub(super) fn validate(check: &mut Check, raw: Raw) -> Push {
    let Raw { envoy_tags, haproxy: proxy, nginx: web, caddy: server, list, crowdsec: lapi } = raw;
    Push {
        envoy_tags: envoy_tags.map(|raw| check.path("l7.push.envoy_tags.file", &raw.file)),
        haproxy: proxy.and_then(|raw| haproxy(check, &raw)),
        nginx: web.map(|raw| nginx(check, &raw)),
        caddy: server.and_then(|raw| caddy(check, &raw)),
        list: list.map(|raw| check.path("l7.push.list.file", &raw.file)),
        crowdsec: lapi.and_then(|raw| crowdsec(check, &raw)),
    }
}

fn haproxy(check: &mut Check, raw: &RawHaproxy) -> Option<Haproxy> {
    let map = &raw.map.value;
    // It stands in commands, which end at a semicolon or a line, and whose words end at a blank.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-#@+".contains(c);
    if map.is_empty() || map.len() > MAP_BYTES_MAX || !map.chars().all(plain) {
        let message = format!("`{map}` cannot be told to HAProxy: letters, digits and / . _ - # @ +");
        check.problem(raw.map.referenced, "l7.push.haproxy.map", message);
    }
    let file = check.path("l7.push.haproxy.file", &raw.file);
    let socket = check.parse("l7.push.haproxy.socket", &raw.socket)?;
    Some(Haproxy { socket, map: map.clone(), file })
}

fn nginx(check: &mut Check, raw: &RawNginx) -> Nginx {
    let field = "l7.push.nginx.reload_command";
    if let Some(program) = raw.reload_command.first()
        && !program.value.starts_with('/')
    {
        let message = format!("`{}` is no absolute path of a program; no shell looks for it", program.value);
        check.problem(program.referenced, field, message);
    }
    if let Some(word) = raw.reload_command.get(COMMAND_WORDS_MAX) {
        check.problem(word.referenced, field, format!("more than {COMMAND_WORDS_MAX} words"));
    }
    if let Some(word) = raw.reload_command.iter().find(|word| word.value.contains('\0')) {
        check.problem(word.referenced, field, "a word has a NUL in it, which no argument may have");
    }
    Nginx {
        file: check.path("l7.push.nginx.file", &raw.file),
        reload_command: raw.reload_command.iter().map(|word| word.value.clone()).collect(),
    }
}

fn caddy(check: &mut Check, raw: &RawCaddy) -> Option<Caddy> {
    let id = &raw.id.value;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.is_empty() || !id.chars().all(plain) {
        let message = format!("`{id}` is no name for `@id`: letters, digits, - and _");
        check.problem(raw.id.referenced, "l7.push.caddy.id", message);
    }
    let admin = url(check, "l7.push.caddy.admin", &raw.admin)?;
    Some(Caddy { admin, id: id.clone(), matcher: raw.matcher })
}

fn crowdsec(check: &mut Check, raw: &RawCrowdsec) -> Option<Crowdsec> {
    if raw.machine.value.is_empty() {
        check.problem(raw.machine.referenced, "l7.push.crowdsec.machine", "has no name");
    }
    let password_file = check.path("l7.push.crowdsec.password_file", &raw.password_file);
    let ca = raw.ca.as_ref().map(|ca| check.path("l7.push.crowdsec.ca", ca));
    let url = url(check, "l7.push.crowdsec.url", &raw.url)?;
    Some(Crowdsec { url, machine: raw.machine.value.clone(), password_file, ca })
}

/// A server to which something secret or mighty is said: by TLS, or inside.
fn url(check: &mut Check, field: &str, text: &Text) -> Option<Url> {
    let mut problem = |at: Location, message: &str| {
        check.problem(at, field, format!("`{}`: {message}", text.value));
        None
    };
    let Ok(url) = Url::parse(&text.value) else {
        return problem(text.referenced, "is no URL; write one like http://127.0.0.1:2019");
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return problem(text.referenced, "has a user or a query; leave them out");
    }
    match url.scheme() {
        "https" => Some(url),
        "http" if inside(&url) => Some(url),
        "http" => problem(text.referenced, "is not protected; use https, or an address inside"),
        _ => problem(text.referenced, "is not spoken here; use https"),
    }
}

fn inside(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => v4.is_loopback() || v4.is_private(),
        Some(Host::Ipv6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, ConfigError};

    fn parse(l7: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("weir.yaml"), &format!("interfaces: [{{name: eth0}}]\nl7: {l7}\n"))
    }

    #[test]
    fn what_is_pushed_is_read() {
        let config = parse(
            "{bouncers: [{name: nginx, key_file: /etc/weir/nginx.key}], push: {envoy_tags: {file: /run/weir/envoy/tags.yaml}, \
             haproxy: {socket: 'unix:/run/haproxy/admin.sock', map: /etc/haproxy/weir.map, file: /etc/haproxy/weir.map}, \
             nginx: {file: /etc/nginx/weir.geo, reload_command: [/usr/sbin/nginx, -s, reload]}, \
             caddy: {admin: 'http://127.0.0.1:2019', id: weir_ban}, list: {file: /run/weir/bans.txt}, \
             crowdsec: {url: 'https://lapi.example', machine: gw-1, password_file: /etc/weir/gw-1}}}",
        );
        let config = config.unwrap();
        assert_eq!(config.l7.bouncers[0].name, "nginx");
        assert_eq!(config.l7.push.nginx.unwrap().reload_command.len(), 3);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (l7, field) in [
            ("{bouncers: [{name: a, key_file: x}]}", "l7.bouncers[0].key_file"),
            ("{bouncers: [{name: a, key_file: /x}, {name: a, key_file: /y}]}", "l7.bouncers[1].name"),
            ("{push: {list: {file: bans.txt}}}", "l7.push.list.file"),
            (
                "{push: {nginx: {file: /x, reload_command: ['nginx -s reload']}}}",
                "l7.push.nginx.reload_command",
            ),
            ("{push: {haproxy: {socket: 'unix:/x', map: '/a;b', file: /x}}}", "l7.push.haproxy.map"),
            ("{push: {caddy: {admin: 'http://example.org', id: x}}}", "l7.push.caddy.admin"),
            ("{push: {caddy: {admin: 'http://127.0.0.1:1', id: ../x}}}", "l7.push.caddy.id"),
            (
                "{push: {crowdsec: {url: 'http://198.51.100.7', machine: a, password_file: /x}}}",
                "l7.push.crowdsec.url",
            ),
            (
                "{push: {crowdsec: {url: 'https://u:p@x.example', machine: a, password_file: /x}}}",
                "l7.push.crowdsec.url",
            ),
            ("{push: {kafka: {}}}", "kafka"),
        ] {
            let error = parse(l7).unwrap_err().to_string();
            assert!(error.contains(field), "{l7}: {error}");
        }
    }
}
