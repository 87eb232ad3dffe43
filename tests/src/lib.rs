//! What tests, benchmarks and the demo share.
//!
//! A test builds [frames](frame), puts them on the [wire] of a [namespace] in which a real
//! [agent] stands, and compares what arrives behind XDP and what the [metrics] say with what was
//! sent. Nothing here uses the agent's own code, so a mistake of the one cannot hide in the other.

/// Frames, well formed or not.
pub mod frame;
/// Networks of their own, which end with the process.
pub mod namespace;
/// Frames onto an interface, and off it.
pub mod wire;
/// Traffic without a pause, and what of it gets past weir.
pub mod traffic;
/// A server, and clients of many addresses.
pub mod service;
/// A web server with faults.
pub mod web;
/// A machine that nobody else uses.
pub mod machine;
/// How long tests wait.
pub mod patience;
/// Programs that do not outlive the test.
pub mod process;
/// What a process takes: memory, time, handles.
pub mod vitals;
/// The agent as a process.
pub mod agent;
/// A host that boots, to install things on.
pub mod host;
/// The control socket of an agent, without the agent's own client.
pub mod control;
/// What lists name, as ranges.
pub mod ranges;
/// What a metrics page says.
pub mod metrics;
/// What the kernel program may cost.
pub mod budget;
/// A volume of Kubernetes.
pub mod volume;
/// What a container image is made of.
pub mod image;
/// Servers of decisions and indicators as they are in the world.
pub mod peers;
