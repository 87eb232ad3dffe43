//! Links to interfaces.

use aya::{
    Ebpf,
    programs::{
        Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        xdp::XdpLink,
    },
};
use nix::{errno::Errno, net::if_::if_nametoindex};
use serde::Serialize;
use weir_common::{
    control,
    counter::INTERFACES,
    line::Memory as _,
    map::{self, Map},
};

use super::{DatapathError, Pins, Result, load::chain, memory::Mapped, pins, query};
use crate::config::{self, Mode};

/// An interface with our program on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Where its packets are counted.
    pub slot: u32,
    /// Where the program runs: [`Mode::Native`] or [`Mode::Generic`].
    pub mode: Mode,
    /// Why not in a better mode, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

pub(super) fn attach(
    ebpf: &mut Ebpf,
    memory: &Mapped,
    pins: &Pins,
    interfaces: &[config::Interface],
) -> Result<Vec<Attached>> {
    let program: &mut Xdp = ebpf
        .program_mut(map::PROGRAM)
        .ok_or_else(|| DatapathError::Load("the object has no program".to_owned()))?
        .try_into()
        .map_err(|error| DatapathError::Load(chain(&error)))?;
    let indices: Vec<u32> = interfaces.iter().map(index_of).collect::<Result<_>>()?;
    let attached = interfaces
        .iter()
        .zip(&indices)
        .map(|(interface, &ifindex)| {
            let slot = take_slot(memory, ifindex, &indices);
            let (mode, refused) = attach_one(program, pins, interface, ifindex)?;
            Ok(Attached { interface: interface.name.clone(), ifindex, slot, mode, refused })
        })
        .collect::<Result<_>>()?;
    // Last: where an interface cannot be had, those of before stay protected.
    for interface in pins.linked() {
        if !interfaces.iter().any(|wanted| wanted.name == interface) {
            pins::remove(&pins.link(&interface))?;
            tracing::info!(interface, "detached: no longer in the configuration");
        }
    }
    Ok(attached)
}

fn index_of(interface: &config::Interface) -> Result<u32> {
    if_nametoindex(interface.name.as_str()).map_err(|error| {
        let reason = if error == Errno::ENODEV {
            "no such interface; `ip link` lists those that there are".to_owned()
        } else {
            error.to_string()
        };
        refusal(interface, reason)
    })
}

fn refusal(interface: &config::Interface, reason: String) -> DatapathError {
    DatapathError::Attach { interface: interface.name.clone(), reason }
}

/// Returns the counter slot of an interface: its own, else a free one, else one whose interface is
/// gone from the configuration.
fn take_slot(memory: &Mapped, ifindex: u32, wanted: &[u32]) -> u32 {
    let known = control::interface_slot(memory, ifindex);
    if known != 0 {
        return known;
    }
    let held_by =
        |slot: u32| memory.line(Map::Control, 1 + slot / 8).map_or(0, |line| line.word(slot).load());
    let free = (1..INTERFACES).find(|&slot| held_by(slot) == 0);
    let stale =
        || (1..INTERFACES).find(|&slot| !wanted.iter().any(|&index| u64::from(index) == held_by(slot)));
    let slot = free.or_else(stale).unwrap_or(0);
    if slot != 0 {
        control::set_interface(memory, slot, ifindex);
    }
    slot
}

/// Attaches to one interface: through the pinned link if there is one, else anew.
fn attach_one(
    program: &mut Xdp,
    pins: &Pins,
    interface: &config::Interface,
    ifindex: u32,
) -> Result<(Mode, Option<String>)> {
    let present = query::attachment(ifindex).map_err(|error| refusal(interface, error.to_string()))?;
    if let Some(mode) = update_link(program, pins, interface, present)? {
        return Ok((mode, None));
    }
    let modes: &[Mode] = match interface.mode {
        Mode::Auto => &[Mode::Native, Mode::Generic],
        Mode::Native => &[Mode::Native],
        Mode::Generic => &[Mode::Generic],
    };
    let mut refusals = Vec::new();
    for &mode in modes {
        match create_link(program, pins, interface, ifindex, mode) {
            Ok(()) => {
                let refused = (!refusals.is_empty()).then(|| refusals.join("; "));
                return Ok((mode, refused));
            }
            Err(reason) => refusals.push(format!("{}: {reason}", name(mode))),
        }
    }
    if let Some(foreign) = present {
        refusals.push(format!(
            "{} is attached and was left alone; detach it first, or protect another interface",
            query::describe_program(foreign.program)
        ));
    }
    Err(refusal(interface, refusals.join("; ")))
}

/// Puts the program under the link that is pinned, without a gap. Nothing where there is no link,
/// or none that still holds the interface in a mode that is wanted.
fn update_link(
    program: &mut Xdp,
    pins: &Pins,
    interface: &config::Interface,
    present: Option<query::Attachment>,
) -> Result<Option<Mode>> {
    let path = pins.link(&interface.name);
    let Ok(link) = PinnedLink::from_pin(&path) else { return Ok(None) };
    let link = FdLink::from(link);
    let ours = link.info().is_ok_and(|info| present.is_some_and(|p| p.program == info.program_id()));
    let mode = present.and_then(|present| present.mode);
    let wanted = mode.is_some_and(|mode| interface.mode == Mode::Auto || interface.mode == mode);
    if !ours || !wanted {
        // The interface was made anew under the same name, or another mode is asked for, which the
        // kernel gives to a new link only.
        drop(link);
        pins::remove(&path)?;
        return Ok(None);
    }
    let failed =
        |error: &dyn std::error::Error| refusal(interface, format!("update the link: {}", chain(error)));
    let link = XdpLink::try_from(link).map_err(|error| failed(&error))?;
    let id = program.attach_to_link(link).map_err(|error| failed(&error))?;
    // The pin keeps the link; without a hand of ours on it, `weir unload` ends it at once.
    drop(program.take_link(id).map_err(|error| failed(&error))?);
    Ok(mode)
}

fn create_link(
    program: &mut Xdp,
    pins: &Pins,
    interface: &config::Interface,
    ifindex: u32,
    mode: Mode,
) -> std::result::Result<(), String> {
    let flags = match mode {
        Mode::Native => XdpMode::Driver,
        Mode::Auto | Mode::Generic => XdpMode::Skb,
    };
    let id = program.attach_to_if_index(ifindex, flags).map_err(|error| chain(&error))?;
    let link = program.take_link(id).map_err(|error| chain(&error))?;
    let link = FdLink::try_from(link)
        .map_err(|_| "the kernel has no links for XDP, 5.9 or newer is needed".to_owned())?;
    link.pin(pins.link(&interface.name)).map_err(|error| chain(&error))?;
    Ok(())
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "auto",
        Mode::Native => "native",
        Mode::Generic => "generic",
    }
}

/// Returns where the XDP program of an interface runs; nothing where it has none or is gone.
#[must_use]
pub fn mode_of(interface: &str) -> Option<Mode> {
    query::attachment(if_nametoindex(interface).ok()?).ok()??.mode
}
