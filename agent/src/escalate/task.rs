use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::mpsc;

use super::{Due, Ladder, ladder::V6_BITS};
use crate::{
    api::{Ask, Desk},
    naming::Naming,
    rules::{Action, Author, Profile, Wanted},
};

/// Makes the bans that are due, for ever.
pub(crate) async fn run(ladder: Ladder, mut due: mpsc::Receiver<Due>, desk: Desk, naming: Arc<Naming>) {
    while let Some(due) = due.recv().await {
        let kind = if due.client.direct { "kernel" } else { "proxy" };
        let result = match desk.ask(Ask::Set(vec![wanted(due)])).await {
            // A rule of an operator stands, or one that lasts longer.
            Ok(answer) if answer.rules.is_empty() => "stands",
            Ok(_) if due.shadow => "shadow",
            Ok(_) => kind,
            Err(problem) => {
                let problem = naming.words(&problem);
                tracing::debug!(address = %naming.source(due.client.address), problem, "a ban was refused");
                "refused"
            }
        };
        ladder.ban(result);
        let (seconds, risk) = (due.lasts.as_secs(), due.risk);
        tracing::info!(target: "audit", result, kind, seconds, risk, "escalated to a ban");
        tracing::debug!(address = %naming.source(due.client.address), result, "escalated to a ban");
    }
}

fn wanted(due: Due) -> Wanted {
    let address = due.client.address;
    let bits = if address.is_ipv4() { 32 } else { V6_BITS };
    Wanted {
        prefix: IpNet::new(address, bits).map_or_else(|_| address.into(), |prefix| prefix.trunc()),
        action: Action::Ban,
        profile: Profile::default(),
        shadow: due.shadow,
        lasts: Some(due.lasts),
        note: format!("risk {:.0}", due.risk),
        by: Author::Escalation,
        proxy_only: !due.client.direct,
    }
}
