use std::net::IpAddr;

use spop::{TypedData, frame::Message};

use crate::{decision::client, proxy::judge::Seen};

/// The arguments of a message, by name: `ip` (who has connected, in HAProxy `src`), `peer` (`fc_src`,
/// where `src` is what PROXY or a header says), `xff`, `status`, `verdict`.
pub(super) struct Arguments<'m>(&'m Message);

impl<'m> Arguments<'m> {
    pub(super) fn of(message: &'m Message) -> Self {
        Self(message)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'m str> {
        text(self.0.get(name)?)
    }

    fn address(&self, name: &str) -> Option<IpAddr> {
        let data = self.0.get(name)?;
        if let TypedData::IPv4(address) = data {
            return Some((*address).into());
        }
        if let TypedData::IPv6(address) = data {
            return Some(IpAddr::from(*address).to_canonical());
        }
        client::parse(text(data)?)
    }

    pub(super) fn status(&self) -> Option<u16> {
        let data = self.0.get("status")?;
        if let TypedData::Int32(number) = data {
            return u16::try_from(*number).ok();
        }
        if let TypedData::Int64(number) = data {
            return u16::try_from(*number).ok();
        }
        text(data)?.parse().ok()
    }

    /// Returns what HAProxy has seen; nothing where it does not say of whom.
    pub(super) fn seen<'s>(&self, forwarded: &'s [&'s str]) -> Option<Seen<'s>>
    where
        'm: 's,
    {
        let ip = self.address("ip")?;
        // With PROXY or a header in play `src` is HAProxy's word about the client.
        let (peer, client) = match self.address("peer") {
            Some(peer) if peer != ip => (Some(peer), Some(ip)),
            Some(_) | None => (Some(ip), None),
        };
        Some(Seen { peer, client, forwarded })
    }
}

fn text(data: &TypedData) -> Option<&str> {
    match data {
        TypedData::String(text) => Some(text),
        TypedData::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        TypedData::Null
        | TypedData::Bool(_)
        | TypedData::Int32(_)
        | TypedData::UInt32(_)
        | TypedData::Int64(_)
        | TypedData::UInt64(_)
        | TypedData::IPv4(_)
        | TypedData::IPv6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_util::{bytes::BytesMut, codec::Decoder as _};

    use super::*;

    fn message(arguments: &[(&str, TypedData)]) -> Message {
        let argument = |(name, data): &(&str, TypedData)| ((*name).to_owned(), data.clone());
        Message { name: "weir-check".to_owned(), args: arguments.iter().map(argument).collect() }
    }

    #[test]
    fn arguments_are_found_by_name() {
        let string = |text: &str| TypedData::String(text.to_owned());
        let message = message(&[
            ("ip", TypedData::IPv4([203, 0, 113, 9].into())),
            ("peer", string("10.0.0.1")),
            ("status", TypedData::Int32(401)),
        ]);
        let arguments = Arguments::of(&message);
        let seen = arguments.seen(&[]).unwrap();
        assert_eq!(seen.peer.unwrap().to_string(), "10.0.0.1");
        assert_eq!(seen.client.unwrap().to_string(), "203.0.113.9");
        assert_eq!(arguments.status(), Some(401));
    }

    proptest! {
        /// The decoder is not ours, but what it makes of anything is our affair.
        #[test]
        fn frames_never_panic(mut bytes: Vec<u8>, length in 0u32..64) {
            let mut codec = spop::SpopCodec::new(16_380);
            _ = codec.decode(&mut BytesMut::from(&bytes[..]));
            // The same behind a length that fits and a type that exists.
            let mut frame = length.to_be_bytes().to_vec();
            frame.extend([3, 0, 0, 0, 1]);
            frame.append(&mut bytes);
            _ = codec.decode(&mut BytesMut::from(&frame[..]));
        }
    }
}
