use weir_common::class::{ClassId, NONE};

use super::Pair;

/// The addresses of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    first: u128,
    last: u128,
    class: ClassId,
}

impl Span {
    pub(super) fn new(first: u128, length: u8, bits: u32, class: ClassId) -> Self {
        Self { first, last: first | most(bits - u32::from(length)), class }
    }
}

/// Returns the largest number of so many bits.
const fn most(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX >> (128 - bits) }
}

/// Cuts the address space into segments of one class.
pub(super) struct Segments<I> {
    entries: I,
    next: Option<Span>,
    /// The entries around the present place, widest first.
    around: Vec<Span>,
    /// Where the next segment begins.
    place: Option<u128>,
    end: u128,
}

impl<I: Iterator<Item = Span>> Segments<I> {
    pub(super) fn new(mut entries: I, bits: u32) -> Self {
        Self { next: entries.next(), entries, around: Vec::new(), place: Some(0), end: most(bits) }
    }
}

impl<I: Iterator<Item = Span>> Iterator for Segments<I> {
    /// The last address, and the class. Segments follow each other without a gap.
    type Item = (u128, ClassId);

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.place?;
        while self.around.pop_if(|span| span.last < place).is_some() {}
        while let Some(span) = self.next.filter(|span| span.first == place) {
            self.around.push(span);
            self.next = self.entries.next();
        }
        let (mut last, class) = self.around.last().map_or((self.end, NONE), |span| (span.last, span.class));
        if let Some(next) = &self.next {
            last = last.min(next.first - 1);
        }
        self.place = (last < self.end).then(|| last + 1);
        Some((last, class))
    }
}

/// Tells of each range in which both have one class: its first and last address, and the two.
pub(super) fn sweep(
    mut before: impl Iterator<Item = (u128, ClassId)>,
    mut after: impl Iterator<Item = (u128, ClassId)>,
    mut each: impl FnMut(u128, u128, Pair),
) {
    let (mut one, mut other) = (before.next(), after.next());
    let mut first = 0;
    // What is not told yet: neighbours of the same classes are one range.
    let mut open: Option<(u128, u128, Pair)> = None;
    while let (Some((one_last, one_class)), Some((other_last, other_class))) = (one, other) {
        let (last, pair) = (one_last.min(other_last), (one_class, other_class));
        open = match open {
            Some((start, _, held)) if held == pair => Some((start, last, held)),
            told => {
                if let Some((start, end, pair)) = told {
                    each(start, end, pair);
                }
                Some((first, last, pair))
            }
        };
        if one_last == last {
            one = before.next();
        }
        if other_last == last {
            other = after.next();
        }
        first = last.wrapping_add(1);
    }
    if let Some((start, end, pair)) = open {
        each(start, end, pair);
    }
}

/// Cuts a range into as few prefixes as there can be: first address, and how many bits are open.
pub(super) fn prefixes(first: u128, last: u128) -> impl Iterator<Item = (u128, u32)> {
    let mut rest = Some(first);
    std::iter::from_fn(move || {
        let first = rest?;
        let left = last - first;
        // As many as the range is long, and no more than the address leaves open.
        let fits = left.checked_add(1).map_or(128, u128::ilog2);
        let open = fits.min(first.trailing_zeros());
        let end = first | most(open);
        rest = (end < last).then(|| end + 1);
        Some((first, open))
    })
}
