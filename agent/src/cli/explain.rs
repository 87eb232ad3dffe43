//! `weir explain`: asks a running agent what it alone knows, and the kernel's memory for the rest.

use std::{net::IpAddr, path::Path};

use hyper::Method;

use super::CliError;
use crate::{
    api::{events::Listing, risk},
    client::{Client, ClientError},
    config::{Port, Prefix},
    datapath::Pins,
    explain::{self, AgentSays, Explanation},
    output::{self, Format},
};

/// The body of a request that has none.
const NOTHING: Option<&()> = None;
/// Events that are asked for: all that the agent keeps.
const EVENTS: usize = crate::events::KEPT;

/// Explains an address or a prefix.
pub(super) fn run(
    pins: &Pins,
    state: &Path,
    socket: &Path,
    (Prefix(prefix), port): (Prefix, Option<Port>),
    format: Format,
) -> Result<(), CliError> {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        let explanation = explain(pins, state, socket, prefix.addr(), port)?;
        output::print(format, &explanation, explain::text);
    } else {
        output::print(format, &explain::explain_prefix(pins, state, prefix, port)?, explain::prefix_text);
    }
    Ok(())
}

/// Explains an address, with what the agent at `socket` knows if one answers.
pub(super) fn explain(
    pins: &Pins,
    state: &Path,
    socket: &Path,
    address: IpAddr,
    port: Option<Port>,
) -> Result<Explanation, CliError> {
    let address = address.to_canonical();
    Ok(explain::explain(pins, state, address, port, ask(socket, address))?)
}

fn ask(socket: &Path, address: IpAddr) -> AgentSays {
    match try_ask(socket, address) {
        Ok(says) => says,
        Err(ClientError::NotRunning { socket, .. }) => {
            unknown(format!("no agent answers at {}", socket.display()))
        }
        Err(error) => unknown(error.to_string()),
    }
}

fn unknown(why: String) -> AgentSays {
    AgentSays { unknown: Some(why), ..AgentSays::default() }
}

fn try_ask(socket: &Path, address: IpAddr) -> Result<AgentSays, ClientError> {
    let mut client = Client::connect(socket)?;
    let risk: risk::View = client.call(Method::GET, &format!("/v1/risk/{address}"), NOTHING)?;
    let path = format!("/v1/events?source={address}&limit={EVENTS}");
    let Listing { events, .. } = client.call(Method::GET, &path, NOTHING)?;
    Ok(AgentSays::of(risk, &events))
}
