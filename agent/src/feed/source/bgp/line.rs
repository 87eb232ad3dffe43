use serde_json::{Map, Value};

/// Longer lines are not read.
const LENGTH_MAX: usize = 1 << 20;
/// Type and subtype of the extended community that sets a rate in bytes a second (RFC 8955, 7.1).
const TRAFFIC_RATE: u64 = 0x8006;

/// Why a line says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; have exabgp encode JSON (`encoder json`) and send `parsed` updates")]
pub struct Malformed(pub(super) String);

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// Nothing of interest.
    Other,
    /// exabgp ends, or begins anew: no session stands.
    AllDown,
    /// A session ended.
    Down(String),
    /// A peer has sent all that it has of a family, such as `ipv4 unicast`.
    EndOfRib(String, String),
    /// Routes come and go.
    Update(Update),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Update {
    pub(super) peer: String,
    pub(super) communities: Vec<(u16, u16)>,
    pub(super) rate: Option<Rate>,
    /// Families and what is announced of them, and withdrawn.
    pub(super) announced: Vec<(String, Value)>,
    pub(super) withdrawn: Vec<(String, Value)>,
}

/// What a `FlowSpec` rule lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// Nothing.
    Zero,
    /// Something.
    Some,
}

impl Line {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = |why: &str| Malformed(why.to_owned());
        if text.len() > LENGTH_MAX {
            return Err(malformed("a line is longer than a mebibyte"));
        }
        let line: Value =
            serde_json::from_str(text).map_err(|error| Malformed(format!("a line is no JSON: {error}")))?;
        let kind =
            line.get("type").and_then(Value::as_str).ok_or_else(|| malformed("a line has no `type`"))?;
        let neighbor = line.get("neighbor");
        match kind {
            "start" => return Ok(Self::AllDown),
            "notification" if neighbor.is_none() => return Ok(Self::AllDown),
            "state" | "update" => {}
            _ => return Ok(Self::Other),
        }
        let neighbor = neighbor.ok_or_else(|| malformed("a line has no `neighbor`"))?;
        let peer = neighbor.pointer("/address/peer").and_then(Value::as_str);
        let peer = peer.ok_or_else(|| malformed("a line has no `neighbor.address.peer`"))?.to_owned();
        if kind == "state" {
            let down = neighbor.get("state").and_then(Value::as_str) == Some("down");
            return Ok(if down { Self::Down(peer) } else { Self::Other });
        }
        if neighbor.get("direction").and_then(Value::as_str) == Some("send") {
            return Ok(Self::Other);
        }
        if let Some(end) = neighbor.pointer("/message/eor") {
            let word = |name: &str| end.get(name).and_then(Value::as_str).unwrap_or_default();
            return Ok(Self::EndOfRib(peer, format!("{} {}", word("afi"), word("safi"))));
        }
        let update =
            neighbor.pointer("/message/update").ok_or_else(|| malformed("an update has no `message`"))?;
        Ok(Self::Update(Update::of(peer, update)))
    }
}

impl Update {
    fn of(peer: String, update: &Value) -> Self {
        let families = |name: &str| {
            let families = update.get(name).and_then(Value::as_object).into_iter().flatten();
            families.map(|(family, routes)| (family.clone(), routes.clone())).collect()
        };
        let attribute = |name: &str| {
            let list = update.pointer("/attribute").and_then(|attributes| attributes.get(name));
            list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
        };
        let pair = |value: &Value| {
            let half =
                |at: usize| value.get(at).and_then(Value::as_u64).and_then(|half| u16::try_from(half).ok());
            Some((half(0)?, half(1)?))
        };
        Self {
            peer,
            communities: attribute("community").iter().filter_map(pair).collect(),
            // Of several the strictest is meant, and it is one only in practice.
            rate: attribute("extended-community")
                .iter()
                .filter_map(rate)
                .min_by_key(|rate| *rate == Rate::Some),
            announced: families("announce"),
            withdrawn: families("withdraw"),
        }
    }
}

/// Returns the rate that an extended community sets.
fn rate(community: &Value) -> Option<Rate> {
    let number = match community.get("value").and_then(Value::as_u64) {
        Some(value) if value >> 48 == TRAFFIC_RATE => {
            f32::from_bits(u32::try_from(value & u64::from(u32::MAX)).ok()?)
        }
        Some(_) => return None,
        None => community.get("string").and_then(Value::as_str)?.strip_prefix("rate-limit:")?.parse().ok()?,
    };
    match number {
        // Also less than nothing, which RFC 8955 leaves open.
        number if number <= 0.0 => Some(Rate::Zero),
        number if number.is_nan() => None,
        _ => Some(Rate::Some),
    }
}

/// Returns the routes of a family: in lists, or in lists by next hop.
pub(super) fn routes(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(routes) => routes.iter().collect(),
        Value::Object(hops) => hops.values().filter_map(Value::as_array).flatten().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Returns what names a route in its family.
pub(super) fn name(route: &Value) -> Option<String> {
    let word =
        |route: &Map<String, Value>, name: &str| route.get(name).and_then(Value::as_str).map(str::to_owned);
    match route {
        Value::String(prefix) => Some(prefix.clone()),
        Value::Object(route) => match word(route, "nlri") {
            Some(prefix) => Some(match word(route, "path-information") {
                Some(path) => format!("{prefix} {path}"),
                None => prefix,
            }),
            // The words of a rule, in the order of their types.
            None => word(route, "string"),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}
