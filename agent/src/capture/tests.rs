use std::{io::Write as _, path::Path};

use proptest::prelude::*;

use super::*;

/// What a test keeps of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    time: Option<u64>,
    link: Link,
    bytes: Vec<u8>,
    original: u32,
    sent: bool,
}

/// Reads all packets, and where it ends.
fn read(file: &[u8]) -> (Vec<Kept>, Result<(), Damage>) {
    let mut kept = Vec::new();
    let mut capture = match Capture::from_reader(Path::new("test"), std::io::Cursor::new(file.to_vec())) {
        Ok(capture) => capture,
        Err(error) => panic!("{error}"),
    };
    loop {
        let take = |packet: &Packet<'_>| {
            let Packet { time, link, bytes, original, sent } = *packet;
            kept.push(Kept { time, link, bytes: bytes.to_vec(), original, sent });
        };
        match capture.read(3, take) {
            Ok(true) => {}
            Ok(false) => return (kept, Ok(())),
            Err(damage) => return (kept, Err(damage)),
        }
    }
}

/// Numbers in either byte order.
#[derive(Clone, Copy)]
struct Order(bool);

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.0 { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.0 { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

const PAYLOADS: [&[u8]; 4] = [&[1; 60], &[2; 61], &[], &[4; 1500]];
const START: u64 = 1_700_000_000;

/// A pcap file of [`PAYLOADS`], a second apart.
fn pcap(big_endian: bool, nanoseconds: bool, cut: usize) -> Vec<u8> {
    let order = Order(big_endian);
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = order.u32(magic).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([0, 0, 65_535, 1].map(|word| order.u32(word)).concat());
    for (seconds, payload) in (START..).zip(PAYLOADS) {
        let length = u32::try_from(payload.len()).unwrap();
        let bytes = &payload[..payload.len().min(cut)];
        let fraction = if nanoseconds { 5_000_007 } else { 5_000 };
        let words = [u32::try_from(seconds).unwrap(), fraction, u32::try_from(bytes.len()).unwrap(), length];
        file.extend(words.map(|word| order.u32(word)).concat());
        file.extend(bytes);
    }
    file
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = order.u32(u32::try_from(padded + 12).unwrap());
    let mut block = [order.u32(kind), length].concat();
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

fn section(order: Order) -> Vec<u8> {
    let words = [order.u32(0x1a2b_3c4d), [order.u16(1), order.u16(0)].concat().try_into().unwrap()].concat();
    block(order, 0x0a0d_0d0a, &[words, vec![0xff; 8]].concat())
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut option = [order.u16(code), order.u16(u16::try_from(value.len()).unwrap())].concat();
    option.extend(value);
    option.resize(4 + value.len().next_multiple_of(4), 0);
    option
}

fn interface(order: Order, link: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
    let head = [order.u16(link), order.u16(0)].concat();
    block(order, 1, &[&head, &order.u32(snaplen)[..], options].concat())
}

fn enhanced(order: Order, interface: u32, time: u64, payload: &[u8], options: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let words = [interface, (time >> 32) as u32, (time & 0xffff_ffff) as u32, length, length];
    let mut body = words.map(|word| order.u32(word)).concat();
    body.extend(payload);
    body.resize(20 + payload.len().next_multiple_of(4), 0);
    body.extend(options);
    block(order, 6, &body)
}

/// A pcapng file: two interfaces, all kinds of packets, and what is no packet between them.
fn pcapng(big_endian: bool) -> Vec<u8> {
    let order = Order(big_endian);
    let offset = if big_endian { 100i64.to_be_bytes() } else { 100i64.to_le_bytes() };
    let fine = [option(order, 9, &[9]), option(order, 14, &offset), option(order, 0, &[])].concat();
    let outbound = [option(order, 2, &order.u32(2)), option(order, 0, &[])].concat();
    let simple = [&order.u32(90)[..], &[7; 64]].concat();
    let mut obsolete = [order.u16(1), order.u16(0)].concat();
    obsolete.extend([0, 9, 3, 80].map(|word| order.u32(word)).concat());
    obsolete.extend([8, 8, 8]);
    [
        section(order),
        interface(order, 1, 64, &[]),
        interface(order, 101, 0, &fine),
        enhanced(order, 0, START * 1_000_000 + 5, &[1; 61], &[]),
        block(order, 0x0bad_cafe, &[1, 2, 3]),
        enhanced(order, 1, START * 1_000_000_000 + 5, &[2; 20], &outbound),
        block(order, 3, &simple),
        block(order, 2, &obsolete),
        block(order, 5, &[0; 12]),
        enhanced(order, 0, START * 1_000_000 + 6, &[], &[]),
    ]
    .concat()
}

#[test]
fn pcap_in_both_orders_and_resolutions() {
    for (big_endian, nanoseconds) in [(false, false), (true, false), (false, true), (true, true)] {
        let (packets, end) = read(&pcap(big_endian, nanoseconds, usize::MAX));
        assert_eq!((packets.len(), end), (4, Ok(())));
        for ((packet, payload), seconds) in packets.iter().zip(PAYLOADS).zip(START..) {
            let fraction = if nanoseconds { 5_000_007 } else { 5_000_000 };
            assert_eq!(packet.time, Some(seconds * NANOSECONDS + fraction));
            assert_eq!((packet.link, &packet.bytes[..], packet.sent), (Link::Ethernet, payload, false));
        }
    }
}

#[test]
fn a_packet_that_was_cut_keeps_its_length() {
    let (packets, _) = read(&pcap(false, false, 34));
    let lengths: Vec<_> = packets.iter().map(|packet| (packet.bytes.len(), packet.original)).collect();
    assert_eq!(lengths, [(34, 60), (34, 61), (0, 0), (34, 1500)]);
}

#[test]
fn pcapng_with_two_interfaces_in_both_orders() {
    for big_endian in [false, true] {
        let (packets, end) = read(&pcapng(big_endian));
        assert_eq!(end, Ok(()));
        let ethernet = |time, bytes: &[u8], original| Kept {
            time,
            link: Link::Ethernet,
            bytes: bytes.to_vec(),
            original,
            sent: false,
        };
        let fine = START * NANOSECONDS + 5 + 100 * NANOSECONDS;
        let want = [
            ethernet(Some(START * NANOSECONDS + 5000), &[1; 61], 61),
            Kept { link: Link::Ip, sent: true, ..ethernet(Some(fine), &[2; 20], 20) },
            ethernet(None, &[7; 64], 90),
            Kept { link: Link::Ip, ..ethernet(Some(9 + 100 * NANOSECONDS), &[8; 3], 80) },
            ethernet(Some(START * NANOSECONDS + 6000), &[], 0),
        ];
        assert_eq!(packets, want);
    }
}

#[test]
fn sections_may_differ_in_byte_order() {
    let (packets, end) = read(&[pcapng(true), pcapng(false)].concat());
    assert_eq!((packets.len(), end), (10, Ok(())));
}

#[test]
fn binary_time_resolutions() {
    let order = Order(false);
    let binary = [option(order, 9, &[0x8a]), option(order, 0, &[])].concat();
    let file =
        [section(order), interface(order, 1, 0, &binary), enhanced(order, 0, 3 * 1024 + 512, &[1], &[])];
    assert_eq!(read(&file.concat()).0[0].time, Some(3_500_000_000));
}

#[test]
fn a_file_that_is_cut_off_is_read_up_to_there() {
    let whole = |file: &[u8]| read(file).0;
    for file in [pcap(false, false, usize::MAX), pcapng(true)] {
        let all = whole(&file);
        let mut clean_ends = 0;
        for length in 64..file.len() {
            let (packets, end) = read(&file[..length]);
            assert_eq!(packets, all[..packets.len()], "{length}");
            match end {
                Ok(()) => clean_ends += 1,
                Err(damage) => {
                    assert_eq!(damage.packet, packets.len() as u64 + 1, "{length}");
                    assert!(damage.offset <= length as u64 && damage.message.contains("cut off"), "{damage}");
                }
            }
        }
        assert!(clean_ends < 12, "{clean_ends}");
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let end = |file: &[u8]| read(file).1.unwrap_err();
    let mut file = pcap(false, false, usize::MAX);
    // The captured length of the second record.
    file[24 + 16 + 60 + 8..][..4].copy_from_slice(&0x00ff_ffffu32.to_le_bytes());
    let damage = end(&file);
    assert_eq!((damage.packet, damage.offset), (2, 100));
    assert!(
        damage.to_string().starts_with("test: packet 2, byte 100: a record claims 16777215 bytes"),
        "{damage}"
    );
    // Its fraction of a second.
    let mut file = pcap(false, false, usize::MAX);
    file[24 + 16 + 60 + 4..][..4].copy_from_slice(&1_000_000u32.to_le_bytes());
    assert!(end(&file).message.contains("fractions of a second"));

    let order = Order(false);
    let begin = [section(order), interface(order, 1, 0, &[])].concat();
    let with = |block: Vec<u8>| end(&[begin.clone(), block].concat()).message;
    assert!(with(enhanced(order, 1, 0, &[1; 8], &[])).contains("interface 1"));
    let mut long = enhanced(order, 0, 0, &[1; 8], &[]);
    long[20..24].copy_from_slice(&99u32.to_le_bytes());
    assert!(with(long).contains("contradict"));
    let mut uneven = block(order, 0x0bad_cafe, &[0; 4]);
    let last = uneven.len() - 4;
    uneven[last] = 99;
    assert!(with(uneven).contains("contradict"));
    let mut huge = enhanced(order, 0, 0, &[1; 8], &[]);
    huge[4..8].copy_from_slice(&0x7fff_fff0u32.to_le_bytes());
    assert!(with([huge, vec![0; 20 << 20]].concat()).contains("16 MiB"));
}

#[test]
fn what_is_no_capture_is_refused() {
    let open = |bytes: &'static [u8]| Capture::from_reader(Path::new("x"), bytes).unwrap_err().to_string();
    assert_eq!(open(b""), "x: is empty");
    assert!(open(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n").contains("is no capture"));
    assert!(open(&[0xd4, 0xc3, 0xb2, 0xa1, 2]).contains("shorter"));
    assert!(Capture::open(Path::new("/does/not/exist")).is_err());
    assert!(Capture::open(Path::new("/")).unwrap_err().to_string().contains("directory"));
}

#[test]
fn compressed_files_are_read() {
    let file = pcap(false, false, usize::MAX);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&file).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&file[..], 1).unwrap();
    for compressed in [&gzip, &zstd] {
        assert_eq!(read(compressed), read(&file));
        let cut_off = std::io::Cursor::new(compressed[..compressed.len() - 9].to_vec());
        let end = Capture::from_reader(Path::new("test"), cut_off).map(|mut capture| capture.read(9, |_| {}));
        assert!(!matches!(end, Ok(Ok(_))), "{end:?}");
    }
}

/// A frame is the same over every link that can carry it.
#[test]
fn links_become_ethernet() {
    let ip: &[u8] = &[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let cooked = |kind: u8, hardware: u16, protocol: [u8; 2]| {
        let mut header = vec![0, kind];
        header.extend(hardware.to_be_bytes());
        header.extend([0; 10]);
        header.extend(protocol);
        header
    };
    let cooked2 = |kind: u8| [&[0x08, 0, 0, 0, 0, 0, 0, 1, 0, 1, kind, 6][..], &[0; 8]].concat();
    let mut room = Vec::new();
    for (link, header, sent) in [
        (101, vec![], false),
        (228, vec![], false),
        (0, vec![2, 0, 0, 0], false),
        (0, vec![0, 0, 0, 2], false),
        (108, vec![0, 0, 0, 2], false),
        (113, cooked(0, 1, [0x08, 0]), false),
        (113, cooked(4, 1, [0x08, 0]), true),
        (276, cooked2(0), false),
        (276, cooked2(4), true),
    ] {
        let bytes = [&header[..], ip].concat();
        let original = u32::try_from(bytes.len()).unwrap() + 100;
        let framed = Link::from_number(link).frame(&bytes, original, &mut room).unwrap();
        assert_eq!(&framed.frame.bytes[12..], [&[0x08, 0][..], ip].concat(), "{link}");
        assert_eq!((framed.frame.original, framed.sent), (14 + 20 + 100, sent), "{link}");
        // A header that is cut off is one without anything behind it.
        let framed = Link::from_number(link).frame(&header[..header.len() / 2], 200, &mut room).unwrap();
        assert!(framed.frame.bytes.len() <= 14 && framed.frame.is_cut(), "{link}");
    }
    assert!(Link::from_number(127).frame(ip, 20, &mut room).is_none());
    let netlink = [cooked(0, 824, [0x08, 0]), ip.to_vec()].concat();
    let framed = Link::Cooked.frame(&netlink, 36, &mut room).unwrap();
    assert_eq!(framed.frame.bytes[12..14], [0x88, 0xb5]);
    let llc = [cooked(0, 1, [0, 4]), ip.to_vec()].concat();
    let framed = Link::Cooked.frame(&llc, 36, &mut room).unwrap();
    assert_eq!(framed.frame.bytes[12..14], [0, 20]);
}

proptest! {
    /// Whatever stands in a file, reading it ends, and what comes before the damage is as it was.
    #[test]
    fn damaged_files_are_read_up_to_the_damage(
        which in 0..4usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = match which {
            0 => pcap(false, false, usize::MAX),
            1 => pcap(true, true, 50),
            2 => pcapng(false),
            _ => pcapng(true),
        };
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len()) + 1);
        if let Ok(mut capture) = Capture::from_reader(Path::new("test"), std::io::Cursor::new(file)) {
            let mut packets = 0u64;
            let mut room = Vec::new();
            let end = capture.read(1_000_000, |packet| {
                packets += 1;
                if let Some(framed) = packet.link.frame(packet.bytes, packet.original, &mut room) {
                    assert!(framed.frame.bytes.len() <= 1 << 20);
                }
            });
            if let Err(damage) = end {
                prop_assert_eq!(damage.packet, packets + 1);
            }
        }
    }
}
