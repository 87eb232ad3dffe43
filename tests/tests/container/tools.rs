//! Programs that are not ours.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use weir_tests::peers::{Program, missing};

use crate::manifests::deploy;

/// What a test needs of kubectl.
pub(crate) struct Kubectl(PathBuf);

impl Kubectl {
    /// Returns nothing where there is none, and says so.
    pub(crate) fn find(test: &str) -> Option<Self> {
        find(test, "kubectl").map(Self)
    }

    /// Renders a folder of deploy/kustomize.
    pub(crate) fn render(&self, folder: &str) -> String {
        let path = deploy("kustomize").join(folder);
        said(Command::new(&self.0).arg("kustomize").arg(path))
    }

    /// Renders it, as resources.
    pub(crate) fn resources(&self, folder: &str) -> Vec<Value> {
        serde_saphyr::from_multiple(&self.render(folder)).unwrap()
    }
}

/// Returns where a program is; nothing where there is none, and says so.
pub(crate) fn find(test: &str, program: &str) -> Option<PathBuf> {
    let found = Program::find(program);
    if found.is_none() {
        missing(test, program);
    }
    found
}

/// Runs a command that has to succeed, and returns what it prints.
pub(crate) fn said(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command, whatever becomes of it.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
