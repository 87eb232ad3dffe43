use std::{io::Write as _, net::IpAddr};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{super::layout, *};

/// Any file, as it is and with the sizes and checksums that belong to it: one that is whole, but says
/// anything.
pub(crate) fn fuzz(input: &[u8]) {
    let Some((numbers, body)) = input.split_first_chunk::<6>() else { return };
    let meta = usize::from(numbers[0]).min(body.len());
    let (meta_bytes, rest) = body.split_at(meta);
    let counts = [1, 2, 3, 4].map(|at: usize| u32::from(numbers.get(at).copied().unwrap_or(0) & 7));
    let entries = (counts[0] + counts[2]) as usize * V4 + (counts[1] + counts[3]) as usize * V6_SIZE;
    let (Ok(meta), Some(ledger)) = (u32::try_from(meta), rest.len().checked_sub(entries)) else { return };
    let header = Header {
        seconds: u64::from(numbers[5]) << 56,
        nanoseconds: u32::MAX,
        meta,
        counts,
        ledger: ledger as u64,
        checksum: crc32fast::hash(body),
        meta_checksum: crc32fast::hash(meta_bytes),
    };
    let basis = serde_json::from_slice::<Meta>(meta_bytes).map(|meta| meta.basis).unwrap_or_default();
    for bytes in [input.to_vec(), [&header.encode()[..], body].concat()] {
        let file = || {
            let flags = MFdFlags::empty();
            let mut file = File::from(memfd_create(c"fuzz", flags)?);
            file.write_all(&bytes)?;
            file.seek(SeekFrom::Start(0))?;
            Ok::<_, io::Error>(file)
        };
        let (Ok(first), Ok(second), Ok(third)) = (file(), file(), file()) else { return };
        if let Ok(Some((header, ..))) = read(first, &basis) {
            _ = header.confirmed();
        }
        _ = overlap(second, IpNet::from(IpAddr::from([192, 0, 2, 1])));
        _ = layout::ledger(third);
    }
}
