//! What kustomize makes of deploy.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::tools::{Kubectl, find, output};

/// Set to have generated files written anew.
const WRITE: &str = "WEIR_WRITE_DOCS";
const RULE: &str = "kustomize/monitoring/prometheus-rule.yaml";
const OVERLAYS: [&str; 2] = ["overlays/capabilities", "overlays/privileged"];
/// Kinds that are not of Kubernetes, so that its schemas do not know them.
const OTHERS: &str = "monitoring.coreos.com/v1";

pub(crate) fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// Returns the one resource of a kind and a name.
pub(crate) fn resource<'a>(resources: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |resource: &&Value| resource["kind"] == kind && resource["metadata"]["name"] == name;
    let mut found = resources.iter().filter(is_it);
    let first = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two of {kind} {name}");
    first
}

#[test]
fn manifests_are_what_kubernetes_takes() {
    const TEST: &str = "manifests_are_what_kubernetes_takes";
    let (Some(kubectl), Some(validate)) = (Kubectl::find(TEST), find(TEST, "kubernetes-validate")) else {
        return;
    };
    for folder in [OVERLAYS[0], OVERLAYS[1], "unload", "monitoring"] {
        let text = kubectl.render(folder);
        let known: Vec<_> = text.split("---\n").filter(|document| !document.contains(OTHERS)).collect();
        let file = NamedTempFile::with_suffix(".yaml").unwrap();
        fs::write(file.path(), known.join("---\n")).unwrap();
        let output = output(Command::new(&validate).arg("--strict").arg(file.path()));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{folder}: {said}");
        assert_eq!(said.matches(" passed for resource ").count(), known.len(), "{folder}: {said}");
        for resource in kubectl.resources(folder) {
            let (kind, of) = (resource["kind"].clone(), resource["metadata"]["namespace"].clone());
            assert!(kind == "Namespace" || of == "weir", "{folder}: {kind} is in {of}");
        }
    }
}

/// What one of several hundred lines would do, were it to get lost.
#[test]
fn agents_are_on_every_node_and_nobody_takes_them_off() {
    const TEST: &str = "agents_are_on_every_node_and_nobody_takes_them_off";
    let Some(kubectl) = Kubectl::find(TEST) else { return };
    for overlay in OVERLAYS {
        let resources = kubectl.resources(overlay);
        let set = &resource(&resources, "DaemonSet", "weir")["spec"];
        let update = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
        assert_eq!(set["updateStrategy"], update);
        let pod = &set["template"]["spec"];
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
        assert_eq!(pod["hostNetwork"], true);
        // No token: of the pod, and of the account.
        assert_eq!(pod["automountServiceAccountToken"], false);
        let account = resource(&resources, "ServiceAccount", pod["serviceAccountName"].as_str().unwrap());
        assert_eq!(account["automountServiceAccountToken"], false);
        assert!(!resources.iter().any(|resource| resource["kind"].as_str().unwrap().ends_with("Binding")));
        let [container] = &pod["containers"].as_array().unwrap()[..] else { panic!("one container") };
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["terminationMessagePolicy"], "FallbackToLogsOnError");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "metrics", "{probe}");
        }
        let privileged = overlay.ends_with("privileged");
        assert_eq!(container["securityContext"]["privileged"], privileged);
        let level = &resource(&resources, "Namespace", "weir")["metadata"]["labels"];
        assert_eq!(level["pod-security.kubernetes.io/enforce"], "privileged");
        // A configuration is taken up where it is, and not by another name in the pod.
        let map = resource(&resources, "ConfigMap", "weir");
        assert!(map["data"]["weir.yaml"].as_str().unwrap().contains("\nenforce: shadow\n"));
    }
}

/// Returns the rules of alerts.yaml as a resource.
fn rule(alerts: &str) -> String {
    let mut text =
        "# Made of deploy/prometheus/alerts.yaml; to make it anew: WEIR_WRITE_DOCS=1 cargo nextest run
# -p weir-tests --test container rules_and_dashboard
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: weir
  labels: {app.kubernetes.io/name: weir}
spec:
"
        .to_owned();
    for line in alerts.lines().filter(|line| !line.starts_with('#')) {
        let indent = if line.is_empty() { "" } else { "  " };
        text.extend([indent, line, "\n"]);
    }
    text
}

#[test]
fn rules_and_dashboard_are_those_of_deploy() {
    let read = |path: &str| fs::read_to_string(deploy(path)).unwrap();
    let alerts = read("prometheus/alerts.yaml");
    let wanted = rule(&alerts);
    if env::var_os(WRITE).is_some() {
        fs::write(deploy(RULE), &wanted).unwrap();
    }
    assert!(read(RULE) == wanted, "deploy/{RULE} is not up to date: its first line says how it is made");
    let Some(kubectl) = Kubectl::find("rules_and_dashboard_are_those_of_deploy") else { return };
    let resources = kubectl.resources("monitoring");
    let alerts: Value = serde_saphyr::from_str(&alerts).unwrap();
    assert_eq!(resource(&resources, "PrometheusRule", "weir")["spec"], alerts);
    let dashboard = resource(&resources, "ConfigMap", "weir-dashboard");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(dashboard["data"]["weir.json"], read("grafana/weir.json"));
    // What finds the agents: by the labels of the Service, which go by those of the pods, and its port.
    let service = resource(&resources, "Service", "weir");
    let monitor = &resource(&resources, "ServiceMonitor", "weir")["spec"];
    let labels = &service["metadata"]["labels"];
    assert_eq!(&monitor["selector"]["matchLabels"], labels);
    assert_eq!(labels[monitor["jobLabel"].as_str().unwrap()], "weir");
    assert_eq!(monitor["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    let agents = kubectl.resources(OVERLAYS[0]);
    let pod = &resource(&agents, "DaemonSet", "weir")["spec"]["template"];
    assert_eq!(service["spec"]["selector"], pod["metadata"]["labels"]);
    let port = &pod["spec"]["containers"][0]["ports"][0];
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
}
