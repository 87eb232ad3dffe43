use ipnet::IpNet;
use weir_common::{event::Event, verdict::Reason};

/// Which events somebody wants to see; the default: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those with this reason.
    pub reason: Option<Reason>,
    /// Those from here.
    pub source: Option<IpNet>,
}

impl Filter {
    /// Returns true for an event that is wanted.
    #[must_use]
    pub fn passes(&self, event: &Event) -> bool {
        self.reason.is_none_or(|reason| reason as u8 == event.reason)
            && self.source.is_none_or(|prefix| prefix.contains(&event.source()))
    }

    /// Reads the name of a reason.
    ///
    /// # Errors
    /// Lists those that there are.
    pub fn reason(name: &str) -> Result<Reason, String> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == name).ok_or_else(|| {
            let names: Vec<_> = Reason::ALL.into_iter().map(Reason::as_str).collect();
            format!("no such reason; there are {}", names.join(", "))
        })
    }
}
