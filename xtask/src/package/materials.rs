use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::DATE;
use crate::sh;

/// The bill of materials, as CycloneDX calls such files.
const NAME: &str = "weir.cdx.json";
/// The name under which `cargo cyclonedx` leaves one beside the manifest of each crate of the workspace.
const LEFT: &str = "weir-package.cdx";

/// Writes which crates are linked into the program, with versions, licences and sums. Returns its name.
pub(super) fn write(to: &Path, date: &str) -> Result<String> {
    let mut cargo = sh::command("cargo");
    cargo.args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--no-build-deps", "--quiet"]);
    cargo.args(["--override-filename", LEFT]).env(DATE, date);
    let made = sh::run(&mut cargo);
    let bill = sh::root().join("agent").join(format!("{LEFT}.json"));
    // Where the sources are is nobody's business.
    let text =
        made.and_then(|()| fs::read_to_string(&bill).with_context(|| format!("read {}", bill.display())));
    let text = text.map(|text| text.replace(&format!("file://{}", sh::root().display()), "file:///weir"));
    for folder in members()? {
        _ = fs::remove_file(folder.join(format!("{LEFT}.json")));
    }
    let path = to.join(NAME);
    fs::write(&path, text?).with_context(|| format!("write {}", path.display()))?;
    Ok(NAME.to_owned())
}

/// Returns the folders of all crates of the workspace.
fn members() -> Result<Vec<PathBuf>> {
    let words = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let said: Value = serde_json::from_str(&sh::text(sh::command("cargo").args(words))?)?;
    let packages = said["packages"].as_array().context("cargo names no packages")?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests.filter_map(|path| Path::new(path).parent().map(Path::to_owned)).collect())
}
