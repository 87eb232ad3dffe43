//! Proxies as they are in the world, with the configurations of docs/l7, in front of a service, and the
//! agent beside them.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// Envoy.
mod envoy;
/// The socket for Envoy, without Envoy.
mod grpc;
