//! The format in which Linux takes its first files: cpio, "newc"
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};

/// Kinds of files, include/uapi/linux/stat.h.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const DEVICE: u32 = 0o020_000;
/// Fields and names begin at multiples of this.
const ALIGNMENT: usize = 4;

/// Files, as the kernel unpacks them. Folders are made as they are needed.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    files: u32,
}

/// What an entry says of itself besides its name.
#[derive(Clone, Copy, Default)]
struct Header {
    mode: u32,
    device: (u32, u32),
}

impl Archive {
    /// Adds a file, executable or not.
    pub(super) fn file(&mut self, path: &str, executable: bool, data: &[u8]) -> Result<()> {
        self.parents(path)?;
        let mode = FILE | if executable { 0o755 } else { 0o644 };
        self.entry(path, Header { mode, ..Header::default() }, data)
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.parents(path)?;
        self.entry(path, Header { mode: DEVICE | 0o600, device: (major, minor) }, &[])
    }

    /// Adds a folder, and those around it, unless it is there.
    pub(super) fn folder(&mut self, path: &str) -> Result<()> {
        self.parents(path)?;
        if self.folders.insert(path.to_owned()) {
            self.entry(path, Header { mode: FOLDER | 0o755, ..Header::default() }, &[])?;
        }
        Ok(())
    }

    /// Returns the finished archive.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", Header::default(), &[])?;
        Ok(self.bytes)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or_default();
        if parent.is_empty() || parent == "/" { Ok(()) } else { self.folder(parent) }
    }

    fn entry(&mut self, path: &str, Header { mode, device }: Header, data: &[u8]) -> Result<()> {
        self.files += 1;
        let name = path.trim_start_matches('/');
        let length = |bytes: usize| u32::try_from(bytes).with_context(|| format!("{path} is too large"));
        let (size, name_size) = (length(data.len())?, length(name.len() + 1)?);
        let links = 1;
        // inode, mode, user, group, links, time, size, device of the file (2), device it is (2),
        // length of the name, checksum (none in this variant).
        let fields = [self.files, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns name and mode of each entry, and what is in it.
    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0;
        while at < archive.len() {
            let field = |n: usize| {
                let text = std::str::from_utf8(&archive[at + 6 + 8 * n..][..8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&archive[at..at + 6], b"070701");
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = &archive[at + 110..][..name_size - 1];
            let data = (at + 110 + name_size).next_multiple_of(4);
            entries.push((String::from_utf8(name.to_vec()).unwrap(), mode, archive[data..][..size].to_vec()));
            at = (data + size).next_multiple_of(4);
        }
        entries
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file("/bin/weir", true, b"\x7fELF").unwrap();
        archive.file("/bin/ip", true, b"12345").unwrap();
        archive.device("/dev/console", 5, 1).unwrap();
        archive.folder("/dev").unwrap();
        let entries = entries(&archive.finish().unwrap());
        let names: Vec<_> = entries.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["bin", "bin/weir", "bin/ip", "dev", "dev/console", "TRAILER!!!"]);
        let modes: Vec<_> = entries.iter().map(|(_, mode, _)| *mode).collect();
        assert_eq!(modes[..5], [0o040_755, 0o100_755, 0o100_755, 0o040_755, 0o020_600]);
        assert_eq!(entries[2].2, b"12345");
    }
}
