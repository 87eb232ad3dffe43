//! From a manifest to the settings of a runtime, as the kubelet and a CRI runtime do it: nothing of the
//! agent's pod is said here.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::seccomp::{self, Runtime};

/// What a container gets where its manifest drops nothing: the default of containerd and Docker.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// Numbers as in linux/capability.h.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// What CRI hides of /proc, unless a container is privileged.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A container of a pod that is to run somewhere.
pub(crate) struct Container<'a> {
    /// The pod, as the template of a DaemonSet has it.
    pub(crate) pod: &'a Value,
    /// The container in it.
    pub(crate) spec: &'a Value,
    /// What its image says.
    pub(crate) image: &'a Value,
    /// Whose defaults hold.
    pub(crate) runtime: Runtime,
}

impl Container<'_> {
    /// Returns config.json of a bundle. `files` is the root of the container, `source` knows where a
    /// volume lies.
    pub(crate) fn config(&self, files: &Path, source: impl Fn(&Value) -> String) -> Value {
        let security = &self.spec["securityContext"];
        let capabilities = self.capabilities();
        let mut mounts = self.own_mounts();
        let mut propagation = "rprivate";
        for mount in list(&self.spec["volumeMounts"]) {
            let volume = list(&self.pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let volume = volume.unwrap_or_else(|| panic!("no volume for {mount}"));
            let kind = match mount["mountPropagation"].as_str() {
                None | Some("None") => "rprivate",
                Some("HostToContainer") => "rslave",
                Some("Bidirectional") => "rshared",
                other => panic!("{other:?}"),
            };
            // The root has to let pass what one of its mounts does.
            if kind == "rshared" || (kind == "rslave" && propagation == "rprivate") {
                propagation = kind;
            }
            let access = if mount["readOnly"] == true { "ro" } else { "rw" };
            mounts.push(bind(&source(volume), text(&mount["mountPath"]), &[kind, access]));
        }
        let user = security["runAsUser"].as_u64().unwrap_or_else(|| number_before_colon(&self.image["User"]));
        let masks = |paths: &[&str]| if self.privileged() { json!([]) } else { json!(paths) };
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user, "gid": user},
                "args": self.args(),
                "env": self.env(),
                "cwd": "/",
                "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
                "capabilities": {
                    "bounding": capabilities, "permitted": capabilities, "effective": capabilities,
                },
            },
            "root": {"path": files, "readonly": security["readOnlyRootFilesystem"] == true},
            "mounts": mounts,
            "linux": {
                "namespaces": self.namespaces(),
                "rootfsPropagation": propagation,
                "maskedPaths": masks(&MASKED),
                "readonlyPaths": masks(&READ_ONLY),
            },
        });
        let profile = security["seccompProfile"]["type"].as_str();
        match profile {
            Some("RuntimeDefault") => {
                config["linux"]["seccomp"] = seccomp::filter(self.runtime, &capabilities);
            }
            None | Some("Unconfined") => {}
            other => panic!("{other:?} is on no node"),
        }
        config
    }

    fn privileged(&self) -> bool {
        self.spec["securityContext"]["privileged"] == true
    }

    /// Returns all capabilities that it has, with `CAP_`.
    pub(crate) fn capabilities(&self) -> Vec<String> {
        let wanted = &self.spec["securityContext"]["capabilities"];
        let is_in = |list: &Value, name: &str| list_has(list, name) || list_has(list, "ALL");
        let has = |name: &&&str| {
            let default = DEFAULT.contains(name) && !is_in(&wanted["drop"], name);
            self.privileged() || default || is_in(&wanted["add"], name)
        };
        // No runtime can give what it has not.
        let own = own_capabilities();
        let names = CAPABILITIES.iter().filter(has).filter(|name| own & (1 << number(name)) != 0);
        names.map(|name| format!("CAP_{name}")).collect()
    }

    fn args(&self) -> Value {
        let (command, args) = (&self.spec["command"], &self.spec["args"]);
        let entry = if command.is_null() { &self.image["Entrypoint"] } else { command };
        let rest = if args.is_null() && command.is_null() { &self.image["Cmd"] } else { args };
        list(entry).iter().chain(list(rest)).cloned().collect()
    }

    fn env(&self) -> Value {
        let own = list(&self.spec["env"]).iter();
        let own = own.map(|one| format!("{}={}", text(&one["name"]), text(&one["value"])).into());
        list(&self.image["Env"]).iter().cloned().chain(own).collect()
    }

    fn namespaces(&self) -> Value {
        let mut kinds = vec!["mount", "ipc", "pid"];
        if self.pod["hostNetwork"] != true {
            kinds.extend(["network", "uts"]);
        }
        if self.pod["hostPID"] == true {
            kinds.retain(|kind| *kind != "pid");
        }
        kinds.into_iter().map(|kind| json!({"type": kind})).collect()
    }

    /// Returns what every container has.
    fn own_mounts(&self) -> Vec<Value> {
        let mount = |kind: &str, at: &str, options: &[&str]| json!({"type": kind, "source": kind, "destination": at, "options": options});
        let sys = if self.privileged() { "rw" } else { "ro" };
        vec![
            mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
            mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", sys]),
            // `dnsPolicy: Default`
            bind("/etc/resolv.conf", "/etc/resolv.conf", &["rprivate", "ro"]),
            bind("/etc/hosts", "/etc/hosts", &["rprivate", "ro"]),
        ]
    }
}

/// Returns the bits of these capabilities, as /proc shows them.
pub(crate) fn bits(capabilities: &[String]) -> u64 {
    capabilities.iter().fold(0, |bits, name| bits | 1 << number(name.trim_start_matches("CAP_")))
}

fn number(name: &str) -> usize {
    CAPABILITIES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no capability {name}"))
}

fn own_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    let options: Vec<_> = ["rbind"].iter().chain(options).collect();
    json!({"type": "bind", "source": source, "destination": destination, "options": options})
}

fn number_before_colon(user: &Value) -> u64 {
    user.as_str().and_then(|user| user.split(':').next()?.parse().ok()).unwrap_or(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn list_has(value: &Value, word: &str) -> bool {
    list(value).iter().any(|one| one == word)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
