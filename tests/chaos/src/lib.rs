//! The reliability proof: everything of which docs/reliability.md says that it may fail is made to
//! fail, in an order and at times that a seed says, while frames of known sources come in without a
//! pause. Each frame is judged: what should not have come through and did, or the other way round, is
//! a wrong verdict, of which there must be none.
//!
//! ```text
//! flow ─► sender ─► (weir) ─► ledger ─► report
//!            fault ──┘ │
//!            soak ─────┘
//! ```

/// Whose frames come in, and what must become of them.
pub mod flow;
/// What was sent and what came through, by what was the matter meanwhile.
pub mod ledger;
/// Frames of known sources, without a pause.
mod sender;
/// Requests through a proxy, and what was answered.
mod requests;
/// A gateway: namespaces, lists, agent, proxy.
pub mod stand;
/// A program of somebody else's on an interface.
mod stranger;
/// What can fail, and what must be seen of it.
pub mod fault;
/// Faults in an order that a seed says.
pub mod chaos;
/// All kinds of work together, for long.
pub mod soak;
/// Tables for people.
mod table;
