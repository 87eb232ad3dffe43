use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{
    api::peer::{Peer, Role},
    config::ControlTls,
};

/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_secs(1);
/// Certificates are not larger.
const PEM_BYTES_MAX: u64 = 4 << 20;
/// What the file of the key may permit: its owner to read and write, its group to read.
const KEY_MODE_MAX: u32 = 0o640;

/// What tells a file from itself before a change: inode, time of change in seconds and nanoseconds.
type Stamp = Option<(u64, i64, i64)>;

/// What is shown to clients, and asked of them; read anew when the files change.
#[derive(Debug)]
pub(super) struct Certificates {
    config: Arc<ServerConfig>,
    stamps: [Stamp; 3],
    looked: Instant,
}

impl Certificates {
    pub(super) fn load(settings: &ControlTls) -> io::Result<Self> {
        let stamps = stamps(settings);
        Ok(Self { config: Arc::new(load(settings)?), stamps, looked: Instant::now() })
    }

    /// Returns what holds for the next connection. Files that cannot be used change nothing.
    pub(super) fn current(&mut self, settings: &ControlTls) -> Arc<ServerConfig> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let stamps = stamps(settings);
            if stamps != self.stamps {
                self.stamps = stamps;
                match load(settings) {
                    Ok(config) => {
                        self.config = Arc::new(config);
                        tracing::info!("the certificates of listen.control_tls are read anew");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the certificates of listen.control_tls stay as they were");
                    }
                }
            }
        }
        Arc::clone(&self.config)
    }
}

fn stamps(settings: &ControlTls) -> [Stamp; 3] {
    [&settings.certificate, &settings.key, &settings.client_ca].map(|path| {
        let about = fs::metadata(path).ok()?;
        Some((about.ino(), about.mtime(), about.mtime_nsec()))
    })
}

fn load(settings: &ControlTls) -> io::Result<ServerConfig> {
    let ControlTls { certificate, key: key_file, client_ca, .. } = settings;
    let mut roots = RootCertStore::empty();
    for root in certificates(client_ca)? {
        roots.add(root).map_err(|error| unusable(client_ca, &error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.build().map_err(|error| unusable(client_ca, &error))?;
    let text = read(key_file)?;
    if fs::metadata(key_file)?.mode() & 0o777 & !KEY_MODE_MAX != 0 {
        tracing::warn!(file = %key_file.display(), "others may read this key; chmod 640 it");
    }
    // What is wrong with a key is not told in the words of the parser, which may quote it.
    let key =
        PrivateKeyDer::from_pem_slice(&text).map_err(|_| unusable(key_file, &"no key in PEM is there"))?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(certificates(certificate)?, key).map_err(|error| {
        unusable(certificate, &format!("{error}; it must be that of {}", key_file.display()))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unusable(path, &error))?;
    if found.is_empty() {
        return Err(unusable(path, &"has no certificate; write it in PEM"));
    }
    Ok(found)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path).map_err(|error| unusable(path, &error))?;
    if !about.is_file() || about.len() > PEM_BYTES_MAX {
        return Err(unusable(path, &"is no file of certificates or keys"));
    }
    fs::read(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

/// Returns who has a certificate, and what they may do: more of two names counts. Nothing: it has no
/// name.
pub(super) fn peer_of(certificate: &CertificateDer<'_>, settings: &ControlTls) -> Option<Peer> {
    let names = names(certificate)?;
    let of = |role, list: &std::collections::BTreeSet<String>| {
        let name = names.iter().find(|name| list.contains(*name))?.clone();
        Some(Peer::Remote { name, role })
    };
    of(Role::Writer, &settings.writers).or_else(|| of(Role::Reader, &settings.readers)).or_else(|| {
        let name = names.first()?.chars().filter(|c| !c.is_control()).take(255).collect();
        Some(Peer::Remote { name, role: Role::None })
    })
}

/// Returns the names of a certificate: common name, DNS names, URIs, mail addresses.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.map(str::to_owned).collect();
    if let Ok(Some(others)) = certificate.subject_alternative_name() {
        let text = |name: &GeneralName<'_>| {
            let (GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name)) = name
            else {
                return None;
            };
            Some((*name).to_owned())
        };
        names.extend(others.value.general_names.iter().filter_map(text));
    }
    Some(names)
}

/// Any certificate: who has one that nobody knows may do nothing.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    let settings = ControlTls {
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        certificate: std::path::PathBuf::new(),
        key: std::path::PathBuf::new(),
        client_ca: std::path::PathBuf::new(),
        readers: std::collections::BTreeSet::default(),
        writers: std::collections::BTreeSet::default(),
    };
    let peer = peer_of(&CertificateDer::from(input), &settings);
    assert!(peer.is_none_or(|peer| peer.may_change().is_err()));
}
