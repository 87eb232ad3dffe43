//! Which configuration is in force: from a start, from SIGHUP or a changed file, from `weir policy apply`
//! and `rollback`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use axum::http::StatusCode;
use sd_notify::NotifyState;
use tokio::runtime;

use super::{App, AppError, Places, build::build, drift::UNLOADED, feeds::files, signals::tell_systemd};
use crate::{
    api::{
        PolicyJob, Problem,
        policies::{Applied, Change, Manner},
    },
    audit::Actor,
    config::{self, Config, ConfigError},
    digest::Digest,
    feed::Feed,
    notify::Kind,
    policy::generations::Way,
    telemetry::metrics::{Metrics, View},
    versions::{
        By, Cause, How, Proposal, Saved, Version, VersionError, Versions,
        file::{self, Staged},
        signature::SignatureError,
    },
};

/// Why a configuration is not put in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Signature(#[from] SignatureError),
    #[error("{0}")]
    Version(#[from] VersionError),
    #[error(
        "{} cannot be replaced, and the next start would end what is in force: {error}; let the agent write \
         its directory, or use --until-restart and change the file where it comes from",
        path.display()
    )]
    File { path: PathBuf, error: io::Error },
    #[error(
        "{field}: {}: this agent cannot read there, since it gave up what its configuration did not name when \
         it started; put it into {}, or put the configuration in place and restart weir: the kernel enforces on",
        path.display(), beside.display()
    )]
    OutOfReach { field: String, path: PathBuf, beside: PathBuf },
    #[error("weir was unloaded: {UNLOADED}")]
    Unloaded,
    #[error("{0}")]
    Agent(#[from] AppError),
}

/// What has become of a configuration that was put in force.
pub(super) struct Kept {
    /// The version that it has become; nothing where it is that of before.
    made: Option<Version>,
    warnings: Vec<String>,
}

impl App {
    /// Takes note of the policy of a start.
    pub(super) fn started(&mut self, proposal: &Proposal, signed: Option<u64>) {
        let cause = Cause { by: By::start(), how: How::Start, returns_to: None, note: String::new() };
        let Kept { made, .. } = self.keep(proposal, cause.clone(), signed, false);
        tell(&cause, Ok(&made));
        self.warn(None);
    }

    /// Reads the configuration anew, and all lists with it.
    pub(super) fn reload(&mut self, metrics: &Metrics, by: By, actor: Actor) {
        tell_systemd(&[NotifyState::Reloading]);
        let cause = Cause { by, how: How::Reload, returns_to: None, note: String::new() };
        let result = self.try_reload(metrics, &cause);
        self.reloaded(metrics, result.is_ok());
        self.note_policy(metrics, actor, result.as_ref().err());
        tell(&cause, result.as_ref());
        tell_systemd(&[NotifyState::Ready]);
    }

    fn try_reload(&mut self, metrics: &Metrics, cause: &Cause) -> Result<Option<Version>, Refusal> {
        let proposal = Proposal::read(&self.places.config)?;
        let signed = self.permit(&proposal, false)?;
        self.takes(&proposal.config)?;
        let warning = self.at_start_warning(&proposal.config);
        self.adopt(metrics, proposal.config.clone(), || Ok(()))?;
        self.warn(warning);
        Ok(self.keep(&proposal, cause.clone(), signed, false).made)
    }

    /// Answers whoever wants another policy.
    pub(super) fn change_policy(&mut self, metrics: &Metrics, job: PolicyJob) {
        let PolicyJob { change, manner, by, actor, reply } = job;
        // Whoever has given up has been told that it was not done.
        if reply.is_closed() {
            return;
        }
        let (how, returns_to) = match &change {
            Change::Apply(_) => (How::Apply, None),
            Change::Rollback(number) => {
                let before = self.versions.before().ok().map(|version| version.number);
                (How::Rollback, number.or(before))
            }
        };
        let cause = Cause { by, how, returns_to, note: manner.note.clone() };
        let answer = self.proposed(change).and_then(|proposal| {
            if manner.dry_run {
                self.rehearse(&proposal, &manner, how)
            } else {
                self.apply(metrics, &proposal, &cause, &manner)
            }
        });
        if !manner.dry_run {
            let made = answer.as_ref().map(|applied| applied.policy.clone().filter(|_| applied.changed));
            tell(&cause, made.as_ref().map_err(|refusal| *refusal));
            if !matches!(made, Ok(None)) {
                self.note_policy(metrics, actor, answer.as_ref().err());
            }
        }
        _ = reply.send(answer.map_err(Problem::from));
    }

    fn proposed(&self, change: Change) -> Result<Proposal, Refusal> {
        let number = match change {
            Change::Apply(proposal) => return Ok(*proposal),
            Change::Rollback(Some(number)) => number,
            Change::Rollback(None) => self.versions.before()?.number,
        };
        let Saved { text, signature } = self.versions.load(number)?;
        Ok(Proposal::of(Path::new(&format!("version {number}")), text, signature)?)
    }

    /// Finds out whether a configuration could be put in force, as far as that can be known before.
    fn rehearse(&self, proposal: &Proposal, manner: &Manner, how: How) -> Result<Applied, Refusal> {
        self.permit(proposal, how == How::Rollback)?;
        self.takes(&proposal.config)?;
        drop(self.stage(proposal, manner.until_restart)?);
        let mut warnings = Vec::new();
        warnings.extend(self.at_start_warning(&proposal.config));
        let policy = self.versions.newest().cloned();
        Ok(Applied { policy, changed: proposal.digest != self.digest, dry_run: true, warnings })
    }

    /// Puts a configuration in force, then in the place of the file, then among the versions. Where one
    /// of the first two fails, everything is as before.
    fn apply(
        &mut self,
        metrics: &Metrics,
        proposal: &Proposal,
        cause: &Cause,
        manner: &Manner,
    ) -> Result<Applied, Refusal> {
        let signed = self.permit(proposal, cause.how == How::Rollback)?;
        self.takes(&proposal.config)?;
        let mut warnings: Vec<String> = self.at_start_warning(&proposal.config).into_iter().collect();
        let staged = self.stage(proposal, manner.until_restart)?;
        let path = self.places.config.clone();
        if staged.as_ref().is_some_and(Staged::keeps_aside) {
            warnings.push(format!(
                "{} had been changed since and was not in force; what it said is kept as {}",
                path.display(),
                file::replaced_of(&path).display()
            ));
        }
        let commit = || match staged {
            Some(staged) => staged.commit().map_err(|error| Refusal::File { path, error }),
            None => Ok(()),
        };
        if proposal.digest == self.digest {
            commit()?;
        } else {
            self.adopt(metrics, proposal.config.clone(), commit)?;
        }
        self.reloaded(metrics, true);
        let kept = self.keep(proposal, cause.clone(), signed, manner.until_restart);
        warnings.extend(kept.warnings);
        warnings.extend(self.warnings());
        warnings.extend(self.feeds.iter().filter_map(not_read));
        let changed = kept.made.is_some();
        let policy = kept.made.or_else(|| self.versions.newest().cloned());
        if manner.until_restart && changed {
            warnings.push(
                "the configuration file says something else: the next start or SIGHUP ends this".to_owned(),
            );
        }
        Ok(Applied { policy, changed, dry_run: false, warnings })
    }

    /// Returns the time in a configuration's signature, if signatures are wanted and it is good.
    fn permit(&self, proposal: &Proposal, returns: bool) -> Result<Option<u64>, SignatureError> {
        permit(&self.places, proposal, &self.versions, returns)
    }

    /// Refuses a configuration that this agent cannot put in force, as far as that can be known before:
    /// there is no such interface, or it reads what the agent does not get at.
    fn takes(&self, config: &Config) -> Result<(), Refusal> {
        if !self.places.pins.exist() {
            return Err(Refusal::Unloaded);
        }
        self.datapath.knows(&config.interfaces).map_err(AppError::from)?;
        let Some((field, path)) = self.reach.lacks(config, &self.config) else { return Ok(()) };
        let beside = self.places.config.parent().unwrap_or(Path::new("/")).to_owned();
        Err(Refusal::OutOfReach { field, path, beside })
    }

    /// Writes a configuration beside the file that it is to replace, where it is not there already.
    fn stage(&self, proposal: &Proposal, until_restart: bool) -> Result<Option<Staged>, Refusal> {
        if until_restart {
            return Ok(None);
        }
        let path = &self.places.config;
        let present = fs::read_to_string(path).ok().map(|text| Digest::of(&text));
        if present == Some(proposal.digest) && file::read_signature(path) == proposal.signature {
            return Ok(None);
        }
        let known = |digest: Digest| {
            digest == proposal.digest || self.versions.iter().any(|version| version.digest == digest)
        };
        let keep_aside = present.is_some_and(|digest| !known(digest));
        let failed = |error| Refusal::File { path: path.clone(), error };
        Staged::new(path, proposal, keep_aside).map(Some).map_err(failed)
    }

    fn at_start_warning(&self, config: &Config) -> Option<String> {
        let fields = self.config.at_start(config);
        let verb = if fields.len() == 1 { "takes" } else { "take" };
        (!fields.is_empty()).then(|| format!("{} {verb} effect at the next start", fields.join(", ")))
    }

    /// Puts a configuration in force and then does `commit`. Where one of the two fails, what was in
    /// force is again.
    fn adopt(
        &mut self,
        metrics: &Metrics,
        config: Config,
        commit: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let runtime = runtime::Handle::current();
        let prepared = runtime.block_on(self.engine.prepare(&config.feeds, &self.feeds));
        let (old_config, old_feeds) =
            (std::mem::replace(&mut self.config, config), std::mem::replace(&mut self.feeds, prepared.feeds));
        let in_force = self.put_in_force(metrics, true).map_err(Refusal::from);
        let published = in_force.is_ok();
        match in_force.and_then(|()| commit()) {
            Ok(()) => {
                self.watch.set(files(&self.config, self.followed.as_ref()));
                self.feed_notes.replaced(&self.audit, &old_feeds, &self.feeds);
                let remembered = old_config.feeds;
                runtime.block_on(self.engine.run(&self.config.feeds, &remembered, prepared.workers));
                Ok(())
            }
            Err(refusal) => {
                (self.config, self.feeds) = (old_config, old_feeds);
                if published && let Err(error) = self.put_in_force(metrics, true) {
                    tracing::error!(%error, "what was in force before cannot be put in force again");
                }
                // It may have come as far as to change some of the interfaces.
                self.attach_as_before(metrics);
                Err(refusal)
            }
        }
    }

    /// Keeps what is in force as a version, if it is not that of before.
    pub(super) fn keep(
        &mut self,
        proposal: &Proposal,
        cause: Cause,
        signed: Option<u64>,
        until_restart: bool,
    ) -> Kept {
        self.digest = proposal.digest;
        let kept = if self.versions.newest().is_some_and(|newest| newest.digest == proposal.digest) {
            self.versions.settle(until_restart).map(|()| None)
        } else {
            self.versions.add(proposal, cause, signed, until_restart).map(Some)
        };
        match kept {
            Ok(made) => Kept { made, warnings: Vec::new() },
            Err(error) => {
                tracing::error!(%error, directory = %self.places.state.display(),
                    "cannot keep the version; the policy is in force, but nobody can roll back to it");
                let state = self.places.state.display();
                let warning = format!("in force, but not kept as a version: {state}: {error}");
                Kept { made: None, warnings: vec![warning] }
            }
        }
    }

    fn reloaded(&self, metrics: &Metrics, taken: bool) {
        metrics.reloaded(taken);
        let text = "the configuration was refused, the one before is in force; `weir check` says why";
        let refused = (!taken).then(|| (String::new(), text.to_owned()));
        self.notifier.set(Kind::ConfigurationRefused, refused);
    }

    /// Makes a policy of what there is and puts it in force. Where that fails the old one stays.
    pub(super) fn put_in_force(&mut self, metrics: &Metrics, attach: bool) -> Result<(), AppError> {
        let (view, way) = self.publish(Instant::now(), attach)?;
        self.report(&view, false, way);
        if let Some(judge) = &self.judge {
            judge.set(&self.config, self.world(&view.record));
        }
        metrics.set(view);
        self.tell_of_trouble();
        Ok(())
    }

    fn publish(&mut self, started: Instant, attach: bool) -> Result<(View, Way), AppError> {
        let mut numbers = self.numbers.clone();
        let in_force = self.in_force.as_ref();
        let built = build(&self.config, &self.feeds, in_force, &mut self.classes, &mut numbers)?;
        if attach {
            let interfaces = self.datapath.attach(&self.config.interfaces)?;
            self.attached(interfaces);
            self.set_event_budget();
        }
        let (publication, way) = self.datapath.publish(&built.next(&self.classes))?;
        self.rules.reconcile(self.datapath.memory());
        self.numbers = numbers;
        self.guard = None;
        let view = self.view(&built, publication, started.elapsed());
        self.in_force = Some(built.published(publication));
        Ok((view, way))
    }
}

/// Says that a list could not be read, which does not keep a configuration from being put in force.
fn not_read(feed: &Feed) -> Option<String> {
    let refusal = feed.state.refusal.as_ref()?;
    let kept = if feed.listing.is_empty() {
        "nothing of it is in force"
    } else {
        "the last good list stays in force"
    };
    Some(format!("feed {}: {}; {kept}", feed.config.name, refusal.message))
}

/// Returns the time in a configuration's signature, if signatures are wanted and it is good.
pub(super) fn permit(
    places: &Places,
    proposal: &Proposal,
    versions: &Versions,
    returns: bool,
) -> Result<Option<u64>, SignatureError> {
    let Some(key) = &places.policy_key else { return Ok(None) };
    key.check(proposal, versions, returns)
}

/// Returns the feeds of the configuration that was in force before this one, whose lists somebody may
/// want back.
pub(super) fn remembered(versions: &Versions, present: Digest) -> Vec<config::Feed> {
    let before = versions.iter().find(|version| version.digest != present);
    let config = before.and_then(|version| {
        let Saved { text, .. } = versions.load(version.number).ok()?;
        Config::parse(Path::new(""), &text).ok()
    });
    config.map(|config| config.feeds).unwrap_or_default()
}

/// Says what has become of a policy. Each that is put in force, or refused, passes here: `Ok(None)` is
/// one that was in force already.
pub(super) fn tell(cause: &Cause, outcome: Result<&Option<Version>, &Refusal>) {
    let Cause { by: By { by, uid }, how, returns_to, note } = cause;
    let how = how.as_str();
    match outcome {
        Ok(Some(Version { number, digest, .. })) => {
            let digest = digest.short();
            tracing::info!(version = number, %digest, by, uid, how, returns_to, note, "policy version in force");
        }
        Ok(None) => tracing::info!(by, uid, how, "the policy is the one that was in force"),
        Err(error) => {
            tracing::error!(by, uid, how, "configuration refused, the one in force stays:\n{error}");
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Config(error) => Self::from(error),
            Refusal::Version(error) => Self::from(error),
            Refusal::Signature(_) => Self::new(StatusCode::FORBIDDEN, text),
            Refusal::File { .. } | Refusal::OutOfReach { .. } | Refusal::Unloaded | Refusal::Agent(_) => {
                Self::new(StatusCode::CONFLICT, text)
            }
        }
    }
}
