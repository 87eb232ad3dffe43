use std::{cmp::Ordering, fmt};

/// Numbers with dots. A shorter one says less: `22.1` is at least `22.1.8`.
#[derive(Clone, Debug)]
pub(super) struct Version {
    numbers: Vec<u32>,
    text: String,
}

impl Version {
    /// Finds the first version in what a program prints.
    pub(super) fn find(text: &str) -> Option<Self> {
        text.split(|c: char| c.is_whitespace() || c == ',' || c == '-').find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let word = word.trim_start_matches('v');
        let numbers = word.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()?;
        (numbers.len() > 1).then(|| Self { numbers, text: word.to_owned() })
    }

    /// Returns the first number.
    pub(super) fn major(&self) -> u32 {
        self.numbers.first().copied().unwrap_or(0)
    }

    /// Returns true unless this is older, as far as both say.
    pub(super) fn at_least(&self, other: &Self) -> bool {
        self.compare(other) != Ordering::Less
    }

    /// Returns true for the same version, as far as both say.
    pub(super) fn is(&self, other: &str) -> bool {
        Self::parse(other).is_some_and(|other| self.compare(&other) == Ordering::Equal)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let pairs = self.numbers.iter().zip(&other.numbers);
        pairs.map(|(a, b)| a.cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_versions_in_what_programs_print() {
        for (text, version) in [
            ("bpf-linker 0.13.0", "0.13.0"),
            ("rustc 1.97.0-nightly (abc 2026-05-19)", "1.97.0"),
            ("bpftool v7.1.0\nusing libbpf v1.1", "7.1.0"),
            ("ip utility, iproute2-6.1.0, libbpf 1.1.2", "6.1.0"),
            ("22.1.8", "22.1.8"),
        ] {
            assert_eq!(Version::find(text).unwrap().to_string(), version, "{text}");
        }
        assert!(Version::find("no version here, 7").is_none());
    }

    #[test]
    fn compares_as_far_as_both_say() {
        let version = |text| Version::find(text).unwrap();
        assert!(version("22.1").at_least(&version("22.1.8")));
        assert!(version("22.1.8").at_least(&version("22.1")));
        assert!(!version("22.1.2").at_least(&version("22.1.8")));
        assert!(version("23.1").at_least(&version("22.1.8")));
        assert!(!version("9.2").at_least(&version("22.1.8")));
        assert!(version("0.13.0").is("0.13.0"));
        assert!(!version("0.13.1").is("0.13.0"));
    }
}
