use std::net::IpAddr;

use spop::{TypedData, frame::Message};

use crate::{decision::client, proxy::judge::Seen};

/// The arguments of a message, by name: `ip` (who has connected, in HAProxy `src`), `peer` (`fc_src`,
/// where `src` is what PROXY or a header says), `xff` (once for each line of the header, in their order,
/// or all in one), `method`, `host`, `path`, `tls`, `status`, `verdict`. Any other is a header,
/// `user-agent` for example; `_` stands for `-`.
pub(super) struct Arguments<'m>(&'m Message);

impl<'m> Arguments<'m> {
    pub(super) fn of(message: &'m Message) -> Self {
        Self(message)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'m str> {
        text(self.0.get(name)?)
    }

    /// Returns the lines of X-Forwarded-For. One that is not there is sent all the same, without a value.
    pub(super) fn forwarded(&self) -> Vec<&'m str> {
        self.0.args.iter().filter(|(name, _)| name == "xff").filter_map(|(_, data)| text(data)).collect()
    }

    /// Returns the header of a name in lower case.
    pub(super) fn header(&self, wanted: &str) -> Option<&'m str> {
        let same = |name: &str| {
            name.len() == wanted.len()
                && name
                    .bytes()
                    .zip(wanted.bytes())
                    .all(|(one, other)| one.eq_ignore_ascii_case(&other) || one == b'_' && other == b'-')
        };
        text(&self.0.args.iter().find(|(name, _)| same(name))?.1)
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
        Some(Seen {
            peer,
            client,
            forwarded,
            method: self.text("method").unwrap_or("GET"),
            host: self.text("host").unwrap_or_default(),
            path: self.text("path").unwrap_or("/"),
            route: None,
            tls: self.text("tls"),
        })
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
    use spop::{frame::FramePayload, frames::HaproxyHello};
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
            ("user_agent", string("curl")),
            ("status", TypedData::Int32(401)),
            ("host", TypedData::Null),
        ]);
        let arguments = Arguments::of(&message);
        let seen = arguments.seen(&[]).unwrap();
        assert_eq!(seen.peer.unwrap().to_string(), "10.0.0.1");
        assert_eq!(seen.client.unwrap().to_string(), "203.0.113.9");
        assert_eq!((seen.method, seen.host), ("GET", ""));
        assert_eq!(arguments.header("user-agent"), Some("curl"));
        assert_eq!(arguments.header("accept"), None);
        assert_eq!(arguments.status(), Some(401));
    }

    /// A frame as HAProxy sends it, for a request.
    fn frame() -> Vec<u8> {
        let mut frame = vec![3, 0, 0, 0, 1, 7, 1];
        frame.extend(b"\x0aweir-check\x04\x02ip\x06\xcb\0\x71\x09\x06status\x04\xf1\x0a");
        frame.extend(b"\x04path\x08\x03/a?\x03xff\0");
        let length = u32::try_from(frame.len()).unwrap();
        [&length.to_be_bytes()[..], &frame].concat()
    }

    /// Decodes bytes and looks at all that is in them.
    fn look(bytes: &[u8]) -> usize {
        let mut codec = spop::SpopCodec::new(16_380);
        let (mut bytes, mut seen) = (BytesMut::from(bytes), 0);
        while let Ok(Some(frame)) = codec.decode(&mut bytes) {
            _ = HaproxyHello::try_from(frame.payload()).map(|hello| hello.negotiate_max_frame_size(16_380));
            if let FramePayload::ListOfMessages(messages) = frame.payload() {
                for arguments in messages.iter().map(Arguments::of) {
                    let forwarded = arguments.forwarded();
                    _ = arguments.status();
                    seen += usize::from(arguments.seen(&forwarded).is_some());
                }
            }
        }
        seen
    }

    #[test]
    fn a_frame_is_read() {
        assert_eq!(look(&[frame(), frame()].concat()), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// The decoder is not ours, but what it makes of anything is our affair.
        #[test]
        fn frames_never_panic(mut bytes: Vec<u8>, length in 0u32..64, kind in 0u8..5) {
            look(&bytes);
            // The same behind a length that fits and a type that exists.
            let mut frame = length.to_be_bytes().to_vec();
            frame.extend([kind, 0, 0, 0, 1]);
            frame.append(&mut bytes);
            look(&frame);
        }

        /// Bytes changed, taken out and put in.
        #[test]
        fn mutated_frames_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
        ) {
            let mut bytes = [frame(), frame()].concat();
            for (place, byte, kind) in changes {
                let place = place.index(bytes.len());
                match kind {
                    0 => bytes[place] = byte,
                    1 => bytes.insert(place, byte),
                    _ => _ = bytes.remove(place),
                }
            }
            look(&bytes);
        }
    }
}
