//! What is in the image.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{agent::binary, image, namespace::Namespace, peers::Program};

use crate::tools;

/// Where buildah keeps images, and the images in it.
pub(crate) struct Store {
    buildah: PathBuf,
    namespace: Namespace,
    directory: TempDir,
}

/// An image.
pub(crate) struct Image<'s> {
    store: &'s Store,
    name: String,
    /// What it says of itself: Entrypoint, Env, User, Labels.
    pub(crate) config: Value,
}

impl Store {
    /// Returns nothing where there is no buildah, and says so.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let buildah = tools::find(test, "buildah")?;
        let directory = tempfile::Builder::new().prefix("weir-images-").tempdir().unwrap();
        let store = Self { buildah, namespace: Namespace::new().unwrap(), directory };
        fs::write(store.path("registries.conf"), "").unwrap();
        fs::write(store.path("policy.json"), r#"{"default": [{"type": "insecureAcceptAnything"}]}"#).unwrap();
        image::lay_out(&binary().unwrap(), &store.path("context")).unwrap();
        Some(store)
    }

    /// Builds the image, with this version.
    pub(crate) fn build(&self, version: &str) -> Image<'_> {
        let name = format!("weir:{version}");
        let mut build = self.command(&["build", "--isolation", "chroot", "--tag", &name, "--build-arg"]);
        build.arg(format!("VERSION={version}")).args(["--signature-policy", &self.text("policy.json")]);
        tools::said(build.arg("--file").arg(image::containerfile()).arg(self.path("context")));
        let known = tools::said(&mut self.command(&["inspect", "--type", "image", &name]));
        let known: Value = serde_json::from_str(&known).unwrap();
        Image { store: self, name, config: known["OCIv1"]["config"].clone() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Program::command(&self.namespace, &self.buildah, &[]);
        command.args(["--storage-driver", "vfs", "--root", &self.text("images"), "--runroot"]);
        command.args([self.text("run"), "--registries-conf".to_owned(), self.text("registries.conf")]);
        command.env("HOME", self.directory.path()).args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl Image<'_> {
    /// Returns a copy of its files, for one container.
    pub(crate) fn files(&self) -> PathBuf {
        let policy = self.store.text("policy.json");
        let from = ["from", "--pull-never", "--signature-policy", &policy, &self.name];
        let container = tools::said(&mut self.store.command(&from));
        tools::said(&mut self.store.command(&["mount", container.trim()])).trim().into()
    }
}

/// Returns the paths of all files below a directory.
fn all_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_image_has_the_agent_and_no_other_program() {
    let Some(store) = Store::find("the_image_has_the_agent_and_no_other_program") else { return };
    let image = store.build("7.8.9");
    let labels = &image.config["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], "7.8.9");
    assert_eq!(labels["org.opencontainers.image.title"], "weir");
    assert_eq!(image.config["Entrypoint"], serde_json::json!(["/usr/bin/weir", "run"]));
    let root = image.files();
    let is_expected = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        path == Path::new("usr/bin/weir")
            || name.contains(".so")
            || path.starts_with("etc/ssl")
            || path == Path::new("etc/nsswitch.conf")
    };
    let files = all_files(&root);
    for file in &files {
        let path = file.strip_prefix(&root).unwrap();
        assert!(is_expected(path), "{} is in the image", path.display());
    }
    // Its libraries are all there: it runs where nothing else is.
    let said = tools::said(Command::new("chroot").arg(&root).args(["/usr/bin/weir", "--version"]));
    assert!(said.starts_with("weir "), "{said}");
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    println!("{} files, {} MB with this build of the agent", files.len(), bytes >> 20);
}
