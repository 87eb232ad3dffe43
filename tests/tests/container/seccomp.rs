//! System calls that a container runtime allows by default (`seccompProfile: {type: RuntimeDefault}`).

use std::{env::consts::ARCH, fs};

use serde_json::{Value, json};
use weir_tests::peers::unpacked;

/// Of Debian's package golang-github-containers-common: the default of CRI-O and Podman.
const PROFILE: &str = "usr/share/containers/seccomp.json";

/// Whose default it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// containerd from 1.7 and Docker from 23 on, which let bpf(2) pass for who has CAP_BPF.
    Containerd,
    /// CRI-O and Podman, which want CAP_SYS_ADMIN for it.
    CriO,
}

/// Returns the filter of a runtime for a process with these capabilities, as runc takes it.
pub(crate) fn filter(runtime: Runtime, capabilities: &[String]) -> Value {
    let path = unpacked(PROFILE).unwrap_or_else(|| panic!("no {PROFILE}"));
    let profile: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let native = if ARCH == "x86_64" { "amd64" } else { "arm64" };
    let has =
        |list: &Value, word: &str| list.as_array().is_some_and(|list| list.iter().any(|one| one == word));
    let all = |list: &Value, test: &dyn Fn(&str) -> bool| {
        list.as_array().is_none_or(|list| list.iter().all(|word| test(word.as_str().unwrap())))
    };
    let held = |capability: &str| capabilities.iter().any(|one| one == capability);
    let mut calls = Vec::new();
    for entry in profile["syscalls"].as_array().unwrap() {
        let (includes, excludes) = (&entry["includes"], &entry["excludes"]);
        let applies = all(&includes["caps"], &held)
            && (includes["arches"].is_null() || has(&includes["arches"], native))
            && all(&excludes["caps"], &|capability| !held(capability))
            && !has(&excludes["arches"], native);
        if !applies {
            continue;
        }
        let mut names = entry["names"].as_array().unwrap().clone();
        if runtime == Runtime::Containerd {
            names.retain(|name| name != "bpf" && name != "perf_event_open");
        }
        let mut call = json!({"names": names, "action": entry["action"]});
        if let Some(number) = entry["errnoRet"].as_u64() {
            call["errnoRet"] = number.into();
        }
        if entry["args"].as_array().is_some_and(|args| !args.is_empty()) {
            call["args"] = entry["args"].clone();
        }
        calls.push(call);
    }
    // As containerd has it since its pull request 7301; its profile is code, so it cannot be read.
    for (capability, name) in [("CAP_BPF", "bpf"), ("CAP_PERFMON", "perf_event_open")] {
        if runtime == Runtime::Containerd && held(capability) {
            calls.push(json!({"names": [name], "action": "SCMP_ACT_ALLOW"}));
        }
    }
    let mut architectures = Vec::new();
    for entry in profile["archMap"].as_array().unwrap() {
        if entry["architecture"] == format!("SCMP_ARCH_{}", ARCH.to_uppercase()).as_str() {
            architectures.push(entry["architecture"].clone());
            architectures.extend(entry["subArchitectures"].as_array().into_iter().flatten().cloned());
        }
    }
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": architectures,
        "syscalls": calls,
    })
}
