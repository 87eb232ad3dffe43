//! A node with a kubelet: it makes volumes, starts a container of a pod, asks its probes, and ends it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::mount::{MsFlags, mount};
use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    agent::{Agent, binary},
    namespace::Pair,
    patience,
    peers::Program,
    process::Process,
    volume::Volume,
};

use crate::{image::Image, manifests::resource, seccomp::Runtime, settings::Container, tools};

/// How long something may take that should take no time.
pub(crate) const PATIENCE_SECONDS: u64 = 30;
/// Where runc says which process a container is.
const PID_FILE: &str = "pid";
const POLL: Duration = Duration::from_millis(20);

/// A host, and what is installed on it.
pub(crate) struct Node {
    /// Its network, and who sends to it.
    pub(crate) pair: Pair,
    /// Whose defaults hold.
    pub(crate) runtime: Runtime,
    /// Asks for pages; no process of it runs.
    pages: Agent,
    runc: PathBuf,
    directory: TempDir,
    /// The ConfigMap.
    volume: RefCell<Option<Volume>>,
    pods: Cell<u32>,
}

/// A container that was started.
pub(crate) struct Pod<'n> {
    node: &'n Node,
    name: String,
    log: PathBuf,
    process: Process,
    /// Ends the container should this process die first.
    guard: Child,
    grace: Duration,
    probes: BTreeMap<&'static str, String>,
}

impl Node {
    /// Returns nothing where there is no runc, and says so.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let runc = tools::find(test, "runc")?;
        let pair = Pair::new().unwrap();
        // Where it has no hierarchy of its own runc wants one; an empty one, so that nothing is limited.
        let kind = Some("cgroup2");
        let hierarchy = || Ok(mount(kind, "/sys/fs/cgroup", kind, MsFlags::empty(), None::<&str>)?);
        pair.server.run(hierarchy).unwrap();
        let pages = Agent::new(binary().unwrap(), &pair.server).unwrap();
        let directory = tempfile::Builder::new().prefix("weir-node-").tempdir().unwrap();
        let (runtime, volume, pods) = (Runtime::Containerd, RefCell::default(), Cell::new(0));
        Some(Self { pair, runtime, pages, runc, directory, volume, pods })
    }

    /// Lays out the ConfigMap of these resources, with the texts that `edit` makes of its own.
    pub(crate) fn apply(&self, resources: &[Value], edit: impl Fn(&str, &str) -> String) {
        let map = resource(resources, "ConfigMap", "weir")["data"].as_object().unwrap();
        let edited = |(name, text): (&String, &Value)| (name.clone(), edit(name, text.as_str().unwrap()));
        let texts: Vec<(String, String)> = map.iter().map(edited).collect();
        let files: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut volume = self.volume.borrow_mut();
        if let Some(volume) = volume.as_mut() {
            volume.swap(&files).unwrap();
        } else {
            *volume = Some(Volume::new(self.directory.path().join("config"), &files).unwrap());
        }
    }

    /// Starts a container of a pod: the first of this list of its template.
    pub(crate) fn start(&self, set: &Value, list: &str, image: &Image<'_>) -> Pod<'_> {
        let pod = &set["spec"]["template"]["spec"];
        let container = Container { pod, spec: &pod[list][0], image: &image.config, runtime: self.runtime };
        let settings = container.config(&image.files(), |volume| self.source(volume));
        self.pods.set(self.pods.get() + 1);
        // Also the name of a cgroup, so it must be nobody else's.
        let name = format!("weir-test-{}-{}", std::process::id(), self.pods.get());
        let bundle = self.directory.path().join(&name);
        fs::create_dir(&bundle).unwrap();
        fs::write(bundle.join("config.json"), settings.to_string()).unwrap();
        let log = bundle.join("log");
        let output = File::create(&log).unwrap();
        let mut command = self.runc(&["run", "--bundle"]);
        command.arg(&bundle).arg("--pid-file").arg(bundle.join(PID_FILE)).arg(&name).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut process = Process::spawn(command).unwrap();
        let guard = guard(&mut process, &bundle);
        let seconds = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
        let probes = ["startupProbe", "livenessProbe", "readinessProbe"];
        let probes = probes.into_iter().filter_map(|probe| {
            let ask = &container.spec[probe]["httpGet"];
            // Asked at the address of the pod, which is that of the node.
            let port = container.spec["ports"].as_array()?.iter().find(|port| port["name"] == ask["port"])?;
            assert_eq!(port["containerPort"], Agent::METRICS.port());
            Some((probe, ask["path"].as_str()?.to_owned()))
        });
        let (probes, grace) = (probes.collect(), patience::seconds(seconds));
        Pod { node: self, name, log, process, guard, grace, probes }
    }

    /// Returns where a directory of the node is on this machine; the BPF filesystem is that of its namespace.
    pub(crate) fn host(&self, path: &str) -> PathBuf {
        if path.starts_with("/sys/") {
            return path.into();
        }
        self.directory.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Returns a page of the agent.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        self.pages.get(path)
    }

    /// Returns a sum of a metric.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.pages.metrics().unwrap().count(name, labels)
    }

    /// Returns true if something of weir is pinned.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pair.server.run(|| Ok(Path::new("/sys/fs/bpf/weir").exists())).unwrap()
    }

    fn source(&self, volume: &Value) -> String {
        if !volume["configMap"].is_null() {
            assert_eq!(volume["configMap"]["name"], "weir");
            return self.volume.borrow().as_ref().unwrap().path().display().to_string();
        }
        let path = self.host(volume["hostPath"]["path"].as_str().unwrap());
        match volume["hostPath"]["type"].as_str() {
            Some("DirectoryOrCreate") => fs::create_dir_all(&path).unwrap(),
            Some("Directory") => assert!(path.is_dir(), "{}", path.display()),
            other => panic!("{other:?}"),
        }
        path.display().to_string()
    }

    fn runc(&self, arguments: &[&str]) -> Command {
        let mut command = Program::command(&self.pair.server, &self.runc, &["--root"]);
        command.arg(self.directory.path().join("runc")).args(arguments);
        command
    }
}

/// Waits for a container's process, and starts what kills it when this process is no more: nothing else
/// would, since a container is in no session or group of ours.
fn guard(runc: &mut Process, bundle: &Path) -> Child {
    let file = bundle.join(PID_FILE);
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while !file.exists() && runc.ended().is_none() {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(bundle.join("log")).unwrap());
        thread::sleep(POLL);
    }
    let id = fs::read_to_string(file).unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("cat; kill -KILL {id}")]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Pod<'_> {
    /// Waits until its probes succeed, in the order in which a kubelet asks them.
    pub(crate) fn wait_ready(&mut self) {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = self.probes[probe].clone();
            self.wait(probe, |pod| matches!(pod.node.get(&path), Ok((200, _))));
        }
    }

    /// Waits until something is done.
    pub(crate) fn wait(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
        while !done(self) {
            let ended = self.process.ended();
            assert!(ended.is_none(), "{what}: it has ended, {ended:?}:\n{}", self.log());
            assert!(Instant::now() < deadline, "never: {what}:\n{}", self.log());
            thread::sleep(POLL);
        }
    }

    /// Returns the number of its process.
    pub(crate) fn id(&self) -> u32 {
        let state = tools::said(&mut self.node.runc(&["state", &self.name]));
        let state: Value = serde_json::from_str(&state).unwrap();
        state["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// Runs a command in it, like `kubectl exec`.
    pub(crate) fn exec(&self, arguments: &[&str]) -> Output {
        tools::output(self.node.runc(&["exec", &self.name]).args(arguments))
    }

    /// Likewise, and it has to succeed.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.exec(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Ends it as a kubelet does, and returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        tools::said(&mut self.node.runc(&["kill", &self.name, "TERM"]));
        self.process.wait(self.grace).unwrap().code()
    }

    /// Waits until it ends, and returns its exit code and what it has said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let code = self.process.wait(patience::seconds(PATIENCE_SECONDS)).unwrap().code();
        (code, self.log())
    }

    /// Returns what it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // One that has ended by itself is not there any more.
        _ = self.node.runc(&["delete", "--force", &self.name]).stderr(Stdio::null()).status();
        _ = self.guard.kill();
        _ = self.guard.wait();
    }
}
