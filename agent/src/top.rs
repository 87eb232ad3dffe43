//! What goes on now, at a glance: rates, sources, feeds, limits and interfaces.
//!
//! Everything but the sources is the difference of two readings of the kernel's counters, so it needs no
//! agent. Sources are those of sampled events, which a running agent hands on; what a sample stands
//! for is told by the counters. What is shown, and what a key does, is a value that a test can look at;
//! drawing it and asking for it come last.

/// Readings of counters.
mod totals;
/// Sources, from sampled events.
mod sources;
/// What is shown: rates between two readings.
mod snapshot;
/// Rows, sorted and filtered.
mod grid;
/// What the operator has chosen, and what keys do.
mod state;
/// From the state to the screen.
mod draw;
/// The terminal, given back however it ends.
mod screen;
/// One reading after the other.
mod sampler;

pub use draw::{Look, draw};
pub use grid::{Cell, Row, Section, rows_as_sorted as rows};
pub use sampler::{Feed, SampleError, Sampler};
pub use screen::Screen;
pub use snapshot::Snapshot;
pub use sources::Sources;
pub use state::{Action, State};
pub use totals::Totals;
