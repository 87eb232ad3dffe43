//! Interfaces go and come back: containers restart, links are made anew under the same name.

use std::collections::HashMap;

use super::App;
use crate::{
    datapath::{Attached, Change},
    telemetry::metrics::Metrics,
};

/// Why interfaces cannot be attached, so that each reason is told once.
pub(super) type Trouble = HashMap<String, String>;

impl App {
    /// Attaches again where our program is no longer.
    pub(super) fn mend(&mut self, metrics: &Metrics) {
        if self.unloaded(metrics) {
            return;
        }
        let changes = match self.datapath.mend(&self.interfaces) {
            Ok(changes) => changes,
            Err(error) => return tracing::error!(%error, "cannot look after interfaces"),
        };
        if changes.is_empty() {
            return;
        }
        for (interface, change) in changes {
            // One that went and came back has another index.
            let taken_off = matches!(&change, Change::Attached(attached)
                if self.interfaces.iter().any(|known| known.ifindex == attached.ifindex));
            self.take_note(interface, change);
            if taken_off {
                self.tell_of_drift(metrics, None);
            }
        }
        self.show(metrics);
    }

    /// Attaches as the configuration in force wants it, after another has been refused.
    pub(super) fn attach_as_before(&mut self, metrics: &Metrics) {
        if !self.places.pins.exist() {
            return;
        }
        match self.datapath.attach(&self.config.interfaces) {
            Ok(interfaces) => self.attached(interfaces),
            Err(error) => tracing::error!(%error, "an interface is not attached as it was"),
        }
        self.show(metrics);
    }

    /// Takes note of where the program is now, and tells what is not as it was.
    pub(super) fn attached(&mut self, interfaces: Vec<Attached>) {
        interfaces.iter().filter(|now| !self.interfaces.contains(now)).for_each(tell);
        self.interfaces = interfaces;
    }

    pub(super) fn show(&self, metrics: &Metrics) {
        let mut view = metrics.view();
        view.interfaces.clone_from(&self.interfaces);
        view.missing = self.missing();
        view.unloaded = self.patrol.gone;
        metrics.set(view);
        self.tell_of_trouble();
    }

    fn take_note(&mut self, interface: String, change: Change) {
        if !matches!(change, Change::Refused(_)) {
            self.trouble.remove(&interface);
        }
        match change {
            Change::Gone => {
                tracing::warn!(interface, "the interface is gone; it is attached again when it is back");
                self.interfaces.retain(|attached| attached.interface != interface);
            }
            Change::Attached(attached) => {
                tell(&attached);
                self.interfaces.retain(|attached| attached.interface != interface);
                self.interfaces.push(attached);
            }
            Change::Refused(reason) => {
                self.interfaces.retain(|attached| attached.interface != interface);
                if self.trouble.get(&interface) != Some(&reason) {
                    tracing::error!(interface, reason, "the interface is not protected");
                    self.trouble.insert(interface, reason);
                }
            }
        }
    }

    /// Returns the names of interfaces that should be attached and are not.
    pub(super) fn missing(&self) -> Vec<String> {
        let wanted = self.config.interfaces.iter().map(|interface| &interface.name);
        wanted
            .filter(|name| !self.interfaces.iter().any(|attached| attached.interface == **name))
            .cloned()
            .collect()
    }
}

/// Says that an interface is protected.
fn tell(attached: &Attached) {
    let Attached { interface, mode, refused, .. } = attached;
    tracing::info!(interface, mode = mode.as_str(), refused, "attached");
}
