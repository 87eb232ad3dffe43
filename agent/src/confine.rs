//! What the agent may do, and what it gives up.
//!
//! It gives up all it can before there is a second thread and before anything from outside is read:
//! threads inherit what holds the first, and whoever takes over a parser has no more than what is left.
//! Each layer stands by itself: where the kernel has one not, the others hold. docs/privileges.md says
//! what each leaves, and why.

/// What root may and others may not.
mod capabilities;
/// Files, ports and signals: Landlock.
mod files;
/// System calls: seccomp.
mod calls;

use std::fmt::Display;

use serde::{Deserialize, Serialize};

pub use files::Reach;

/// What holds the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// In the order in which they were put on.
    pub layers: Vec<Layer>,
}

/// One of the means of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `capabilities`, `landlock` or `seccomp`.
    pub layer: String,
    /// It holds.
    pub applied: bool,
    /// What it leaves, or why it does not hold.
    pub detail: String,
}

/// Gives up what not even a start takes: from here on root is held to the permissions of files, so that
/// what can be read now can also be read later.
pub fn begin() {
    if let Err(error) = capabilities::for_start() {
        tracing::warn!(%error, "cannot give up capabilities");
    }
}

/// Gives up everything but what enforcement takes. The calling thread must be the only one, and all
/// sockets bound: nothing of it can be had back.
#[must_use]
pub fn confine(reach: &mut Reach) -> Confinement {
    // Landlock and seccomp ask for it; it is said where they do not hold.
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        tracing::warn!(%error, "cannot set no_new_privs");
    }
    let layers = vec![
        layer("landlock", reach.hold()),
        layer("capabilities", capabilities::for_good()),
        // Last: it refuses what the others are put on with.
        layer("seccomp", calls::hold()),
    ];
    for Layer { layer, detail, .. } in layers.iter().filter(|layer| !layer.applied) {
        tracing::warn!(layer, detail, "the agent may do more than it needs; see docs/privileges.md");
    }
    Confinement { layers }
}

fn layer(name: &str, result: Result<String, impl Display>) -> Layer {
    let applied = result.is_ok();
    let detail = result.unwrap_or_else(|error| error.to_string());
    Layer { layer: name.to_owned(), applied, detail }
}

impl Confinement {
    /// Returns it in a line.
    #[must_use]
    pub fn text(&self) -> String {
        let word = |layer: &Layer| {
            let not = if layer.applied { "" } else { "NOT by " };
            format!("{not}{} ({})", layer.layer, layer.detail)
        };
        self.layers.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}
