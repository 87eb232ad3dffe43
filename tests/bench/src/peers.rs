//! Filters that come with the distribution, set up as their manuals say.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Map, MapData, PerCpuHashMap};
use weir_tests::namespace::{Namespace, Pair};

use crate::ours::{Limit, PORT};

/// Sources that a set of limits may remember.
const SOURCES: u32 = 1 << 20;

/// Runs a program in a namespace with this input; an error says what it said.
pub(crate) fn run(namespace: &Namespace, words: &[&str], input: &str) -> Result<()> {
    let (program, arguments) = words.split_first().context("no program")?;
    let mut command = namespace.command(program);
    command.args(arguments);
    feed(command, input).with_context(|| format!("run `{}`", words.join(" ")))
}

/// Runs a command with this input.
pub(crate) fn feed(mut command: Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("it cannot be run")?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes()).context("write its input")?;
    }
    let output = child.wait_with_output().context("wait for it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(300).collect();
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(())
}

/// Has the interface hand received frames to the stack in batches, as a NIC does. Without it a veth
/// without XDP does not take redirected frames.
pub(crate) fn receive_in_batches(namespace: &Namespace) -> Result<()> {
    run(namespace, &["ethtool", "-K", Pair::INTERFACE, "gro", "on"], "")
}

/// Returns what `ipset restore` reads: a set of networks.
pub(crate) fn ipset_text(prefixes: &[(u32, u8)]) -> String {
    let mut text =
        format!("create bench hash:net hashsize 524288 maxelem {}\n", prefixes.len().max(1 << 20) * 2);
    for &(network, length) in prefixes {
        _ = writeln!(text, "add bench {}/{length}", Ipv4Addr::from_bits(network));
    }
    text
}

/// Returns what `ipset restore` reads: some networks out, some in.
pub(crate) fn ipset_change(gone: &[(u32, u8)], new: &[(u32, u8)]) -> String {
    let mut text = String::new();
    for (word, prefixes) in [("del", gone), ("add", new)] {
        for &(network, length) in prefixes {
            _ = writeln!(text, "{word} bench {}/{length}", Ipv4Addr::from_bits(network));
        }
    }
    text
}

/// ipset in the raw table, where netfilter can drop first.
pub(crate) fn ipset(namespace: &Namespace, prefixes: &[(u32, u8)]) -> Result<()> {
    receive_in_batches(namespace)?;
    run(namespace, &["ipset", "restore"], &ipset_text(prefixes))?;
    let rule = "-t raw -A PREROUTING -m set --match-set bench src -j DROP";
    run(namespace, &words("iptables-legacy", rule), "")
}

fn words<'a>(program: &'a str, arguments: &'a str) -> Vec<&'a str> {
    std::iter::once(program).chain(arguments.split(' ')).collect()
}

/// Returns what `nft -f` reads: a set of intervals, asked as early as netfilter can.
pub(crate) fn nft_text(prefixes: &[(u32, u8)]) -> String {
    let mut text =
        String::from("table netdev bench {\n set listed { type ipv4_addr; flags interval; elements = {\n");
    for &(network, length) in prefixes {
        _ = writeln!(text, "{}/{length},", Ipv4Addr::from_bits(network));
    }
    _ = write!(
        text,
        "}} }}\n chain in {{ type filter hook ingress device \"{}\" priority 0; ip saddr @listed drop\n }}\n}}\n",
        Pair::INTERFACE
    );
    text
}

/// A set of intervals of nftables. `prefixes` do not overlap.
pub(crate) fn nft_set(namespace: &Namespace, prefixes: &[(u32, u8)]) -> Result<()> {
    receive_in_batches(namespace)?;
    run(namespace, &["nft", "-f", "-"], &nft_text(prefixes))
}

/// A limit for each source by hashlimit, in the raw table.
pub(crate) fn hashlimit(namespace: &Namespace, limit: Limit) -> Result<()> {
    receive_in_batches(namespace)?;
    let Limit { packets, burst, .. } = limit;
    let unit = limit.unit();
    let rule = format!(
        "-t raw -A PREROUTING -p udp --dport {PORT} -m hashlimit --hashlimit-above {packets}/{unit} \
         --hashlimit-burst {burst} --hashlimit-mode srcip --hashlimit-name bench \
         --hashlimit-htable-size 131072 --hashlimit-htable-max {SOURCES} -j DROP"
    );
    run(namespace, &words("iptables-legacy", &rule), "")
}

/// A limit for each source by a dynamic set of nftables, at the earliest hook.
pub(crate) fn nft_limit(namespace: &Namespace, limit: Limit) -> Result<()> {
    receive_in_batches(namespace)?;
    let Limit { packets, burst, .. } = limit;
    let unit = limit.unit();
    let text = format!(
        "table netdev bench {{\n set sources {{ type ipv4_addr; size {SOURCES}; flags dynamic,timeout; timeout 60s; }}\n \
         chain in {{ type filter hook ingress device \"{}\" priority 0; udp dport {PORT} update @sources \
         {{ ip saddr limit rate over {packets}/{unit} burst {burst} packets }} drop\n }}\n}}\n",
        Pair::INTERFACE
    );
    run(namespace, &["nft", "-f", "-"], &text)
}

/// xdp-filter with these hosts; it knows no prefixes, and 10,000 hosts at most.
pub(crate) fn xdp_filter(namespace: &Namespace, hosts: &[u32]) -> Result<()> {
    run(namespace, &["xdp-filter", "load", "--mode", "native", "--features", "ipv4", Pair::INTERFACE], "")?;
    let Some((first, rest)) = hosts.split_first() else { bail!("no hosts") };
    let address = Ipv4Addr::from_bits(*first).to_string();
    run(namespace, &["xdp-filter", "ip", "--mode", "src", &address], "")?;
    // The others by its own map: its command line takes 6 ms for one.
    namespace.run(|| {
        let data = MapData::from_pin("/sys/fs/bpf/xdp-filter/filter_ipv4").context("open its map")?;
        let mut map: PerCpuHashMap<_, u32, u64> = PerCpuHashMap::try_from(Map::PerCpuHashMap(data))?;
        let flags = map.get(&first.to_be(), 0).context("read its map")?;
        for host in rest {
            let flags = flags.iter().copied().collect::<Vec<_>>().try_into()?;
            map.insert(host.to_be(), flags, 0).context("fill its map")?;
        }
        Ok(())
    })
}
