use std::{fmt::Display, ops::RangeInclusive};

use crate::api::rules::NOTE_MAX;

/// Returns what reads a whole number of a range.
pub(super) fn number<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + Copy + Display + PartialOrd + Into<u64> + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        let (least, most) = (*range.start(), *range.end());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            if most.into() == u64::MAX {
                "write a whole number".to_owned()
            } else {
                format!("write a whole number from {least} to {most}")
            }
        })
    }
}

/// Reads a note, within the bounds of the agent.
pub(super) fn note(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > NOTE_MAX {
        return Err(format!("it has {length} characters; write at most {NOTE_MAX}"));
    }
    if text.chars().any(char::is_control) {
        return Err("write one line, without control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_in_range() {
        let limit = number(0..=4096_u16);
        assert_eq!((limit("0"), limit("4096")), (Ok(0), Ok(4096)));
        for text in ["4097", "99999", "-1", "abc", "", "1.5"] {
            assert_eq!(limit(text).unwrap_err(), "write a whole number from 0 to 4096", "{text}");
        }
        let version = number(0..=u64::MAX);
        assert_eq!(version("7"), Ok(7));
        assert_eq!(version("abc").unwrap_err(), "write a whole number");
    }

    #[test]
    fn a_note_is_a_short_line() {
        assert_eq!(note("why"), Ok("why".to_owned()));
        let long = note(&"x".repeat(300)).unwrap_err();
        assert!(long.contains("300") && long.contains("200"), "{long}");
        assert!(note("a\nb").is_err());
    }
}
