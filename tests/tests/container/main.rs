//! The image and the manifests of deploy, as a cluster runs them: what `kubectl kustomize` renders is
//! checked, and started by runc from an image that buildah has made, with settings that follow from
//! nothing but the manifest.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// Programs that are not ours.
mod tools;
/// What kustomize makes of deploy.
mod manifests;
/// What is in the image.
mod image;
/// From a manifest to the settings of a runtime.
mod settings;
/// System calls that a runtime allows.
mod seccomp;
/// A node with a kubelet.
mod node;
/// Pods at work.
mod pods;
