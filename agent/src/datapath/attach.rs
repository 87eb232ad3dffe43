//! Links to interfaces.
//!
//! A link is updated or replaced, never removed first: whatever changes (program, mode, version), one
//! of ours judges every packet.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf,
    programs::{ProgramFd, ProgramInfo, SchedClassifier, Xdp},
};
use nix::{errno::Errno, net::if_::if_nametoindex};
use serde::Serialize;
use weir_common::map;

use super::{
    DatapathError, Pins, Result,
    link::{self, Hook, Info, Link},
    load::{Loaded, chain},
    pins, query, refusal, slot,
};
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
    /// Where the program runs: any mode but [`Mode::Auto`].
    pub mode: Mode,
    /// Why not in a better mode, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What has become of an interface since it was attached.
#[derive(Debug)]
pub enum Change {
    /// It is gone.
    Gone,
    /// It is back, or somebody had taken our program off; it is attached again.
    Attached(Attached),
    /// Likewise, but it cannot be attached.
    Refused(String),
}

/// What attaching takes.
pub(super) struct Attacher<'d> {
    xdp: Program<'d>,
    tcx: std::result::Result<Program<'d>, &'d str>,
    loaded: &'d Loaded,
    pins: &'d Pins,
    slots: &'d mut BTreeMap<String, u32>,
}

#[derive(Clone, Copy)]
struct Program<'d> {
    fd: BorrowedFd<'d>,
    id: u32,
}

impl<'d> Attacher<'d> {
    pub(super) fn new(
        loaded: &'d Loaded,
        pins: &'d Pins,
        slots: &'d mut BTreeMap<String, u32>,
    ) -> Result<Self> {
        let xdp: &Xdp = program(&loaded.ebpf, map::PROGRAM)?;
        let tcx = if let Some(reason) = &loaded.no_tcx {
            Err(reason.as_str())
        } else {
            let tcx: &SchedClassifier = program(&loaded.ebpf, map::TCX_PROGRAM)?;
            Ok(Program::new(tcx.fd(), tcx.info())?)
        };
        Ok(Self { xdp: Program::new(xdp.fd(), xdp.info())?, tcx, loaded, pins, slots })
    }

    /// Attaches to these interfaces and no others. One that was attached and is gone for now is left
    /// out: it is attached when it is back.
    pub(super) fn attach(&mut self, interfaces: &[config::Interface]) -> Result<Vec<Attached>> {
        let mut present = Vec::new();
        for interface in interfaces {
            match index_of(interface) {
                Ok(ifindex) => present.push((interface, ifindex)),
                Err(error) if !self.slots.contains_key(&interface.name) => return Err(error),
                Err(_) => {}
            }
        }
        let wanted: Vec<u32> = present.iter().map(|(_, ifindex)| *ifindex).collect();
        let attached = present
            .into_iter()
            .map(|(interface, ifindex)| self.attach_one(interface, ifindex, &wanted))
            .collect::<Result<_>>()?;
        // Last: where an interface cannot be had, those of before stay protected.
        for interface in self.pins.linked() {
            if !interfaces.iter().any(|wanted| wanted.name == interface) {
                link::end(&self.pins.link(&interface))?;
                tracing::info!(interface, "detached: no longer in the configuration");
            }
        }
        link::end(&self.pins.bridge())?;
        for version in self.pins.others() {
            pins::remove_version(&version)?;
            tracing::info!(version = %version.display(), "removed what another version had pinned");
        }
        Ok(attached)
    }

    /// Looks whether our program is still where it was attached, and mends it where it is not.
    pub(super) fn mend(
        &mut self,
        interface: &config::Interface,
        known: Option<&Attached>,
        wanted: &[u32],
    ) -> Option<Change> {
        let Ok(ifindex) = if_nametoindex(interface.name.as_str()) else {
            return known.map(|_| Change::Gone);
        };
        if known.is_some_and(|known| known.ifindex == ifindex) && self.holds(interface, ifindex) {
            return None;
        }
        Some(match self.attach_one(interface, ifindex, wanted) {
            Ok(attached) => Change::Attached(attached),
            Err(error) => Change::Refused(error.to_string()),
        })
    }

    fn holds(&self, interface: &config::Interface, ifindex: u32) -> bool {
        let info = Link::from_pin(&self.pins.link(&interface.name)).and_then(|link| link.info());
        info.is_ok_and(|info| {
            let program = match info.hook {
                Hook::Xdp => Ok(self.xdp),
                Hook::Tcx => self.tcx,
                Hook::Other => return false,
            };
            info.ifindex == ifindex && program.is_ok_and(|program| program.id == info.program)
        })
    }

    fn attach_one(
        &mut self,
        interface: &config::Interface,
        ifindex: u32,
        wanted: &[u32],
    ) -> Result<Attached> {
        let facts = query::interface(ifindex).map_err(|error| refusal(interface, error.to_string()))?;
        if !facts.ethernet {
            let reason = "its frames have no Ethernet header, in which the source is looked for".to_owned();
            return Err(refusal(interface, reason));
        }
        let known = self.slots.get(&interface.name).copied();
        let slot = slot::take(&self.loaded.memory, self.pins, ifindex, known, wanted)?;
        self.slots.insert(interface.name.clone(), slot);
        let up = facts.up;
        let (mode, refused) = Site { attacher: self, interface, ifindex, facts }.attach()?;
        if !up {
            tracing::warn!(interface = interface.name, "the interface is down");
        }
        Ok(Attached { interface: interface.name.clone(), ifindex, slot, mode, refused })
    }
}

impl<'d> Program<'d> {
    fn new(
        fd: std::result::Result<&'d ProgramFd, aya::programs::ProgramError>,
        info: std::result::Result<ProgramInfo, aya::programs::ProgramError>,
    ) -> Result<Self> {
        let failed = |error: aya::programs::ProgramError| DatapathError::Load(chain(&error));
        Ok(Self { fd: fd.map_err(failed)?.as_fd(), id: info.map_err(failed)?.id() })
    }
}

/// An interface about to be attached.
struct Site<'s, 'd> {
    attacher: &'s Attacher<'d>,
    interface: &'s config::Interface,
    ifindex: u32,
    facts: query::Interface,
}

/// The mode that was taken, and why no better one.
type Taken = (Mode, Option<String>);

impl Site<'_, '_> {
    /// Attaches through the link that is pinned if there is one, else anew.
    fn attach(&self) -> Result<Taken> {
        match self.adopt()? {
            Some(mode) if self.interface.mode == mode => Ok((mode, None)),
            // Beside a generic program the kernel lets nobody try a native one.
            Some(mode @ (Mode::Native | Mode::Generic)) if self.interface.mode == Mode::Auto => {
                Ok((mode, None))
            }
            held => self.take(held),
        }
    }

    /// Puts our program under the link that an agent before has left, without a gap, and returns its
    /// mode. An agent of another version has left it in another directory.
    fn adopt(&self) -> Result<Option<Mode>> {
        let pin = self.pin();
        let elsewhere = self.attacher.pins.others();
        let elsewhere = elsewhere.iter().map(|root| pins::link_in(root, &self.interface.name));
        for path in [pin.clone()].into_iter().chain(elsewhere) {
            let Ok(link) = Link::from_pin(&path) else { continue };
            let Some(mode) = link.info().ok().and_then(|info| self.mode_of(info)) else {
                // The interface was made anew under the same name.
                drop(link);
                pins::remove(&path)?;
                continue;
            };
            if let Err(error) = self.program(mode).and_then(|program| {
                link.update(program.fd).map_err(|error| format!("update the link: {error}"))
            }) {
                tracing::warn!(interface = self.interface.name, error, "the link is replaced");
                drop(link);
                return self.swap(&path, mode, mode).map(Some);
            }
            if path != pin {
                self.pin_in_place(&link)?;
                pins::remove(&path)?;
                tracing::info!(interface = self.interface.name, from = %path.display(), "taken over from another version");
            }
            return Ok(Some(mode));
        }
        Ok(None)
    }

    /// Returns the mode of a link if it still holds this interface.
    fn mode_of(&self, info: Info) -> Option<Mode> {
        match info.hook {
            _ if info.ifindex != self.ifindex => None,
            Hook::Tcx => Some(Mode::Tcx),
            Hook::Xdp => self.facts.xdp.filter(|xdp| xdp.program == info.program)?.mode,
            Hook::Other => None,
        }
    }

    /// Takes the first of the modes that are wanted. What is held until then is let go of after.
    fn take(&self, held: Option<Mode>) -> Result<Taken> {
        let modes: &[Mode] = match self.interface.mode {
            Mode::Auto => &[Mode::Native, Mode::Generic, Mode::Tcx],
            Mode::Native => &[Mode::Native],
            Mode::Generic => &[Mode::Generic],
            Mode::Tcx => &[Mode::Tcx],
        };
        let mut refusals = Vec::new();
        for &mode in modes {
            let taken = match held {
                Some(held) if held == mode => Ok(mode),
                // The kernel has one XDP program an interface, so the other flavour has to go first.
                Some(held) if Hook::of(held) == Hook::of(mode) => {
                    return Ok((self.swap(&self.pin(), held, mode)?, None));
                }
                _ => self.create(mode),
            };
            match taken {
                Ok(mode) => return Ok((mode, (!refusals.is_empty()).then(|| refusals.join("; ")))),
                Err(reason) => refusals.push(format!("{}: {reason}", mode.as_str())),
            }
        }
        Err(refusal(self.interface, refusals.join("; ")))
    }

    /// Attaches in `mode`, and pins the link in the place of the one before.
    fn create(&self, mode: Mode) -> std::result::Result<Mode, String> {
        let link = self.link(mode)?;
        self.pin_in_place(&link).map_err(|error| error.to_string())?;
        Ok(mode)
    }

    fn link(&self, mode: Mode) -> std::result::Result<Link, String> {
        let program = self.program(mode)?;
        if mode == Mode::Tcx
            && let Some(reason) = refusal::too_big(&self.interface.name, &self.facts)
        {
            return Err(reason);
        }
        Link::create(program.fd, self.ifindex, mode).map_err(|error| {
            let interface = (self.interface.name.as_str(), self.ifindex);
            refusal::explain(&error, program.fd, interface, &self.facts, mode)
        })
    }

    /// Ends the XDP link that is pinned at `from`, and attaches in the mode `to`. TCX judges meanwhile,
    /// so that no packet is unfiltered; for that moment packets that pass are counted twice. Where the
    /// kernel refuses, the old mode comes back, or else TCX stays.
    fn swap(&self, from: &Path, held: Mode, to: Mode) -> Result<Mode> {
        let bridge = self.attacher.pins.bridge();
        link::end(&bridge)?;
        match self.link(Mode::Tcx).and_then(|link| link.pin(&bridge).map_err(|error| error.to_string())) {
            Ok(()) => {}
            Err(error) => tracing::warn!(
                interface = self.interface.name,
                error,
                "for a moment packets pass unfiltered: no TCX to stand in"
            ),
        }
        link::end(from)?;
        let Err(reason) = self.create(to) else {
            link::end(&bridge)?;
            return Ok(to);
        };
        if self.create(held).is_ok() {
            link::end(&bridge)?;
        } else if bridge.exists() {
            pins::rename(&bridge, &self.pin())?;
        }
        Err(refusal(self.interface, format!("{}: {reason}", to.as_str())))
    }

    /// Pins a link where those of this interface are pinned. What was there ends only now. The pin
    /// alone keeps the link: without a hand of ours on it, `weir unload` ends it at once.
    fn pin_in_place(&self, link: &Link) -> Result<()> {
        let new = self.attacher.pins.new_link();
        pins::remove(&new)?;
        link.pin(&new).map_err(|error| DatapathError::Pin { operation: "pin", path: new.clone(), error })?;
        pins::rename(&new, &self.pin())
    }

    fn program(&self, mode: Mode) -> std::result::Result<Program<'_>, String> {
        match Hook::of(mode) {
            Hook::Tcx => {
                self.attacher.tcx.map_err(|error| format!("the kernel refuses the program: {error}"))
            }
            Hook::Xdp | Hook::Other => Ok(self.attacher.xdp),
        }
    }

    fn pin(&self) -> std::path::PathBuf {
        self.attacher.pins.link(&self.interface.name)
    }
}

fn program<'e, P>(ebpf: &'e Ebpf, name: &str) -> Result<&'e P>
where
    &'e P: TryFrom<&'e aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program(name)
        .ok_or_else(|| DatapathError::Load(format!("the object has no program {name}")))?
        .try_into()
        .map_err(|error: aya::programs::ProgramError| DatapathError::Load(chain(&error)))
}

pub(super) fn index_of(interface: &config::Interface) -> Result<u32> {
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

/// Returns where our program runs on an interface; nothing where its link holds it no more.
#[must_use]
pub fn mode_of(pins: &Pins, interface: &str) -> Option<Mode> {
    let ifindex = if_nametoindex(interface).ok()?;
    let info = Link::from_pin(&pins.link(interface)).ok()?.info().ok()?;
    match info.hook {
        _ if info.ifindex != ifindex => None,
        Hook::Tcx => Some(Mode::Tcx),
        Hook::Xdp => query::attachment(ifindex).ok()??.mode,
        Hook::Other => None,
    }
}
