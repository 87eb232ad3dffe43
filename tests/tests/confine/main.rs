//! What the agent gives up: what should be refused is, and what it needs still works.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

/// What somebody would try who has taken the agent over.
mod attempts;
/// The attempts, in processes that are held by the agent's own code.
mod refused;
/// The whole agent, held.
mod whole;
