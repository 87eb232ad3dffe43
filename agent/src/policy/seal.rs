//! By what it is seen that somebody else has written where the agent writes.
//!
//! Of each chunk of the tables a digest is kept, not a copy. It is taken soon after the chunk was
//! written, and from then on compared again and again, a bounded piece at a time. Settings are few:
//! of these there is a copy, and they are compared each time.

use weir_common::{
    control,
    line::{Memory, WORDS},
    map::{CLASS_LINES, GENERATIONS, LIMIT_LINES, Map, SERVICE_LINES, Sizes},
};

/// Lines of a chunk: 256 KB.
const CHUNK: u32 = 4096;
/// The maps of which each generation has its part.
const TABLES: [Map; 9] = [
    Map::V4Root,
    Map::V4Wide,
    Map::V4Lines,
    Map::V4Spill,
    Map::V6Filter,
    Map::V6Lines,
    Map::Classes,
    Map::Services,
    Map::Limits,
];

/// Something that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Where.
    pub map: Map,
    /// In which generation; settings are of none.
    pub generation: Option<u32>,
}

/// Digests of what was written.
#[derive(Debug)]
pub struct Seals {
    chunks: Vec<Chunk>,
    /// What both generations hold was written by this agent.
    known: [bool; GENERATIONS as usize],
    /// Where the round goes on.
    next: usize,
    /// The settings, once there are any.
    control: Option<Vec<[u64; WORDS]>>,
    found: Vec<Drift>,
    /// Nobody else knows it, so nobody can make a change that is not seen.
    secret: u64,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    map: Map,
    generation: u32,
    first: u32,
    lines: u32,
    seal: Option<u64>,
}

impl Seals {
    /// Returns seals for maps of which nothing is known yet.
    #[must_use]
    pub fn new(sizes: Sizes, secret: u64) -> Self {
        let mut chunks = Vec::new();
        for generation in 0..GENERATIONS {
            for map in TABLES {
                let lines = map.lines(sizes) / GENERATIONS;
                let (start, end) = (generation * lines, (generation + 1) * lines);
                chunks.extend((start..end).step_by(CHUNK as usize).map(|first| Chunk {
                    map,
                    generation,
                    first,
                    lines: CHUNK.min(end - first),
                    seal: None,
                }));
            }
        }
        Self { chunks, known: [false; 2], next: 0, control: None, found: Vec::new(), secret }
    }

    /// Takes note that `generation` has been written and is in force now. What is in the small maps is
    /// sealed at once, tables when they are looked at next.
    pub fn written(&mut self, memory: &impl Memory, generation: u32) {
        self.known[generation as usize & 1] = true;
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.generation == generation) {
            chunk.seal = if chunk.is_small() { chunk.digest(memory, self.secret) } else { None };
        }
        self.settings_written(memory);
    }

    /// Takes note that the agent has written settings.
    pub fn settings_written(&mut self, memory: &impl Memory) {
        let lines = (0..control::LINES).filter_map(|index| memory.line(Map::Control, index));
        self.control = Some(lines.map(weir_common::line::Line::load).collect());
    }

    /// Puts settings back that somebody else has changed. To be called before the agent writes some:
    /// what is there is taken for its own afterwards.
    pub fn keep_settings(&mut self, memory: &impl Memory) {
        let Some(control) = &self.control else { return };
        let mut changed = false;
        for (index, words) in (0..).zip(control) {
            let Some(line) = memory.line(Map::Control, index).filter(|line| line.load() != *words) else {
                continue;
            };
            line.store(*words);
            changed = true;
        }
        if changed {
            self.found.push(Drift { map: Map::Control, generation: None });
        }
    }

    /// Returns true while there is something that has been written and not been sealed.
    #[must_use]
    pub fn are_due(&self) -> bool {
        self.chunks.iter().any(|chunk| self.is_known(chunk) && chunk.seal.is_none())
    }

    /// Looks at about so many lines of tables, at settings and small maps in any case, and returns what
    /// has been changed since it was written. Settings are put back; a generation that was changed is
    /// not looked at again until it has been written.
    pub fn look(&mut self, memory: &impl Memory, lines: u32) -> Vec<Drift> {
        self.keep_settings(memory);
        let mut left = i64::from(lines);
        for place in 0..self.chunks.len() {
            // What is looked at in any case is not counted: it would leave no time for the rest.
            if self.chunks[place].is_small() {
                self.look_at(memory, place);
            } else if self.chunks[place].seal.is_none() && left > 0 {
                left -= self.look_at(memory, place);
            }
        }
        for _ in 0..self.chunks.len() {
            if left <= 0 {
                break;
            }
            self.next = (self.next + 1) % self.chunks.len();
            if !self.chunks[self.next].is_small() {
                left -= self.look_at(memory, self.next);
            }
        }
        std::mem::take(&mut self.found)
    }

    /// Returns how many lines there are to be looked at in one round.
    #[must_use]
    pub fn lines(&self) -> u32 {
        self.chunks.iter().filter(|chunk| self.is_known(chunk)).map(|chunk| chunk.lines).sum()
    }

    /// Seals a chunk, or compares it with its seal. Returns how many lines that was.
    fn look_at(&mut self, memory: &impl Memory, place: usize) -> i64 {
        let chunk = self.chunks[place];
        if !self.is_known(&chunk) {
            return 0;
        }
        let digest = chunk.digest(memory, self.secret);
        if chunk.seal.is_none() {
            self.chunks[place].seal = digest;
        } else if chunk.seal != digest {
            self.found.push(Drift { map: chunk.map, generation: Some(chunk.generation) });
            self.known[chunk.generation as usize & 1] = false;
        }
        i64::from(chunk.lines)
    }

    fn is_known(&self, chunk: &Chunk) -> bool {
        self.known[chunk.generation as usize & 1]
    }
}

impl Chunk {
    /// Returns true for what is looked at each time: classes, services and limits.
    const fn is_small(&self) -> bool {
        const _: () = assert!(CLASS_LINES <= CHUNK && SERVICE_LINES <= CHUNK && LIMIT_LINES <= CHUNK);
        matches!(self.map, Map::Classes | Map::Services | Map::Limits)
    }

    /// Nothing where the map is shorter than it should be.
    fn digest(&self, memory: &impl Memory, secret: u64) -> Option<u64> {
        // That of FxHash: a few cycles a word, and each word changes all that follow.
        const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
        let mut sum = secret;
        for index in self.first..self.first + self.lines {
            for word in memory.line(self.map, index)?.load() {
                sum = (sum.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
            }
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use weir_common::heap::Heap;

    use super::*;

    const SIZES: Sizes = Sizes { v4_bits: 17, v6_bits: 13, limiter_bits: 17 };

    fn sealed(heap: &Heap) -> Seals {
        let mut seals = Seals::new(SIZES, 42);
        seals.written(heap, 0);
        seals.written(heap, 1);
        while seals.are_due() {
            assert_eq!(seals.look(heap, 1 << 16), []);
        }
        seals
    }

    #[test]
    fn a_word_anywhere_is_found_within_a_round() {
        let heap = Heap::new(SIZES);
        for map in TABLES {
            let lines = map.lines(SIZES);
            for index in [0, 1, lines / 2 - 1, lines / 2, lines - 1] {
                let mut seals = sealed(&heap);
                assert_eq!(seals.lines(), TABLES.iter().map(|map| map.lines(SIZES)).sum::<u32>());
                heap.line(map, index).unwrap().word(7).store(1);
                let found = (0..=seals.lines() / CHUNK).flat_map(|_| seals.look(&heap, CHUNK));
                let generation = Some(u32::from(index >= lines / 2));
                assert_eq!(found.collect::<Vec<_>>(), [Drift { map, generation }], "line {index}");
                // It is told once, until it has been written.
                assert_eq!(seals.look(&heap, u32::MAX), []);
                heap.line(map, index).unwrap().word(7).store(0);
            }
        }
    }

    #[test]
    fn settings_are_put_back_at_once_and_what_the_agent_writes_stays() {
        let heap = Heap::started(SIZES, 0);
        let mut seals = Seals::new(SIZES, 42);
        let line = heap.line(Map::Control, 0).unwrap();
        assert_eq!(seals.look(&heap, 0), []);
        seals.written(&heap, 0);
        let before = line.load();
        line.word(1).store(7);
        assert_eq!(seals.look(&heap, 0), [Drift { map: Map::Control, generation: None }]);
        assert_eq!(line.load(), before);
        line.word(6).store(9);
        seals.settings_written(&heap);
        assert_eq!(seals.look(&heap, 0), []);
        assert_eq!(line.word(6).load(), 9);
    }

    #[test]
    fn what_was_not_written_by_this_agent_is_not_judged() {
        let heap = Heap::new(SIZES);
        let mut seals = Seals::new(SIZES, 42);
        seals.written(&heap, 1);
        heap.line(Map::Classes, 0).unwrap().word(0).store(1);
        assert_eq!(seals.look(&heap, u32::MAX), []);
        heap.line(Map::Classes, CLASS_LINES).unwrap().word(0).store(1);
        assert_eq!(seals.look(&heap, 0), [Drift { map: Map::Classes, generation: Some(1) }]);
    }
}
