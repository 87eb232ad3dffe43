//! Frames in plain memory.

use super::Frame;

/// A frame in plain memory, for tests and tools.
impl Frame for &[u8] {
    fn load<const N: usize>(&self, offset: u32) -> Option<[u16; N]> {
        let bytes = self.get(offset as usize..)?.get(..2 * N)?;
        let mut words = [0; N];
        for (word, pair) in words.iter_mut().zip(bytes.chunks_exact(2)) {
            *word = u16::from_ne_bytes([pair[0], pair[1]]);
        }
        Some(words)
    }

    fn head<const N: usize>(&self) -> Option<[u16; N]> {
        self.load(0)
    }

    fn holds(&self, length: u32) -> bool {
        self.len() >= length as usize
    }

    fn length(&self) -> u32 {
        self.len() as u32
    }

    fn again(&self) -> Self {
        self
    }
}
