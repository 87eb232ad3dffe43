//! Where lists come from.

/// Files and directories.
pub mod file;
/// Texts behind URLs, and what all sources on the web share.
pub mod http;
/// The decisions of a CrowdSec LAPI.
pub mod crowdsec;
/// Collections of TAXII servers.
pub mod taxii;
/// Indicators, as TAXII collections have them.
pub mod stix;
/// Feeds of MISP instances.
pub mod misp;
/// Routes of BGP speakers.
pub mod bgp;
/// Entries that come one by one.
mod intake;

use std::{io, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Parsed, Rejected, ledger::Ledger, store::Validators};
use crate::config;

/// What a source answers.
#[derive(Debug)]
pub enum Fetched {
    /// The list is what it was.
    Unchanged,
    /// The text of the list, and what to ask with next time.
    Text(Vec<u8>, Validators),
    /// The list itself, from a source that has no text.
    List(Parsed),
    /// All entries as they are now, from a source that tells of them one by one, and what of them was
    /// left out. The guards that judge each entry have seen them.
    Ledger(Ledger, Rejected),
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// In a word, for metrics: one of [`FetchError::CAUSES`].
    pub cause: &'static str,
    /// In words, with the mend.
    pub message: String,
    /// When the source wants to be asked again, if it said so.
    pub retry_after: Option<Duration>,
}

impl FetchError {
    /// All causes, as metrics have them.
    pub const CAUSES: &[&str] = &[
        "unreadable",
        "connect",
        "tls",
        "timeout",
        "status",
        "redirect",
        "address",
        "size",
        "ratio",
        "encoding",
        "auth",
        "html",
        "protocol",
    ];

    /// Returns an error with this cause.
    pub fn new(cause: &'static str, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), retry_after: None }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::new("unreadable", format!("cannot be read: {error}"))
    }
}

/// A source and what it remembers between requests.
#[derive(Debug)]
pub enum Source {
    /// A file or a directory.
    File(file::File),
    /// A list that does not change.
    Fixed(super::Entries),
    /// A text behind a URL.
    Http(Box<http::Text>),
    /// The decisions of a CrowdSec LAPI.
    Crowdsec(Box<crowdsec::Crowdsec>),
    /// A collection of a TAXII server.
    Taxii(Box<taxii::Taxii>),
    /// A feed of a MISP instance.
    Misp(Box<misp::Misp>),
    /// Routes of a BGP speaker.
    Bgp(Box<bgp::Bgp>),
}

impl Source {
    /// Returns the source of a feed, which has not been asked yet.
    ///
    /// # Errors
    /// [`FetchError`] where it can never be asked: a certificate that is none, for example.
    pub fn new(feed: &config::Feed) -> Result<Self, FetchError> {
        match &feed.source {
            config::Source::File(path) => Ok(Self::File(file::File::new(path.clone(), feed.guards.bytes))),
            config::Source::Networks(networks) => Ok(Self::Fixed(networks.iter().copied().collect())),
            config::Source::Pack(name) => {
                let pack = super::pack::find(name);
                Ok(Self::Fixed(pack.map(super::pack::Pack::entries).unwrap_or_default()))
            }
            config::Source::Http(http) => Ok(Self::Http(http::Text::new(http, &feed.guards)?.into())),
            config::Source::Crowdsec(lapi) => Ok(Self::Crowdsec(crowdsec::Crowdsec::new(lapi, feed)?.into())),
            config::Source::Taxii(taxii) => Ok(Self::Taxii(taxii::Taxii::new(taxii, feed)?.into())),
            config::Source::Misp(http) => Ok(Self::Misp(misp::Misp::new(http, feed)?.into())),
            config::Source::Bgp(bgp) => Ok(Self::Bgp(bgp::Bgp::new(bgp, feed).into())),
        }
    }

    /// Returns true if it answers from this host, so that a start can wait for it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::File(_) | Self::Fixed(_))
    }

    /// Asks for the list. `validators` are those of the list in force.
    ///
    /// # Errors
    /// [`FetchError`] where there is none to be had.
    pub async fn fetch(&mut self, validators: &Validators) -> Result<Fetched, FetchError> {
        match self {
            Self::File(file) => file.fetch(),
            Self::Fixed(entries) => {
                Ok(Fetched::List(Parsed { entries: entries.clone(), ..Parsed::default() }))
            }
            Self::Http(text) => text.fetch(validators).await,
            Self::Crowdsec(lapi) => lapi.fetch().await,
            Self::Taxii(taxii) => taxii.fetch().await,
            Self::Misp(misp) => misp.fetch().await,
            Self::Bgp(bgp) => bgp.fetch(),
        }
    }

    /// Tells a source what was kept of it on disk, before it is asked: some tell things only once.
    pub fn resume(&mut self, ledger: &Ledger) {
        if let Self::Bgp(bgp) = self {
            bgp.resume(ledger.clone());
        }
    }

    /// Returns where to put in what others tell it, line by line, if it lives on that.
    #[must_use]
    pub fn inlet(&self) -> Option<mpsc::Sender<String>> {
        match self {
            Self::Bgp(bgp) => Some(bgp.inlet()),
            Self::File(_)
            | Self::Fixed(_)
            | Self::Http(_)
            | Self::Crowdsec(_)
            | Self::Taxii(_)
            | Self::Misp(_) => None,
        }
    }

    /// Returns where to note what becomes of packets of listed sources, if it reports that back.
    #[must_use]
    pub fn usage(&self) -> Option<Arc<crowdsec::Usage>> {
        match self {
            Self::Crowdsec(lapi) => lapi.usage(),
            Self::File(_)
            | Self::Fixed(_)
            | Self::Http(_)
            | Self::Taxii(_)
            | Self::Misp(_)
            | Self::Bgp(_) => None,
        }
    }

    /// Forgets what it has told, so that it tells all of it the next time.
    pub fn forget(&mut self) {
        match self {
            Self::File(file) => file.forget(),
            Self::Fixed(_) | Self::Http(_) => {}
            Self::Crowdsec(lapi) => lapi.forget(),
            Self::Taxii(taxii) => taxii.forget(),
            Self::Misp(misp) => misp.forget(),
            Self::Bgp(bgp) => bgp.forget(),
        }
    }

    /// Returns how long its last answer is good for, as it says itself: it is not asked before.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        match self {
            Self::Http(text) => text.fresh_for(),
            Self::File(_)
            | Self::Fixed(_)
            | Self::Crowdsec(_)
            | Self::Taxii(_)
            | Self::Misp(_)
            | Self::Bgp(_) => None,
        }
    }

    /// Waits for news that the source tells by itself; for ever, where it does not.
    pub async fn news(&mut self) {
        match self {
            Self::Taxii(taxii) => taxii.news().await,
            Self::Bgp(bgp) => bgp.news().await,
            Self::File(_) | Self::Fixed(_) | Self::Http(_) | Self::Crowdsec(_) | Self::Misp(_) => {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Settings as tests of sources have them.

    use super::*;
    use crate::{
        config::{Auth, Feed, Http},
        feed::format::testing,
    };

    pub(super) fn http(url: &str) -> Http {
        Http {
            url: url.to_owned(),
            insecure: true,
            private: true,
            auth: Auth::None,
            proxy: None,
            ca: None,
            client_certificate: None,
            timeout: Duration::from_secs(10),
        }
    }

    pub(super) fn feed(source: config::Source) -> Feed {
        Feed { source, interval: Duration::from_secs(10), ..testing::feed(config::Format::default()) }
    }
}
