//! Certificates, and requests over TLS without the agent's own client.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use weir_tests::{agent::Agent, namespace::Pair, patience};

/// Where the API is served.
pub(crate) const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9647);

/// An authority of its own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Certified {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certifies a host.
    pub(crate) fn host(&self, name: SanType) -> Certified {
        self.certify(|params| params.subject_alt_names = vec![name])
    }

    /// Certifies somebody by a common name.
    pub(crate) fn common(&self, name: &str) -> Certified {
        self.certify(|params| params.distinguished_name.push(DnType::CommonName, name))
    }

    pub(crate) fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> Certified {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }
}

impl Certified {
    /// Writes both into files of these names, the key for its owner only.
    pub(crate) fn write(&self, agent: &Agent, certificate: &str, key: &str) {
        agent.write(certificate, &self.certificate).unwrap();
        let path = agent.write(key, &self.key).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A connection over TLS, for one request after the other.
pub(crate) struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Connects, with a certificate or without one. That it is refused shows when something is read.
    pub(crate) fn connect(pair: &Pair, trusted: &Authority, certified: Option<&Certified>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.0.der().clone())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let config = match certified {
            None => builder.with_no_client_auth(),
            Some(Certified { der, key_der, .. }) => builder
                .with_client_auth_cert(vec![der.clone()], PrivateKeyDer::Pkcs8(key_der.clone().into()))?,
        };
        let stream = pair.server.run(|| Ok(TcpStream::connect(ADDRESS)?))?;
        stream.set_read_timeout(Some(patience::seconds(10)))?;
        let connection = ClientConnection::new(Arc::new(config), ADDRESS.ip().into())?;
        Ok(Self(StreamOwned::new(connection, stream)))
    }

    /// Sends a request, and returns status, head and body of the answer.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String, String)> {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: weir\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head)?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.context("a length")?.parse()?];
        self.0.read_exact(&mut body)?;
        Ok((status, head, String::from_utf8(body)?))
    }
}
