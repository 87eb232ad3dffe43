//! The container image: the release binary and what it needs, and nothing else.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use weir_tests::image;

use crate::{
    release,
    setup::{self, Need},
    sh,
};

/// What to put into the image, and what to call it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent; default: a release build of this tree.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Name of the image; default: weir:VERSION.
    #[arg(long)]
    tag: Option<String>,
}

/// Below the root of the workspace.
const CONTEXT: &str = "target/image";
/// What builds images; all take the same words.
const BUILDERS: [&str; 3] = ["buildah", "podman", "docker"];

/// Lays out the files of the image and has it built.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = if let Some(path) = &args.binary {
        fs::canonicalize(path).with_context(|| path.display().to_string())?
    } else {
        setup::ensure(&[Need::Build])?;
        release::build("weir")?
    };
    let context = sh::root().join(CONTEXT);
    image::lay_out(&binary, &context)?;
    let version = env!("CARGO_PKG_VERSION");
    let tag = args.tag.clone().unwrap_or_else(|| format!("weir:{version}"));
    let builder = BUILDERS.into_iter().find(|builder| sh::find(builder).is_some());
    let builder =
        builder.with_context(|| format!("{CONTEXT} is laid out; install one of: {}", BUILDERS.join(", ")))?;
    let revision = sh::output(sh::command("git").args(["rev-parse", "HEAD"]));
    let mut command: Command = sh::command(builder);
    command.args(["build", "--tag", &tag, "--build-arg", &format!("VERSION={version}")]);
    command.args(["--build-arg", &format!("REVISION={}", revision.as_deref().unwrap_or("unknown"))]);
    command.arg("--file").arg(image::containerfile()).arg(&context);
    sh::run(&mut command)?;
    println!("{tag}: `{builder} push` takes it to a registry; docs/kubernetes.md goes on from there");
    Ok(())
}
