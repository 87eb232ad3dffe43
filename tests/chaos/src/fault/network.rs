//! Floods, interfaces that come and go, programs of others.

use std::{fs, time::Duration};

use anyhow::{Result, bail, ensure};
use weir_tests::{
    namespace::Namespace,
    vitals::{self, Vitals},
};

use crate::{
    sender,
    stand::{SECOND, Stand},
    stranger::Stranger,
};

/// How much of a CPU the agent may take while a flood comes in, and by how much it may grow.
const CPU_SHARE: f64 = 0.5;
const GROWTH_BYTES: u64 = 16 << 20;

pub(super) fn flood(stand: &mut Stand) -> Result<String> {
    let id = stand.agent.id()?;
    let duration = Duration::from_millis(stand.random.u64(1000..=2500));
    let (time, memory) = (vitals::cpu_time(id)?, Vitals::of(id)?.resident);
    let mut random = stand.random.fork();
    let frames = sender::flood(&stand.pair, &stand.sources, &stand.ledger, &mut random, duration)?;
    let share = (vitals::cpu_time(id)?.saturating_sub(time)).as_secs_f64() / duration.as_secs_f64();
    let growth = Vitals::of(id)?.resident.saturating_sub(memory);
    ensure!(share <= CPU_SHARE, "the agent took {:.0} % of a CPU", share * 100.0);
    ensure!(growth <= GROWTH_BYTES, "the agent grew by {growth} bytes");
    stand.unchanged()?;
    let per_second = frames * 1000 / u64::try_from(duration.as_millis())?;
    Ok(format!("{per_second} frames a second"))
}

pub(super) fn stranger(stand: &mut Stand) -> Result<String> {
    let attached = |stand: &Stand, mode: &'static str| {
        stand.wait(mode, |metrics, _| {
            metrics.count("weir_interface_attached", &[("interface", SECOND), ("mode", mode)]) == 1
        })
    };
    stand.agent.configure(&stand.config(None))?;
    stand.reload("ok")?;
    let stranger = Stranger::attach(&stand.pair.server, SECOND)?;
    let before = program_of(&stand.pair.server)?;
    let Some(number) = &before else { bail!("there is no program on {SECOND}") };
    let log = stand.log_end();
    stand.agent.configure(&stand.config(Some("auto")))?;
    stand.reload("ok")?;
    attached(stand, "tcx")?;
    // By its number: an agent that has started may no longer ask for names of others.
    let named = format!("program {number} ");
    ensure!(stand.log_from(log).contains(&named), "it is not named: {}", stand.log_from(log));
    stand.judge_second(|stand| {
        stand.pause(100, 500);
        ensure!(program_of(&stand.pair.server)? == before, "the foreign program was touched");
        Ok(())
    })?;
    drop(stranger);
    stand
        .wait_until("it is gone", || program_of(&stand.pair.server).is_ok_and(|program| program.is_none()))?;
    // The better place, without a gap.
    stand.judge_second(|stand| {
        stand.reload("ok")?;
        attached(stand, "native")
    })?;
    Ok("tcx behind it".to_owned())
}

pub(super) fn interface_gone(stand: &mut Stand) -> Result<String> {
    let is = |stand: &Stand, attached: u64| {
        stand.wait("the interface is seen", |metrics, _| {
            metrics.count("weir_interface_attached", &[("interface", SECOND)]) == attached
        })
    };
    stand.pair.server.ip(&format!("link delete {SECOND}"))?;
    is(stand, 0)?;
    stand.unchanged()?;
    stand.pause(0, 500);
    stand.pair.add_cable(SECOND, 1)?;
    is(stand, 1)?;
    stand.pair.server.ip(&format!("link set {SECOND} master br0"))?;
    let said = |name: &str| fs::read_to_string(format!("/sys/class/net/{SECOND}/{name}")).unwrap_or_default();
    // A bridge takes a port into service when it gets to it, and the kernel notices the other end of a
    // cable once a second: what is sent before is lost. BR_STATE_FORWARDING is 3.
    let forwards = || stand.pair.server.run(|| Ok(said("brport/state").trim() == "3"));
    let sends =
        || stand.pair.client.run(|| Ok(said("carrier").trim() == "1" && said("operstate").trim() == "up"));
    stand.wait_until("the cable", || forwards().unwrap_or(false) && sends().unwrap_or(false))?;
    stand.judge_second(|stand| {
        stand.pause(100, 300);
        Ok(())
    })?;
    Ok("removed, made anew".to_owned())
}

/// Returns the number of the XDP program of the second interface.
fn program_of(namespace: &Namespace) -> Result<Option<String>> {
    let output = namespace.command("ip").args(["link", "show", "dev", SECOND]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let program = text.split("prog/xdp id ").nth(1).and_then(|rest| rest.split(' ').next());
    ensure!(output.status.success(), "ip link show {SECOND} failed");
    Ok(program.map(str::to_owned))
}
