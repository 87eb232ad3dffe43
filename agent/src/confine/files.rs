//! Files, ports and signals: Landlock.
//!
//! A rule holds for a directory and what is below it, whatever is put there later: files are replaced
//! by rename, and ConfigMaps by links. So of a file its directory is named. What is named once cannot be
//! added to; a configuration that reads from elsewhere is refused until the next start.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, Scope, make_bitflags, path_beneath_rules,
};

use crate::{
    app::Places,
    config::{
        Auth, Config, Http, Source,
        l7::{Endpoint, L7, Listen},
    },
};

/// The newest that has been tried. An older kernel leaves out what it does not know.
const NEWEST: ABI = ABI::V6;
/// What looking up names, trusting servers and looking at oneself takes. What is missing is left out.
const SYSTEM: [&str; 26] = [
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/dev/null",
    "/dev/urandom",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/run/systemd/resolve",
    "/run/nscd",
];
/// Whoever changes it puts another file in its place, so that its directory has to be named: below /run
/// with systemd-resolved and its like, /etc as a whole where it is a file there.
const RESOLVERS: &str = "/etc/resolv.conf";
/// With which OpenSSL, and so the agent, is told of roots in other places.
const ROOTS: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Directories, and files that stand alone, that the agent gets at.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    /// Where sockets are, which are removed at the end.
    remove: BTreeSet<PathBuf>,
    /// Landlock holds.
    held: bool,
}

impl Reach {
    /// Returns what an agent with these places and this configuration gets at. Makes directories that it
    /// would write to later, since rules are for what is there.
    #[must_use]
    pub fn new(places: &Places, config: &Config) -> Self {
        let mut reach = Self::default();
        reach.read.extend(SYSTEM.map(PathBuf::from));
        let roots = ROOTS.into_iter().filter_map(env::var_os).map(PathBuf::from);
        let files = reread(config).into_iter().map(|(_, path)| path.to_owned());
        let files = files.chain(read_at_start(config).into_iter().map(Path::to_owned));
        let files = files.chain(roots).chain([RESOLVERS.into()]);
        reach.read.extend(files.flat_map(|path| directories(&path)));
        for directory in written(places, config) {
            // Where it cannot be made it is said when something is to be written.
            _ = fs::create_dir_all(&directory);
            reach.write.insert(directory);
        }
        reach.write.extend(directories(&places.config));
        reach.write.insert(places.pins.all());
        reach.remove.extend(sockets(places, config).into_iter().filter_map(Path::parent).map(Path::to_owned));
        reach
    }

    /// Returns what a configuration wants to read and cannot, with its field; nothing if there is nothing.
    /// What lies where there is no directory is not there, whoever asks, so what `present` wants of it does
    /// not count.
    #[must_use]
    pub fn lacks(&self, config: &Config, present: &Config) -> Option<(String, PathBuf)> {
        let granted: Vec<PathBuf> =
            self.read.iter().chain(&self.write).filter_map(|path| fs::canonicalize(path).ok()).collect();
        let known = reread(present);
        let missing = |path: &Path| {
            let real = real(path);
            (path.parent().is_some_and(Path::exists) || !known.iter().any(|(_, known)| *known == path))
                && !granted.iter().any(|directory| real.starts_with(directory))
        };
        let (field, path) = reread(config).into_iter().find(|(_, path)| self.held && missing(path))?;
        Some((field, path.to_owned()))
    }

    /// Holds the calling thread, and all that it starts, to it.
    pub(super) fn hold(&mut self) -> Result<String, String> {
        let read = AccessFs::from_read(NEWEST) & !AccessFs::Execute;
        let write = read
            | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer});
        let remove: BitFlags<AccessFs> = AccessFs::RemoveFile.into();
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))
            .and_then(|ruleset| ruleset.handle_access(AccessNet::BindTcp))
            .and_then(|ruleset| ruleset.scope(scopes()))
            .and_then(Ruleset::create)
            .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&self.read, read)))
            .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&self.write, write)))
            .and_then(|ruleset| ruleset.add_rules(path_beneath_rules(&self.remove, remove)))
            .and_then(landlock::RulesetCreated::restrict_self)
            .map_err(|error| format!("the kernel refuses it: {error}"))?;
        let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
            return Err("the kernel has none: CONFIG_SECURITY_LANDLOCK, and landlock in `lsm=`".to_owned());
        };
        self.held = true;
        Ok(detail(effective_abi))
    }
}

/// Says what a kernel holds the agent to.
fn detail(abi: ABI) -> String {
    let mut text = format!("version {}: files", abi as i32);
    for (since, what) in [(ABI::V4, "ports"), (ABI::V6, "signals")] {
        if abi >= since {
            _ = write!(text, ", {what}");
        }
    }
    text
}

/// Signals go to nobody else. Sockets without a path belong to others too, unless systemd listens on one.
fn scopes() -> BitFlags<Scope> {
    let systemd = env::var_os("NOTIFY_SOCKET").is_some_and(|path| path.as_encoded_bytes().starts_with(b"@"));
    if systemd { Scope::Signal.into() } else { Scope::Signal | Scope::AbstractUnixSocket }
}

/// Returns the files of a configuration that may be others after a reload, each with its field.
fn reread(config: &Config) -> Vec<(String, &Path)> {
    let mut files: Vec<(String, &Path)> = Vec::new();
    for (i, feed) in config.feeds.iter().enumerate() {
        let mut add = |field: &str, path| files.push((format!("feeds[{i}].{field}"), path));
        let http = match &feed.source {
            Source::File(path) => {
                add("path", path);
                None
            }
            Source::Http(http) | Source::Misp(http) => Some(http),
            Source::Crowdsec(crowdsec) => Some(&crowdsec.http),
            Source::Taxii(taxii) => Some(&taxii.http),
            Source::Networks(_) | Source::Pack(_) | Source::Bgp(_) => None,
        };
        feed.select.tables.iter().for_each(|table| add("tables", table));
        if let Some(Http { auth, ca, client_certificate, .. }) = http {
            if let Auth::Header { file, .. } | Auth::Basic { file, .. } = auth {
                add("http", file);
            }
            if let Some(path) = ca {
                add("http.ca", path);
            }
            if let Some(path) = client_certificate {
                add("http.client_certificate", path);
            }
        }
    }
    let password = config.l7.quotas.redis.as_ref().and_then(|redis| redis.server.password.as_deref());
    files.extend(password.map(|path| ("l7.quotas.redis.password_file".to_owned(), path)));
    files
}

/// Returns the files of a configuration that are named at a start, and read again and again.
fn read_at_start(config: &Config) -> Vec<&Path> {
    let Config { listen, l7: L7 { bouncers, push, fleet, notify, .. }, .. } = config;
    let mut files: Vec<&Path> = bouncers.iter().map(|bouncer| bouncer.key_file.as_path()).collect();
    if let Some(tls) = &listen.control_tls {
        files.extend([tls.certificate.as_path(), &tls.key, &tls.client_ca]);
    }
    if let Some(crowdsec) = &push.crowdsec {
        files.push(&crowdsec.password_file);
        files.extend(crowdsec.ca.as_deref());
    }
    files.extend(fleet.as_ref().and_then(|fleet| fleet.redis.password.as_deref()));
    let targets = notify.alertmanagers.iter().chain(&notify.webhooks);
    files.extend(targets.filter_map(|target| target.secret.as_deref()));
    files
}

/// Returns the directories that are written to.
fn written(places: &Places, config: &Config) -> Vec<PathBuf> {
    let push = &config.l7.push;
    let files = [
        config.audit.path.as_deref(),
        push.envoy_tags.as_deref(),
        push.haproxy.as_ref().map(|haproxy| haproxy.file.as_path()),
        push.nginx.as_ref().map(|nginx| nginx.file.as_path()),
        push.list.as_deref(),
    ];
    let directories = files.into_iter().flatten().filter_map(Path::parent).map(Path::to_owned);
    directories.chain([places.state.clone()]).filter(|directory| *directory != Path::new("/")).collect()
}

fn sockets<'c>(places: &'c Places, config: &'c Config) -> Vec<&'c Path> {
    let Listen { grpc, http, haproxy, lapi, logs } = &config.l7.listen;
    let endpoints = grpc.iter().chain(http).chain(haproxy).chain(lapi).chain(logs);
    let unix = endpoints.filter_map(|endpoint| match endpoint {
        Endpoint::Unix(path) => Some(path.as_path()),
        Endpoint::Tcp(_) => None,
    });
    unix.chain([places.socket.as_deref().unwrap_or(&config.listen.control)]).collect()
}

/// Returns the directories through which a file, or a directory of files, is found: the one in which it
/// is named, and the one to which links lead. A file at the root stands alone.
fn directories(path: &Path) -> Vec<PathBuf> {
    let real = real(path);
    let of = |path: &Path| {
        let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let present = directory.ancestors().find(|directory| directory.exists()).unwrap_or(directory);
        if present == Path::new("/") { path.to_owned() } else { present.to_owned() }
    };
    let named = path.parent().filter(|parent| *parent != Path::new("/"));
    [of(path), of(&real)].into_iter().chain(named.map(Path::to_owned)).collect()
}

/// Returns where links lead, also where the end is missing.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (fs::canonicalize(ancestor), path.strip_prefix(ancestor)) {
            return real.join(rest);
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_reached_through_its_directory_and_through_links() {
        let directory = tempfile::tempdir().unwrap();
        let (etc, srv) = (directory.path().join("etc"), directory.path().join("srv"));
        for path in [&etc, &srv] {
            fs::create_dir(path).unwrap();
        }
        fs::write(srv.join("list"), "").unwrap();
        symlink(srv.join("list"), etc.join("list")).unwrap();
        let found = directories(&etc.join("list"));
        assert!(found.contains(&etc) && found.contains(&srv), "{found:?}");
        // A directory of lists: itself, and the one in which it may be swapped for another.
        assert!(directories(&srv).contains(&srv));
        // One that is not there yet is made in one that is.
        assert!(directories(&srv.join("later/list")).contains(&srv));
        // The root is never named as a whole.
        for path in ["/list", "/absent/list", "/absent"] {
            assert!(!directories(Path::new(path)).contains(&PathBuf::from("/")), "{path}");
        }
    }

    #[test]
    fn a_configuration_that_reads_elsewhere_is_told_apart() {
        let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = |list: &Path| {
            let list = list.display();
            let text =
                format!("interfaces: [{{name: eth0}}]\nfeeds: [{{name: a, path: {list}, action: drop}}]\n");
            Config::parse(Path::new(""), &text).unwrap()
        };
        let inside = config(&directory.path().join("lists/a"));
        let outside = config(&other.path().join("a"));
        let absent = config(Path::new("/absent/a"));
        let read = [directory.path().to_owned()].into();
        let reach = Reach { read, held: true, ..Reach::default() };
        let lacks = |config| reach.lacks(config, &absent);
        let field = || "feeds[0].path".to_owned();
        assert_eq!((lacks(&inside), lacks(&absent)), (None, None));
        assert_eq!(lacks(&outside), Some((field(), other.path().join("a"))));
        assert_eq!(
            reach.lacks(&absent, &inside),
            Some((field(), "/absent/a".into())),
            "it may be there later"
        );
        assert_eq!(Reach { held: false, ..reach }.lacks(&outside, &absent), None, "nothing holds it");
    }
}
