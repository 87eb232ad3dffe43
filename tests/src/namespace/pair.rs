//! Two namespaces with a cable between them.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::Namespace;
use crate::{frame::Mac, patience};

/// How long the kernel may take to notice that a cable is plugged in.
const CARRIER_SECONDS: u64 = 5;

/// A client and a server, joined by a veth pair with an interface [`Pair::INTERFACE`] on either
/// side, and without a way to anywhere else.
#[derive(Debug)]
pub struct Pair {
    /// Where traffic comes from.
    pub client: Namespace,
    /// Where weir stands.
    pub server: Namespace,
}

/// Addresses of one side.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Ethernet address.
    pub mac: Mac,
    /// IPv4 address, in a /24.
    pub v4: Ipv4Addr,
    /// IPv6 address, in a /64.
    pub v6: Ipv6Addr,
    /// IPv6 link-local address.
    pub link_local: Ipv6Addr,
}

impl Pair {
    /// Name of the interface on both sides.
    pub const INTERFACE: &str = "eth0";

    /// Where on the server arrives what passes weir, see [`Self::bridge`].
    pub const BEHIND: &str = "behind";

    /// An Ethernet address that nobody has.
    pub const ELSEWHERE: Mac = [0x02, 0, 0, 0, 0, 0x63];

    /// Addresses of the client.
    pub const CLIENT: End = End::numbered(1);

    /// Addresses of the server.
    pub const SERVER: End = End::numbered(2);

    /// Makes a pair with an MTU of 1500 bytes.
    ///
    /// # Errors
    /// Like [`Namespace::new`].
    pub fn new() -> Result<Self> {
        Self::with_mtu(1500)
    }

    /// Makes a pair whose interfaces carry IP packets of `mtu` bytes.
    ///
    /// # Errors
    /// Like [`Namespace::new`].
    pub fn with_mtu(mtu: u32) -> Result<Self> {
        let pair = Self { client: Namespace::new()?, server: Namespace::new()? };
        pair.client.ip(&format!(
            "link add {interface} address {client} mtu {mtu} type veth \
             peer name {interface} address {server} mtu {mtu} netns {namespace}",
            interface = Self::INTERFACE,
            client = text(Self::CLIENT.mac),
            server = text(Self::SERVER.mac),
            namespace = pair.server.path().display(),
        ))?;
        pair.client.bring_up()?;
        pair.server.bring_up()?;
        pair.client.set_up(Self::CLIENT)?;
        pair.server.set_up(Self::SERVER)?;
        Ok(pair)
    }

    /// Adds a cable without addresses, with an interface of this name on both sides. The server receives
    /// on one queue, the client sends on `queues`.
    ///
    /// # Errors
    /// If there is one of that name, or `ip` refuses.
    pub fn add_cable(&self, interface: &str, queues: u32) -> Result<()> {
        self.client.ip(&format!(
            "link add {interface} numtxqueues {queues} numrxqueues 1 address {client} type veth \
             peer name {interface} numtxqueues 1 numrxqueues 1 address {server} netns {namespace}",
            client = text(Self::CLIENT.mac),
            server = text(Self::SERVER.mac),
            namespace = self.server.path().display(),
        ))?;
        for side in [&self.client, &self.server] {
            side.ip(&format!("link set {interface} addrgenmode none up"))?;
        }
        Ok(())
    }

    /// Puts these interfaces of the server under a bridge, so that frames to [`Self::ELSEWHERE`] which
    /// weir lets through arrive at the server's interface [`Self::BEHIND`]: also behind TCX, in front
    /// of which packet sockets on the interface itself would see them. Addresses of these interfaces
    /// are of no use from here on.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn bridge(&self, interfaces: &[&str]) -> Result<()> {
        let mut commands = format!(
            "link add br0 type bridge\nlink set br0 addrgenmode none up\n\
             link add port mtu 9000 type veth peer name {behind} mtu 9000\n\
             link set port addrgenmode none master br0 up\nlink set {behind} addrgenmode none up\n",
            behind = Self::BEHIND,
        );
        for interface in interfaces {
            _ = writeln!(commands, "link set {interface} master br0");
        }
        self.server.ip(&commands)
    }

    /// Gives the client more addresses, each usable at once.
    ///
    /// # Errors
    /// If `ip` refuses one, usually because it is there already.
    pub fn add_client_addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Result<()> {
        let mut commands = String::new();
        for address in addresses {
            _ = writeln!(commands, "{}", add_address(address));
        }
        self.client.ip(&commands)
    }
}

impl End {
    const fn numbered(n: u8) -> Self {
        let word = n as u16;
        Self {
            mac: [0x02, 0, 0, 0, 0, n],
            v4: Ipv4Addr::new(192, 0, 2, n),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, word),
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, word),
        }
    }
}

impl Namespace {
    fn bring_up(&self) -> Result<()> {
        let interface = Pair::INTERFACE;
        self.run(|| {
            // Less unasked-for traffic. Where the kernel does not allow it, there is more.
            for (setting, value) in [("accept_ra", "0"), ("router_solicitations", "0"), ("accept_dad", "0")] {
                _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"), value);
            }
            Ok(())
        })?;
        self.ip(&format!("link set {interface} addrgenmode none up"))
    }

    /// Waits for the cable, then adds the addresses.
    fn set_up(&self, end: End) -> Result<()> {
        let state = |name: &str| fs::read_to_string(format!("/sys/class/net/{}/{name}", Pair::INTERFACE));
        let patience = patience::seconds(CARRIER_SECONDS);
        let deadline = Instant::now() + patience;
        self.run(|| {
            // Until the kernel has noticed the other end, which it may do once a second, the interface
            // swallows what is sent. Since Linux 6.9, to ask for `carrier` makes it look at once.
            while state("carrier")?.trim() != "1" || state("operstate")?.trim() != "up" {
                if Instant::now() > deadline {
                    bail!("{} has no carrier after {patience:?}", Pair::INTERFACE);
                }
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        })?;
        // This takes the lock under which the kernel makes the interface ready to send.
        self.ip(&format!(
            "{}\n{}\n{}\n",
            add_address(end.v4.into()),
            add_address(end.v6.into()),
            add_address(end.link_local.into()),
        ))
    }
}

fn add_address(address: IpAddr) -> String {
    let length = if address.is_ipv4() { "24" } else { "64 nodad" };
    format!("address add {address}/{length} dev {}", Pair::INTERFACE)
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
