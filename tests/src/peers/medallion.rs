use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{from_python, spawn, wait_for};
use crate::{namespace::Namespace, patience, process::Process};

/// The TAXII server of OASIS, with one collection in memory and pages of a few objects.
#[derive(Debug)]
pub struct Medallion {
    namespace: Namespace,
    directory: TempDir,
    // Dropped, it is killed.
    _process: Process,
}

impl Medallion {
    /// Where it listens.
    pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);
    /// Whom it knows.
    pub const USER: &str = "weir";
    const PASSWORD: &str = "s3cret";
    const COLLECTION: &str = "91a7b528-80eb-42ed-a74d-c6fbd5a26116";

    /// Starts one in a namespace, which gives out `page` objects at once; nothing: there is no such
    /// program.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(namespace: &Namespace, page: usize) -> Result<Option<Self>> {
        let Some(program) = from_python("medallion") else { return Ok(None) };
        let directory =
            tempfile::Builder::new().prefix("medallion-").tempdir().context("make a directory")?;
        let file = |name: &str| directory.path().join(name);
        let (user, password, id) = (Self::USER, Self::PASSWORD, Self::COLLECTION);
        let data = format!(
            r#"{{"/discovery": {{"title": "test", "default": "http://{address}/api/", "api_roots": ["http://{address}/api/"]}},
"api": {{"information": {{"title": "api", "versions": ["application/taxii+json;version=2.1"], "max_content_length": 9765625}},
"status": [], "collections": [{{"id": "{id}", "title": "indicators", "can_read": true, "can_write": true,
"media_types": ["application/stix+json;version=2.1"], "objects": [], "manifest": []}}]}}}}"#,
            address = Self::ADDRESS
        );
        fs::write(file("data.json"), data).context("write the data")?;
        let config = format!(
            r#"{{"backend": {{"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend", "filename": "{}"}},
"users": {{"{user}": "{password}"}}, "taxii": {{"max_page_size": {page}, "max_content_length": 9765625}}}}"#,
            file("data.json").display()
        );
        fs::write(file("config.json"), config).context("write the configuration")?;
        fs::write(file("password"), password).context("write the password")?;
        fs::set_permissions(file("password"), fs::Permissions::from_mode(0o600)).context("protect it")?;
        let log = file("log");
        let port = Self::ADDRESS.port().to_string();
        let arguments = ["--host", "127.0.0.1", "--port", &port, "config.json"];
        let mut process = spawn(namespace, &program, &arguments, &[], &log)?;
        wait_for(namespace, Self::ADDRESS, &mut process, &log).context("start medallion")?;
        Ok(Some(Self { namespace: namespace.clone(), directory, _process: process }))
    }

    /// Returns the URL of the collection.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api/collections/{}/", Self::ADDRESS, Self::COLLECTION)
    }

    /// Returns the file with the password of [`Self::USER`].
    #[must_use]
    pub fn password(&self) -> PathBuf {
        self.directory.path().join("password")
    }

    /// Adds objects of STIX, each in JSON, as a producer does.
    ///
    /// # Errors
    /// If the server refuses them.
    pub fn add(&self, objects: &[String]) -> Result<()> {
        // Basic: weir:s3cret
        const PROOF: &str = "d2VpcjpzM2NyZXQ=";
        let body = format!("{{\"objects\": [{}]}}", objects.join(", "));
        let request = format!(
            "POST /api/collections/{}/objects/ HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {PROOF}\r\n\
             Accept: application/taxii+json;version=2.1\r\nContent-Type: application/taxii+json;version=2.1\r\n\
             Content-Length: {}\r\n\r\n{body}",
            Self::COLLECTION,
            Self::ADDRESS,
            body.len()
        );
        let answer = self.namespace.run(|| {
            let mut stream = TcpStream::connect(Self::ADDRESS)?;
            stream.set_read_timeout(Some(patience::seconds(10)))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        let accepted = answer.lines().next().is_some_and(|line| line.contains(" 202 "));
        ensure!(
            accepted && answer.contains("\"failure_count\":0") || answer.contains("\"failure_count\": 0"),
            "medallion: {answer}"
        );
        Ok(())
    }
}
