//! What can fail, and what must be seen of it: each row of the table in docs/reliability.md.

/// The agent as a process: killed, hung, crashed, upgraded.
mod process;
/// Servers of lists.
mod lists;
/// Floods, interfaces, programs of others.
mod network;
/// Memory and disks that are full.
mod room;
/// Configurations that are none.
mod config;
/// Those who abuse sockets.
mod sockets;

use anyhow::Result;

use crate::stand::Stand;

/// Something that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and a new agent after a while.
    Killed,
    /// SIGSTOP for a while.
    Hung,
    /// A signal of which a program dies that has gone wrong.
    Crashed,
    /// Killed while it starts, several times.
    KilledAtStart,
    /// Another copy of the program takes over.
    Upgraded,
    /// A second agent is started beside the first.
    Second,
    /// The server of a list answers with errors, with half a list, or not at all.
    ListDown,
    /// A list is empty.
    ListEmpty,
    /// A list names everything, has lost or won too much, or is no list.
    ListPoisoned,
    /// A list never ends.
    ListHuge,
    /// A list comes too slowly.
    ListSlow,
    /// The server sends the agent elsewhere.
    ListElsewhere,
    /// The server is away when the agent is killed and started again.
    KilledWithoutLists,
    /// Made-up sources and all listed ones at once.
    Flood,
    /// A list for which there is no memory.
    TableFull,
    /// Proxies that hang, send garbage, or are too many.
    ProxiesHang,
    /// The agent is away, behind a proxy.
    AgentAway,
    /// A configuration that is none, at a reload.
    BadConfig,
    /// Likewise, over the control socket.
    BadPolicy,
    /// A program of somebody else's on an interface.
    Stranger,
    /// An interface is removed and made anew.
    InterfaceGone,
    /// No room in the state directory.
    DiskFull,
    /// Garbage, silence and crowds on the control socket.
    SocketAbused,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 23] = [
        Self::Killed,
        Self::Hung,
        Self::Crashed,
        Self::KilledAtStart,
        Self::Upgraded,
        Self::Second,
        Self::ListDown,
        Self::ListEmpty,
        Self::ListPoisoned,
        Self::ListHuge,
        Self::ListSlow,
        Self::ListElsewhere,
        Self::KilledWithoutLists,
        Self::Flood,
        Self::TableFull,
        Self::ProxiesHang,
        Self::AgentAway,
        Self::BadConfig,
        Self::BadPolicy,
        Self::Stranger,
        Self::InterfaceGone,
        Self::DiskFull,
        Self::SocketAbused,
    ];

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Killed => "agent killed",
            Self::Hung => "agent hangs",
            Self::Crashed => "agent crashes",
            Self::KilledAtStart => "agent killed while it starts",
            Self::Upgraded => "agent upgraded",
            Self::Second => "second agent started",
            Self::ListDown => "list: server down",
            Self::ListEmpty => "list: empty",
            Self::ListPoisoned => "list: poisoned",
            Self::ListHuge => "list: endless",
            Self::ListSlow => "list: slow",
            Self::ListElsewhere => "list: redirected",
            Self::KilledWithoutLists => "agent killed, servers of lists down",
            Self::Flood => "flood, spoofed and listed",
            Self::TableFull => "list beyond the memory",
            Self::ProxiesHang => "proxies hang or send garbage",
            Self::AgentAway => "agent away, behind a proxy",
            Self::BadConfig => "bad configuration at a reload",
            Self::BadPolicy => "bad policy over the socket",
            Self::Stranger => "foreign XDP program",
            Self::InterfaceGone => "interface gone and back",
            Self::DiskFull => "disk full",
            Self::SocketAbused => "control socket abused",
        }
    }

    /// Makes it happen, and checks what must be seen of it. Returns which kind of it chance took.
    /// It may last: [`Stand::recover`] ends it.
    ///
    /// # Errors
    /// If something else was seen.
    pub fn inject(self, stand: &mut Stand) -> Result<String> {
        match self {
            Self::Killed => process::killed(stand),
            Self::Hung => process::hung(stand),
            Self::Crashed => process::crashed(stand),
            Self::KilledAtStart => process::killed_at_start(stand),
            Self::Upgraded => process::upgraded(stand),
            Self::Second => process::second(stand),
            Self::ListDown => lists::wrong(stand, lists::DOWN),
            Self::ListEmpty => lists::wrong(stand, lists::EMPTY),
            Self::ListPoisoned => lists::wrong(stand, lists::POISONED),
            Self::ListHuge => lists::wrong(stand, lists::HUGE),
            Self::ListSlow => lists::wrong(stand, lists::SLOW),
            Self::ListElsewhere => lists::wrong(stand, lists::ELSEWHERE),
            Self::KilledWithoutLists => lists::killed_without(stand),
            Self::Flood => network::flood(stand),
            Self::TableFull => room::table_full(stand),
            Self::ProxiesHang => sockets::proxies_hang(stand),
            Self::AgentAway => sockets::agent_away(stand),
            Self::BadConfig => config::reloaded(stand),
            Self::BadPolicy => config::applied(stand),
            Self::Stranger => network::stranger(stand),
            Self::InterfaceGone => network::interface_gone(stand),
            Self::DiskFull => room::disk_full(stand),
            Self::SocketAbused => sockets::abused(stand),
        }
    }
}
