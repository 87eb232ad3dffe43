//! Why a program cannot be attached, in plain words: what, why, and the mend.

use std::{io, os::fd::BorrowedFd};

use nix::errno::Errno;

use super::{
    driver,
    query::{self, Interface},
};
use crate::config::Mode;

/// Explains why the kernel has refused to attach `program` to the interface `name`.
pub(super) fn explain(
    error: &io::Error,
    program: BorrowedFd<'_>,
    (name, ifindex): (&str, u32),
    interface: &Interface,
    mode: Mode,
) -> String {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    if let (Errno::EBUSY | Errno::EEXIST, Mode::Native | Mode::Generic, Some(there)) =
        (errno, mode, interface.xdp)
    {
        return occupied(&query::describe_program(there.program), name);
    }
    let said = query::objection(ifindex, program, mode);
    words(errno, said.as_deref(), name, interface, mode)
}

/// Says why TCX cannot judge what GRO makes on this interface: a packet beyond 64 KB has no length in
/// its IP header (BIG TCP), and looks like one whose header lies.
pub(super) fn too_big(name: &str, interface: &Interface) -> Option<String> {
    const LONGEST: u32 = 65_536;
    (interface.gro > LONGEST).then(|| {
        format!(
            "GRO makes packets of up to {} bytes (BIG TCP), whose headers do not tell their length; \
             `ip link set dev {name} gro_max_size {LONGEST} gro_ipv4_max_size {LONGEST}`",
            interface.gro
        )
    })
}

fn occupied(program: &str, name: &str) -> String {
    format!(
        "{program} is attached and was left alone; if nobody needs it, `ip link set dev {name} xdp off`, \
         or protect another interface"
    )
}

/// Puts an error number, and what the kernel said where it said something, into words.
fn words(errno: Errno, said: Option<&str>, name: &str, interface: &Interface, mode: Mode) -> String {
    let says = said.map(|said| format!(" (kernel: {said})")).unwrap_or_default();
    let has = |word: &str| said.is_some_and(|said| said.to_ascii_lowercase().contains(word));
    let Interface { kind, mtu, .. } = interface;
    let kind = if kind.is_empty() { driver::of(name).unwrap_or_default() } else { kind.clone() };
    let veth = kind == "veth";
    if has("mtu") || errno == Errno::ERANGE {
        let whose =
            if veth { "the MTU of the other end".to_owned() } else { format!("the MTU of {mtu} bytes") };
        return format!(
            "{whose} is too large for XDP in the driver{says}; lower it with `ip link set dev {name} mtu N`{}, \
             or use mode: generic",
            if veth { " on both ends" } else { "" },
        );
    }
    if has("queue") || has("channel") || errno == Errno::ENOSPC {
        let mend = if veth {
            format!("give it as many as the other end sends on: `ethtool -L {name} rx N`")
        } else {
            format!(
                "leave room for more with `ethtool -L {name} combined N`, N at most half of what there is"
            )
        };
        return format!("too few queues{says}; {mend}, or use mode: generic");
    }
    if has("lro") {
        return format!("large receive offload is on{says}; `ethtool -K {name} lro off`");
    }
    if has("gro_hw") || has("gro-hw") || has("csum") {
        return format!("the device merges frames{says}; `ethtool -K {name} rx-gro-hw off rx off`");
    }
    if errno == Errno::EOPNOTSUPP && mode == Mode::Native {
        let driver = if kind.is_empty() { "the driver".to_owned() } else { format!("the driver ({kind})") };
        return format!("{driver} cannot run XDP{says}; mode: generic works with every driver");
    }
    if errno == Errno::EINVAL && mode == Mode::Tcx {
        return "the kernel has no TCX; 6.6 or newer is needed".to_owned();
    }
    if errno == Errno::EINVAL && said.is_none() {
        return "the kernel has no links for XDP; 5.9 or newer is needed".to_owned();
    }
    if errno == Errno::ENODEV {
        return "the interface is gone".to_owned();
    }
    if errno == Errno::EPERM {
        return "not permitted; the agent needs CAP_NET_ADMIN and CAP_BPF".to_owned();
    }
    if errno == Errno::ENOMEM {
        return format!("the driver has no memory for it{says}; fewer queues or a smaller MTU take less");
    }
    format!("{}{says}", errno.desc())
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd as _, process::Command, thread};

    use nix::{
        net::if_::if_nametoindex,
        sched::{CloneFlags, unshare},
    };

    use super::*;
    use crate::datapath::link::{Link, pass};

    fn ip(arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    }

    /// Ours takes frames in several buffers, and with it every MTU of a veth. So the kernel is asked
    /// about a program that does not.
    #[test]
    fn an_mtu_that_is_too_large_is_told_and_the_mend_is_one() {
        let test = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link add eth0 mtu 9000 type veth peer name eth1 mtu 9000");
            let ifindex = if_nametoindex("eth0").unwrap();
            let program = pass().unwrap();
            let facts = query::interface(ifindex).unwrap();
            assert_eq!((facts.mtu, facts.kind.as_str(), facts.ethernet), (9000, "veth", true));
            let error = Link::create(program.as_fd(), ifindex, Mode::Native).unwrap_err();
            let text = explain(&error, program.as_fd(), ("eth0", ifindex), &facts, Mode::Native);
            for want in ["the MTU of the other end is too large", "Peer MTU", "`ip link set dev eth0 mtu N`"]
            {
                assert!(text.contains(want), "no `{want}` in: {text}");
            }
            ip("link set dev eth0 mtu 1500");
            ip("link set dev eth1 mtu 1500");
            // To ask for the reason attaches nothing, also where there is none.
            assert_eq!(query::objection(ifindex, program.as_fd(), Mode::Native), None);
            assert_eq!(query::attachment(ifindex).unwrap(), None);
            Link::create(program.as_fd(), ifindex, Mode::Native).unwrap();
        };
        thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_refusal_says_what_why_and_the_mend() {
        let of = |kind: &str| Interface { kind: kind.to_owned(), mtu: 9000, ..Interface::default() };
        // What drivers say: drivers/net/veth.c, virtio_net.c, ixgbe, bnxt, mlx5, net/core/dev.c (6.18).
        for (errno, said, kind, mode, wants) in [
            (
                Errno::ERANGE,
                Some("Peer MTU is too large to set XDP"),
                "veth",
                Mode::Native,
                &[
                    "the MTU of the other end",
                    "kernel: Peer MTU",
                    "`ip link set dev eth0 mtu N` on both ends",
                ][..],
            ),
            (
                Errno::EINVAL,
                Some("MTU too large to enable XDP without frags"),
                "virtio_net",
                Mode::Native,
                &["the MTU of 9000 bytes is too large", "mode: generic"],
            ),
            (
                Errno::ENOSPC,
                Some("XDP expects number of rx queues not less than peer tx queues"),
                "veth",
                Mode::Native,
                &["too few queues", "`ethtool -L eth0 rx N`"],
            ),
            (
                Errno::ENOMEM,
                Some("Too few free TX rings available"),
                "",
                Mode::Native,
                &["no memory", "Too few free TX rings"],
            ),
            (
                Errno::EINVAL,
                Some("can't set XDP while LRO is on, disable LRO first"),
                "mlx5_core",
                Mode::Native,
                &["large receive offload", "`ethtool -K eth0 lro off`"],
            ),
            (
                Errno::EOPNOTSUPP,
                Some("Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first"),
                "virtio_net",
                Mode::Native,
                &["merges frames", "rx-gro-hw off"],
            ),
            (
                Errno::EOPNOTSUPP,
                Some("Underlying driver does not support XDP in native mode"),
                "bridge",
                Mode::Native,
                &["the driver (bridge) cannot run XDP", "mode: generic"],
            ),
            (Errno::EINVAL, None, "", Mode::Tcx, &["no TCX", "6.6 or newer"]),
            (Errno::EINVAL, None, "", Mode::Native, &["no links for XDP", "5.9 or newer"]),
            (Errno::EPERM, None, "", Mode::Generic, &["CAP_NET_ADMIN"]),
            (Errno::ENODEV, None, "", Mode::Generic, &["gone"]),
            (Errno::EIO, Some("no such luck"), "", Mode::Native, &["I/O error", "kernel: no such luck"]),
        ] {
            let text = words(errno, said, "eth0", &of(kind), mode);
            for want in wants {
                assert!(text.contains(want), "no `{want}` in: {text}");
            }
        }
        assert_eq!(too_big("eth0", &Interface { gro: 65_536, ..Interface::default() }), None);
        let text = too_big("eth0", &Interface { gro: 131_072, ..Interface::default() }).unwrap();
        assert!(text.contains("131072") && text.contains("gro_max_size 65536"), "{text}");
        let text = occupied("program 17 `lb`", "eth0");
        assert!(text.contains("left alone") && text.contains("xdp off"), "{text}");
    }
}
