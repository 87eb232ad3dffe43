//! Memory and disks that are full.

use std::{fmt::Write as _, fs, net::Ipv4Addr};

use anyhow::{Result, ensure};
use weir_tests::vitals;

use crate::stand::{EXTRA_BANS, Stand};

/// So many networks of 128 addresses, none beside another, take more places than the tables have.
const NETWORKS: u32 = 40_000;
/// What the agent may take beyond what it has: too little for tables in which they have room.
const MORE_BYTES: u64 = 184 << 20;
/// More than the disk has.
const FILLER_BYTES: usize = 8 << 20;

pub(super) fn table_full(stand: &mut Stand) -> Result<String> {
    let id = stand.agent.id()?;
    let log = stand.log_end();
    vitals::limit_address_space(id, Some(vitals::address_space(id)? + MORE_BYTES))?;
    let wide = (0..NETWORKS).fold(String::new(), |mut list, n| {
        // From 44.0.0.0 on, where nobody else's addresses are.
        _ = writeln!(list, "{}/25", Ipv4Addr::from(0x2c00_0000 + (n << 8)));
        list
    });
    stand.agent.write("local.netset", wide)?;
    let refused = stand.wait_for_log(log, "larger tables cannot be had");
    vitals::limit_address_space(id, None)?;
    refused?;
    let metrics = stand.agent.metrics()?;
    let entries = metrics.count("weir_table_entries", &[("table", "ipv4")]);
    ensure!(entries < u64::from(NETWORKS), "{entries} entries are in force, which have no room");
    Ok(format!("{NETWORKS} networks"))
}

pub(super) fn disk_full(stand: &mut Stand) -> Result<String> {
    let filler = stand.agent.directory().join("state/filler");
    let log = stand.log_end();
    // It writes what there is room for, and that is the point.
    stand.pair.server.run(|| Ok(_ = fs::write(&filler, vec![1; FILLER_BYTES])))?;
    let failed = disk_is_full(stand, log);
    let killed = stand.random.bool();
    if killed && failed.is_ok() {
        // The next agent has no room either. It lifts the ban that no file knows, as it was said.
        stand.agent.kill()?;
        stand.agent.start()?;
        stand.unchanged()?;
    }
    stand.pair.server.run(|| Ok(fs::remove_file(&filler)?))?;
    failed?;
    if !killed {
        stand.wait_for_log(log, "bans and rules are written again")?;
    }
    Ok(if killed { "and a restart" } else { "and room again" }.to_owned())
}

fn disk_is_full(stand: &Stand, log: usize) -> Result<()> {
    let failures =
        |stand: &Stand| stand.agent.metrics().map(|metrics| metrics.count("weir_audit_failures_total", &[]));
    let before = failures(stand)?;
    let said = stand.say(&["ban", EXTRA_BANS[0], "--for", "1h"])?;
    ensure!(said.contains("will not survive a reboot"), "a ban that is not kept: {said}");
    // The last page of its file may have room for some lines yet.
    stand.wait_until("the audit fails, and tells", || {
        _ = stand.agent.weir(&["ban", EXTRA_BANS[0], "--for", "1h", "--note", &"x".repeat(200)]);
        failures(stand).is_ok_and(|failures| failures > before)
    })?;
    stand.wait("the alert", |metrics, _| metrics.count("weir_alerts", &[("kind", "audit_failed")]) == 1)?;
    stand.wait_for_log(log, "the audit cannot be written")?;
    stand.unchanged()
}
