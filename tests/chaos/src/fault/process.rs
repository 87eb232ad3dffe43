//! The agent as a process: the kernel enforces on, and the next one adopts what there is.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use weir_tests::{
    agent::{Agent, binary},
    patience,
};

use crate::stand::Stand;

pub(super) fn killed(stand: &mut Stand) -> Result<String> {
    stand.agent.kill()?;
    stand.pause(50, 800);
    start_and_adopt(stand)?;
    Ok("SIGKILL".to_owned())
}

pub(super) fn hung(stand: &mut Stand) -> Result<String> {
    stand.agent.signal(Signal::SIGSTOP)?;
    stand.pause(200, 2000);
    stand.agent.signal(Signal::SIGCONT)?;
    stand.wait_until("ready after SIGCONT", || {
        stand.agent.get("/readyz").is_ok_and(|(status, _)| status == 200)
    })?;
    stand.unchanged()?;
    Ok("SIGSTOP".to_owned())
}

pub(super) fn crashed(stand: &mut Stand) -> Result<String> {
    let signals = [Signal::SIGSEGV, Signal::SIGABRT, Signal::SIGBUS];
    let signal = signals[stand.random.usize(..signals.len())];
    stand.agent.signal(signal)?;
    // Rust takes the first for a fault of its own stack, looks, and leaves it to the second.
    stand.pause(5, 20);
    _ = stand.agent.signal(signal);
    stand.agent.wait_ended(patience::seconds(30))?;
    stand.pause(0, 500);
    start_and_adopt(stand)?;
    Ok(signal.to_string())
}

pub(super) fn killed_at_start(stand: &mut Stand) -> Result<String> {
    let times = stand.random.usize(2..=4);
    stand.agent.kill()?;
    for _ in 0..times {
        stand.agent.spawn()?;
        stand.pause(2, 400);
        stand.agent.kill()?;
    }
    start_and_adopt(stand)?;
    Ok(format!("{times} times"))
}

pub(super) fn upgraded(stand: &mut Stand) -> Result<String> {
    let place = stand.agent.directory().join(format!("weir-{}", stand.ledger.epoch()));
    // Another process writes it: a program cannot be run while a process forked off this one meanwhile
    // holds it open for writing.
    let copied = Command::new("cp").arg(&stand.program).arg(&place).status().context("run cp")?;
    ensure!(copied.success(), "cp failed");
    stand.agent.stop()?;
    stand.agent.replace_program(&place);
    start_and_adopt(stand)?;
    // Back to the first, so that no copies gather.
    stand.agent.stop()?;
    stand.agent.replace_program(&stand.program);
    start_and_adopt(stand)?;
    std::fs::remove_file(&place).context("remove the copy")?;
    Ok("there and back".to_owned())
}

pub(super) fn second(stand: &mut Stand) -> Result<String> {
    let other = Agent::new(binary()?, &stand.pair.server)?;
    other.configure(&stand.config(Some("auto")))?;
    let output = other.weir(&["run"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && said.contains("another weir agent"),
        "a second agent was not refused: {}: {said}",
        output.status
    );
    ensure!(stand.agent.get("/readyz")?.0 == 200, "the first agent is not ready");
    stand.unchanged()?;
    Ok("refused".to_owned())
}

/// Starts an agent, which must find everything as it was before it has asked anybody.
pub(super) fn start_and_adopt(stand: &mut Stand) -> Result<()> {
    let log = stand.log_end();
    stand.agent.start()?;
    stand.unchanged()?;
    ensure!(stand.log_from(log).contains("adopted=true"), "the maps were made anew: {}", stand.log_from(log));
    Ok(())
}
