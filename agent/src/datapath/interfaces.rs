//! The interfaces that are to have a link, and have it again when it was lost.

use std::{
    iter,
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;
use weir_common::control;

use super::{
    Attached, Change, Datapath, Result,
    attach::{Attacher, index_of},
    memory::Mapped,
};
use crate::config;

/// How long it takes until an interface is tried again that could not be attached: to find out who
/// stands in the way costs more than to look whether somebody does.
const RETRY: Duration = Duration::from_secs(30);

/// Returns the counter slots of these interfaces with their names, and before them the one in which all
/// others are counted.
#[must_use]
pub fn counter_slots(interfaces: &[String], memory: &Mapped) -> Vec<(u32, String)> {
    let slot = |name: &String| {
        let slot = control::interface_slot(memory, if_nametoindex(name.as_str()).ok()?);
        (slot != 0).then(|| (slot, name.clone()))
    };
    iter::once((0, "other".to_owned())).chain(interfaces.iter().filter_map(slot)).collect()
}

impl Datapath {
    /// Attaches to these interfaces and no others; those that are attached get the new program
    /// without a gap.
    ///
    /// # Errors
    /// [`DatapathError::Attach`] names the interface and every refusal. Interfaces before it in the
    /// list stay attached.
    pub fn attach(&mut self, interfaces: &[config::Interface]) -> Result<Vec<Attached>> {
        self.loaded.seals.keep_settings(&*self.loaded.memory);
        let attached = self.attacher()?.attach(interfaces);
        // It may have given some of them a slot also where it has failed.
        self.loaded.seals.settings_written(&*self.loaded.memory);
        if attached.is_ok() {
            self.interfaces = interfaces.to_vec();
        }
        attached
    }

    /// Finds out whether these interfaces are there, or were once.
    ///
    /// # Errors
    /// [`DatapathError::Attach`] for the first that is not.
    pub fn knows(&self, interfaces: &[config::Interface]) -> Result<()> {
        let mut new = interfaces.iter().filter(|interface| !self.slots.contains_key(&interface.name));
        new.try_for_each(|interface| index_of(interface).map(drop))
    }

    /// Looks whether the program is where it was attached, and attaches it again where it is not:
    /// interfaces go and come back. Returns what has changed. Nothing does once everything has been
    /// unloaded.
    ///
    /// # Errors
    /// [`DatapathError::Load`] where the programs cannot be had.
    pub fn mend(&mut self, known: &[Attached]) -> Result<Vec<(String, Change)>> {
        if !self.pins.exist() {
            return Ok(Vec::new());
        }
        let index = |interface: &config::Interface| if_nametoindex(interface.name.as_str()).unwrap_or(0);
        let present: Vec<_> = self.interfaces.iter().map(index).collect();
        let mut changes = Vec::new();
        self.loaded.seals.keep_settings(&*self.loaded.memory);
        for (interface, &ifindex) in self.interfaces.clone().iter().zip(&present) {
            let again = |&(refused, tried): &(u32, Instant)| refused != ifindex || tried.elapsed() > RETRY;
            if !self.refused.get(&interface.name).is_none_or(again) {
                continue;
            }
            self.refused.remove(&interface.name);
            let known = known.iter().find(|known| known.interface == interface.name);
            let Some(change) = self.attacher()?.mend(interface, known, &present) else { continue };
            if matches!(change, Change::Refused(_)) {
                self.refused.insert(interface.name.clone(), (ifindex, Instant::now()));
            }
            changes.push((interface.name.clone(), change));
        }
        if !changes.is_empty() {
            self.loaded.seals.settings_written(&*self.loaded.memory);
        }
        Ok(changes)
    }

    pub(super) fn attacher(&mut self) -> Result<Attacher<'_>> {
        Attacher::new(&self.loaded, &self.pins, &mut self.slots)
    }
}
