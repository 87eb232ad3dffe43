//! The table as a capture: what `weir replay` judges by is what the kernel judges by.

use std::{io::Cursor, path::Path, time::Duration};

use pcap_file::pcap::{PcapPacket, PcapWriter};
use weir::{
    capture::Capture,
    offline::{BEGINNING, Offline},
};
use weir_common::counter::Outcome;

use crate::{
    judge::{self, SEED},
    table::{Setting, cases, rules},
};

/// Every frame that comes once, from a file, gets what the table says; and so does each in the kernel.
#[test]
fn the_table_from_a_capture() {
    for setting in Setting::ALL {
        let table: Vec<_> = cases(setting).into_iter().filter(|case| !case.needs_clean_limiter()).collect();
        let mut writer = PcapWriter::new(Vec::new()).expect("a file in memory");
        for (milliseconds, case) in (0..).zip(table.iter()) {
            let length = u32::try_from(case.frame.len()).expect("short");
            let packet =
                PcapPacket::new(Duration::from_millis(milliseconds), length, &case.frame).expect("a packet");
            // Longer ones than a header of a pcap file allows by default are in the table, too.
            writer.write_raw_packet(&packet.into_raw_packet(writer.ts_resolution())).expect("written");
        }
        let policy = Offline::new(&judge::compile(setting), judge::SIZES.limiter_bits).expect("it fits");
        rules::set(policy.memory(), SEED, BEGINNING);
        let mut capture =
            Capture::from_reader(Path::new("table"), Cursor::new(writer.into_inner())).expect("a capture");
        let (mut at, mut wrong, mut room) = (0, Vec::new(), Vec::new());
        let mut judged = weir_ebpf::Case::OPEN;
        let more = capture.read(u64::MAX, |packet| {
            let case = &table[at];
            at += 1;
            let framed = packet.link.frame(packet.bytes, packet.original, &mut room);
            let frame = framed.expect("Ethernet").frame;
            assert!(!frame.is_cut());
            let now = BEGINNING + packet.time.expect("a time") / 1000;
            policy.judge(now, &frame, &mut judged);
            let got: (Outcome, _) = (judged.outcome, judged.reason);
            if got != (case.outcome, case.reason) {
                wrong.push(format!(
                    "{setting:?}: {}: got {got:?}, want {:?}",
                    case.name,
                    (case.outcome, case.reason)
                ));
            }
        });
        assert_eq!((more, at), (Ok(false), table.len()));
        assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    }
}
